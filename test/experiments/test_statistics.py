"""Intervals and tests over seeds deceive no more often than they say, at the numbers of seeds that are run."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from himoe_ros.experiments.statistics import difference, holm, rate

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("seeds", [3, 5, 6])
def test_intervals_hold_the_truth_as_often_as_they_say(seeds):
    """Seeds and scenes both differ; an interval over all trials alone would be too narrow."""
    held, narrow, many = 0, 0, 400
    for _ in range(many):
        of_seed = RNG.normal(0, 0.12, (seeds, 1))
        reached = (RNG.random((seeds, 24)) < np.clip(0.5 + of_seed, 0, 1)).astype(float)
        _, low, high = rate(reached)
        held += low <= 0.5 <= high
        narrow += difference(reached.mean(1) - 0.5).p < 0.05
    assert held / many > 0.93 and narrow / many < 0.08, (held, narrow)


def test_the_test_of_pairs_is_that_of_scipy_and_says_nothing_of_one_pair():
    paired = RNG.normal(0.1, 0.2, 6)
    one = difference(paired)
    assert one.p == pytest.approx(stats.ttest_1samp(paired, 0).pvalue)
    low, high = stats.ttest_1samp(paired, 0).confidence_interval()
    assert (one.low, one.high) == pytest.approx((low, high))
    assert difference(np.array([0.3])).p == 1.0 and difference(np.zeros(5)).p == 1.0
    assert difference(np.full(5, 0.5)).p == pytest.approx(2 / 32), "five equal differences are no certainty"


def test_many_comparisons_are_paid_for():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == pytest.approx([1.0, 1.0])
    none = [min(holm(RNG.random(7).tolist())) < 0.05 for _ in range(2000)]
    assert np.mean(none) < 0.065


def test_no_rate_is_certain():
    _, low, high = rate(np.ones((5, 24)))
    assert low < 0.99 and high == 1.0
