"""What a few training runs can say. The run is the unit: two seeds differ more than two scenes do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..core.observation import Floats
from ..trials.statistics import wilson

LEVEL = 0.05


@dataclass(frozen=True)
class Difference:
    """A mean difference of paired runs, its 95 % interval, and the two-sided p-value of a paired t test."""

    mean: float
    low: float
    high: float
    p: float


def rate(reached: Floats) -> tuple[float, float, float]:
    """A rate and its 95 % interval: of t over the runs' rates, and no narrower than Wilson's of all trials.

    Args:
        reached: (R, S), 1 where a run succeeded in a scene, else 0.
    """
    mean = float(reached.mean())
    low, high = wilson(int(reached.sum()), reached.size)
    if len(reached) > 1:
        half = _half(reached.mean(1))
        low, high = min(low, mean - half), max(high, mean + half)
    return mean, max(low, 0.0), min(high, 1.0)


def difference(paired: Floats) -> Difference:
    """Of (R,) differences, one of each pair of runs; one pair alone, or pairs that differ by nothing, tell nothing."""
    mean = float(np.mean(paired))
    if len(paired) < 2:
        return Difference(mean, -np.inf, np.inf, 1.0)
    half = _half(paired)
    if half < 1e-9:  # t is undefined; each sign was as likely, were both alike
        return Difference(mean, mean, mean, 1.0 if abs(mean) < 1e-9 else 2.0 / 2 ** len(paired))
    return Difference(mean, mean - half, mean + half, float(stats.ttest_1samp(paired, 0.0).pvalue))


def holm(p: Sequence[float]) -> list[float]:
    """P-values adjusted for their number (Holm): the chance that any of them deceives stays at the level."""
    order = np.argsort(p)
    steps = np.array(p)[order] * (len(p) - np.arange(len(p)))
    told = np.empty(len(p))
    told[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return told.tolist()


def _half(values: Floats) -> float:
    """Half of the 95 % interval of a mean of normal values."""
    return float(stats.t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values)))
