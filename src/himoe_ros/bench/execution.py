"""`himoe bench execution`: what late plans cost in each way of execution, out of sessions of trials."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING

from ..trials.session import TrialResult, read_session
from ..trials.statistics import wilson

if TYPE_CHECKING:
    from ..rollout.late_trials import LateOutcome


@dataclass(frozen=True)
class ExecutionRow:
    """What the trials of one way of execution and latency came to.

    Attributes:
        execution, latency: s by which every plan was late on purpose.
        trials, successes: of the last stage; interval: Wilson's, 95 %.
        seconds: mean of the successful trials; None without one.
        holds: times that the arm had to wait for a plan, of all trials together; held_s: for how long, in a trial.
        plan_ms: age of a plan's observation when the plan arrives, mean over trials of their medians; None if unknown.
        refused: plans that the guard refused, of all trials together; None if unknown.
        jerk: the largest of any joint's commands, as a share of what it may have; None if unknown.
    """

    execution: str
    latency: float
    trials: int
    successes: int
    interval: tuple[float, float]
    seconds: float | None
    holds: int
    held_s: float
    plan_ms: float | None
    refused: int | None
    jerk: float | None


def execution_row(
    execution: str,
    latency: float,
    trials: Sequence[TrialResult | LateOutcome],
    plan_ms: float | None,
    refused: int | None = None,
    jerk: float | None = None,
) -> ExecutionRow:
    """See ExecutionRow."""
    good = [trial for trial in trials if trial.success]
    return ExecutionRow(
        execution=execution,
        latency=latency,
        trials=len(trials),
        successes=len(good),
        interval=wilson(len(good), len(trials)),
        seconds=mean(trial.seconds for trial in good) if good else None,
        holds=sum(trial.holds for trial in trials),
        held_s=mean(trial.held_s for trial in trials),
        plan_ms=plan_ms,
        refused=refused,
        jerk=jerk,
    )


def session_row(folder: Path) -> ExecutionRow:
    """Of a finished session."""
    header, results, _ = read_session(folder)
    ages = [r.latency[0] for r in results if r.latency]
    late = float(header.options["added_latency_s"])
    return execution_row(header.options["execution"], late, results, mean(ages) if ages else None)
