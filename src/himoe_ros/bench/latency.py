"""`himoe bench latency`: where the time goes between a camera's image and the robot's first command."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

WIDTH, LEFT, ROW, BAR = 760, 150, 26, 16  # px
COLOUR, LIGHT = "#215aa0", "#9db9da"

SUMS = {"image to observation": ("image", "waiting"), "plan to first command": ("transport", "first command")}

Parts = Mapping[str, float]  # part -> s, in the order of time


def joined(policy: Mapping[float, Parts], controller: Mapping[float, Parts]) -> list[dict[str, float]]:
    """All parts of the plans that both nodes have told of.

    Args:
        policy: stamp of the observation, s -> parts from there until the plan was published.
        controller: the same stamps -> "transport", s from the stamp until the plan had arrived, and "first command",
            s from there.

    Returns:
        The policy's parts, then "transport" alone, then "first command"; of each plan, in order.
    """
    told = []
    for stamp in sorted(policy.keys() & controller.keys()):
        parts, there = policy[stamp], controller[stamp]
        known = sum(parts.values())
        told.append({**parts, "transport": there["transport"] - known, "first command": there["first command"]})
    return told


def spread(plans: list[dict[str, float]]) -> dict[str, list[float]]:
    """Part -> median and 99th percentile, ms; and of the whole."""
    if not plans:
        return {}
    parts = {
        name: [plan[name] for plan in plans if name in plan] for name in dict.fromkeys(n for p in plans for n in p)
    }
    parts["image to first command"] = [sum(plan.values()) for plan in plans]
    return {name: [round(1e3 * float(v), 2) for v in np.percentile(s, [50, 99])] for name, s in parts.items()}


def sums(plans: list[dict[str, float]]) -> dict[str, list[float]]:
    """What ROS adds before and after a policy's own work -> s, of each plan."""
    return {name: [sum(plan[part] for part in parts) for plan in plans] for name, parts in SUMS.items()}


def waterfall(parts: Mapping[str, list[float]], title: str) -> str:
    """A picture, SVG: each part's median where it lies in time, its 99th percentile lighter behind it.

    Args:
        parts: from `spread`; the last is the whole.
    """
    *single, whole = parts
    starts = np.concatenate([[0.0], np.cumsum([parts[name][0] for name in single])])
    ends = [start + parts[name][1] for start, name in zip(starts, single, strict=False)]
    longest = max(*ends, parts[whole][1], 1e-3)
    scale = (WIDTH - LEFT - 130) / longest
    rows = []
    for i, (name, start) in enumerate(zip((*single, whole), (*starts[:-1], 0.0), strict=True)):
        middle, high = parts[name]
        x, y = LEFT + start * scale, 48 + ROW * i
        rows.append(
            f'<text x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{name}</text>'
            f'<rect x="{x:.1f}" y="{y}" width="{max(high * scale, 1):.1f}" height="{BAR}" fill="{LIGHT}"/>'
            f'<rect x="{x:.1f}" y="{y}" width="{max(middle * scale, 1):.1f}" height="{BAR}" fill="{COLOUR}"/>'
            f'<text x="{x + max(high * scale, 1) + 6:.1f}" y="{y + 12}">{middle:g} ms, p99 {high:g}</text>'
        )
    height = 60 + ROW * len(rows)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="16" y="26" font-size="15">{title}</text>{"".join(rows)}</svg>\n'
    )
