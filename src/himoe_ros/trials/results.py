"""What a trial came to, and how a session of them is told."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class TrialResult:
    """One finished trial.

    Attributes:
        index: 0, 1, ... in the session.
        instruction: what the policy was asked.
        seed: of the scene.
        stages: stage -> reached, in the order of the task.
        ended: why it ended: "success", "timeout" or "fault"; kept apart from the stages.
        seconds: from the instruction to the end.
        note: anything a reader should know, such as the wrong object being lifted.
    """

    index: int
    instruction: str
    seed: int
    stages: dict[str, bool]
    ended: str
    seconds: float
    note: str = ""


def table(results: Sequence[TrialResult], policy: str) -> str:
    """A session as text: a line a trial, and the rate of every stage."""
    stages = list(results[0].stages) if results else []
    header = f"{'trial':>5}  {'instruction':<52} {'seed':>5}  " + "".join(f"{s:<8}" for s in stages) + "ended       s"
    lines = [f"policy: {policy}", header]
    for r in results:
        marks = "".join(f"{'yes' if reached else '-':<8}" for reached in r.stages.values())
        note = f"  {r.note}" if r.note else ""
        lines.append(f"{r.index + 1:>5}  {r.instruction:<52} {r.seed:>5}  {marks}{r.ended:<8}{r.seconds:>5.1f}{note}")
    rates = ", ".join(f"{s} {sum(r.stages[s] for r in results)}/{len(results)}" for s in stages)
    lines.append(f"in simulation: {rates}" if results else "no trial finished")
    return "\n".join(lines)


def save(results: Sequence[TrialResult], policy: str, path: Path) -> None:
    """Write `results.json`, whole or not at all."""
    data = {"policy": policy, "simulated": True, "trials": [asdict(r) for r in results]}
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(data, indent=1))
    partial.replace(path)
