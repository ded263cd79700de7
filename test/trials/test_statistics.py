"""Intervals and tests against scipy and by hand, and the paper's percentages as counts."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from himoe_ros.trials.statistics import (
    compare,
    counts_for,
    fisher,
    mcnemar,
    sequential,
    trials_needed,
    wilson,
)

RNG = np.random.default_rng(0)
TABLES = [
    (int(RNG.integers(0, n + 1)), n, int(RNG.integers(0, m + 1)), m) for n, m in RNG.integers(1, 41, (1000, 2)).tolist()
]


def test_intervals_and_tests_agree_with_scipy_on_1000_tables():
    for a, n, b, m in TABLES:
        wanted = stats.binomtest(a, n).proportion_ci(method="wilson")
        assert wilson(a, n) == pytest.approx((wanted.low, wanted.high), abs=1e-12)
        assert fisher(a, n, b, m) == pytest.approx(stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue, abs=1e-9)
        assert mcnemar(a, b) == pytest.approx(stats.binomtest(a, a + b).pvalue if a + b else 1.0, abs=1e-9)


def test_counts_that_cannot_be_are_refused():
    for call in (lambda: wilson(3, 2), lambda: fisher(-1, 4, 0, 4), lambda: mcnemar(-1, 2)):
        with pytest.raises(ValueError, match="expected 0 <= successes <= trials"):
            call()


def test_looking_at_every_trial_deceives_the_fixed_test_and_not_the_sequential_one():
    rng = np.random.default_rng(1)
    fixed, always = 0, 0
    for _ in range(400):
        wins = np.cumsum(rng.random(60) < 0.5)
        pairs = [(int(k), n - int(k)) for n, k in enumerate(wins, start=1)]
        fixed += any(mcnemar(*pair) < 0.05 for pair in pairs)
        always += any(sequential(*pair) < 0.05 for pair in pairs)
    assert fixed / 400 > 0.08 and always / 400 < 0.05
    assert sequential(18, 2) < 0.05, "and a clear difference is still seen"


def test_a_reader_is_told_what_the_numbers_can_say():
    few = compare([True] * 14 + [False] * 2, [True] * 12 + [False] * 4, ("ours", "theirs"), paired=False)
    assert few.p > 0.05 and "not separable with 16 trials each; about" in few.sentence
    clear = compare([True] * 16, [False] * 12 + [True] * 4, ("ours", "theirs"), paired=True)
    assert clear.p < 0.001 and clear.sentence.endswith("ours is better.")
    assert "alike" in compare([True, False], [False, True], ("a", "b"), paired=False).sentence
    with pytest.raises(ValueError, match="paired trials need as many"):
        compare([True], [], ("a", "b"), paired=True)
    with pytest.raises(ValueError, match="run both policies in one session"):
        compare([True], [True], ("a", "b"), paired=False, stopping=True)


def test_trials_needed_are_those_at_which_the_test_has_its_power():
    n = int(trials_needed(0.75, 0.5))
    rng = np.random.default_rng(2)
    found = np.mean([
        stats.chi2_contingency([[a, n - a], [b, n - b]], correction=False).pvalue < 0.05
        for a, b in zip(rng.binomial(n, 0.75, 2000), rng.binomial(n, 0.5, 2000), strict=True)
    ])  # fmt: skip
    assert found == pytest.approx(0.8, abs=0.05)
    assert trials_needed(0.5, 0.5) == float("inf")


@pytest.mark.parametrize(
    ("percent", "trials", "counts"),
    [
        (81.3, 16, [13]),
        (75.0, 16, [12]),
        (88.9, 18, [16]),
        (50.0, 18, [9]),
        (6.6, 15, [1]),
        (65.6, 16, []),
        (72.2, 18, [13]),
    ],
)
def test_published_percentages_as_counts(percent, trials, counts):
    """65.6 % is no count of 16 trials: it is 21 of 32."""
    assert counts_for(percent, trials) == counts


def test_so_many_more_trials_would_separate_them():
    told = compare([True] * 4, [False] * 4, ("a", "b"), paired=True)
    assert told.p == pytest.approx(0.125) and "about 2 more of each" in told.sentence
    assert mcnemar(6, 0) < 0.05 <= mcnemar(5, 0)


def test_close_rates_can_be_compared_and_need_many_trials():
    a, b = [True] * 8 + [False] * 8, [True] * 9 + [False] * 7
    told = compare(a, b, ("a", "b"), paired=False)
    assert told.p == pytest.approx(1.0) and "not separable with 16 trials each; about 9" in told.sentence
