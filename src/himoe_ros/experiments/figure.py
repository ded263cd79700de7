"""The figure of an experiment: rates by demonstrations, a curve for each arm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

INCHES = (7.5, 4.5)
SIDE = 0.06  # between the whiskers of two curves, in steps of the sweep


@dataclass(frozen=True)
class Curve:
    """One arm.

    Attributes:
        points: numbers of demonstrations.
        rates: rate, low and high at each.
    """

    name: str
    points: Sequence[int]
    rates: Sequence[tuple[float, float, float]]


def draw_curves(curves: Sequence[Curve], title: str, along: str, path: Path) -> None:
    """Write an SVG whose text stays text."""
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": title, "font.size": 10}):
        figure = Figure(INCHES, layout="constrained")
        axes = figure.add_subplot()
        for i, curve in enumerate(curves):
            x = [k + SIDE * (i - (len(curves) - 1) / 2) for k in range(len(curve.points))]
            y = [100 * rate for rate, _, _ in curve.rates]
            ends = [[100 * (r - low) for r, low, _ in curve.rates], [100 * (high - r) for r, _, high in curve.rates]]
            axes.errorbar(x, y, yerr=ends, marker="o", capsize=3, label=curve.name)
        axes.set_xticks(range(len(curves[0].points)), [str(n) for n in curves[0].points])
        axes.set(title=title, xlabel=along, ylabel="%", ylim=(0, 100))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(path, metadata={"Date": None})
