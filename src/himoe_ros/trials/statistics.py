"""What a few trials can say: intervals of rates, and exact tests between two policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, comb, exp, inf, lgamma, log, sqrt

Z95 = 1.959963984540054  # standard normal: 95 % lie within
Z80 = 0.8416212335729143  # 80 % lie below
LEVEL = 0.05
MANY = 10_000  # trials; nobody runs more to tell two policies apart


@dataclass(frozen=True)
class Comparison:
    """Two policies on one stage.

    Attributes:
        p: two-sided p-value of an exact test, in [0, 1].
        paired: whether both met the same scenes.
        sentence: what a reader may conclude.
    """

    p: float
    paired: bool
    sentence: str


def wilson(successes: int, trials: int, z: float = Z95) -> tuple[float, float]:
    """Wilson score interval of a rate; (0, 1) without trials.

    Raises:
        ValueError: counts that cannot be.
    """
    _check(successes, trials)
    if trials == 0:
        return 0.0, 1.0
    rate, scale = successes / trials, 1 + z * z / trials
    middle = (rate + z * z / (2 * trials)) / scale
    half = z / scale * sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    # The ends are 0 and 1 exactly where nothing, or all, succeeded; sums round.
    return (0.0 if successes == 0 else middle - half), (1.0 if successes == trials else middle + half)


def fisher(a: int, of_a: int, b: int, of_b: int) -> float:
    """Two-sided p-value of Fisher's exact test: a of of_a against b of of_b, different scenes."""
    _check(a, of_a)
    _check(b, of_b)
    total, chosen = of_a + of_b, a + b

    def ways(k: int) -> int:
        return comb(of_a, k) * comb(of_b, chosen - k)

    seen = ways(a)
    likely = sum(w for k in range(max(0, chosen - of_b), min(of_a, chosen) + 1) if (w := ways(k)) <= seen)
    return min(1.0, likely / comb(total, chosen))


def mcnemar(only_a: int, only_b: int) -> float:
    """Two-sided p-value of McNemar's exact test: scenes that one of two policies solved alone."""
    _check(only_a, only_a + only_b)
    n, fewer = only_a + only_b, min(only_a, only_b)
    return min(1.0, 2 * sum(comb(n, k) for k in range(fewer + 1)) / 2**n)


def sequential(only_a: int, only_b: int) -> float:
    """As `mcnemar`, but valid whenever one stops to look: the inverse of a bet against equal chances.

    The bet is spread evenly over all chances (a Beta(1, 1) mixture), so its worth after n discordant pairs is
    2^n B(only_a + 1, only_b + 1), whose expectation is 1 at every moment if both policies are alike (Ville).
    """
    _check(only_a, only_a + only_b)
    n = only_a + only_b
    worth = n * log(2) + lgamma(only_a + 1) + lgamma(only_b + 1) - lgamma(n + 2)
    return min(1.0, exp(-worth))


def trials_needed(rate_a: float, rate_b: float) -> float:
    """Trials of each policy at which such rates would be told apart at 5 % in 4 of 5 sessions; inf for equal rates."""
    if rate_a == rate_b:
        return inf
    spread = rate_a * (1 - rate_a) + rate_b * (1 - rate_b)
    return max(2, ceil((Z95 + Z80) ** 2 * max(spread, 0.02) / (rate_a - rate_b) ** 2))


def compare(
    a: Sequence[bool], b: Sequence[bool], names: tuple[str, str], paired: bool, stopping: bool = False
) -> Comparison:
    """Compare two policies on one stage.

    Args:
        a, b: whether each trial reached the stage; pair by pair in the same scene if `paired`.
        names: of the policies.
        paired: whether they met the same scenes.
        stopping: the session may have ended when its results looked good: use the sequential test (paired only).

    Raises:
        ValueError: pairs of different length, or a sequential test without pairs.
    """
    if paired and len(a) != len(b):
        raise ValueError(f"paired trials need as many of each policy, got {len(a)} and {len(b)}")
    if stopping and not paired:
        raise ValueError("the sequential test compares scene by scene; run both policies in one session")
    if paired:
        alone = sum(x and not y for x, y in zip(a, b, strict=True)), sum(y and not x for x, y in zip(a, b, strict=True))
        test = sequential if stopping else mcnemar
        p, tested = test(*alone), lambda share: test(*(round(share * k) for k in alone))
    else:
        counts = sum(a), len(a), sum(b), len(b)
        p, tested = fisher(*counts), lambda share: fisher(*(round(share * k) for k in counts))
    return Comparison(p, paired, _sentence(a, b, names, p, tested))


def counts_for(percent: float, trials: int, digits: int = 1) -> list[int]:
    """Counts of successes that a published percentage can stand for; empty where it fits none."""
    half = 0.5 * 10**-digits + 1e-9
    # Some tables cut the last digit where others round it.
    return [k for k in range(trials + 1) if -half <= 100 * k / trials - percent < 2 * half]


def _sentence(
    a: Sequence[bool], b: Sequence[bool], names: tuple[str, str], p: float, tested: Callable[[float], float]
) -> str:
    """`tested`: the p-value, were there so many times as many trials with the same outcomes."""
    rates = sum(a) / max(len(a), 1), sum(b) / max(len(b), 1)
    told = f"{names[0]} {sum(a)}/{len(a)}, {names[1]} {sum(b)}/{len(b)}, p = {p:.3f}"
    if p < LEVEL:
        better = names[0] if rates[0] > rates[1] else names[1]
        return f"{told}: {better} is better."
    needed = trials_needed(*rates)
    few = min(len(a), len(b))
    if needed == inf:
        return f"{told}: not separable, and alike in these trials."
    while needed < MANY and tested(needed / few) >= LEVEL:
        needed += 1
    more = max(needed - few, 1)
    return (
        f"{told}: not separable with {few} trials each; about {more} more of each would be, were these the true rates."
    )


def _check(successes: int, trials: int) -> None:
    if not 0 <= successes <= trials:
        raise ValueError(f"expected 0 <= successes <= trials, got {successes} of {trials}")
