"""A session as a few lines of text."""

from __future__ import annotations

from collections.abc import Sequence

from .protocol import Protocol
from .session import Header, TrialResult
from .statistics import wilson


def rate(successes: int, trials: int) -> str:
    """`12/16  75 % [51, 90]`: a count, its rate and Wilson 95 % interval."""
    low, high = wilson(successes, trials)
    share = f"{100 * successes / trials:.0f} %" if trials else "-"
    return f"{successes}/{trials}  {share} [{100 * low:.0f}, {100 * high:.0f}]"


def summary(protocol: Protocol, header: Header, results: Sequence[TrialResult]) -> str:
    """Rates of every stage by policy; which label is which stays untold where several run."""
    where = "in simulation" if header.simulated else "on the robot"
    lines = [f"{protocol.title}, {where}, Wilson 95 % intervals:"]
    for label in sorted({r.label for r in results}):
        mine = [r for r in results if r.label == label]
        name = label if len(header.policies) > 1 else header.labels[label]
        stages = "   ".join(f"{s} {rate(sum(r.stages[s] for r in mine), len(mine))}" for s in protocol.stages)
        lines.append(f"  {name}: {stages}")
    return "\n".join(lines)
