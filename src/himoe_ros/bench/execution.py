"""`himoe bench execution`: what late plans cost in each way of execution, out of sessions of trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from ..trials.session import read_session
from ..trials.statistics import wilson


@dataclass(frozen=True)
class ExecutionRow:
    """What one session came to.

    Attributes:
        execution, latency: s by which every plan was late on purpose.
        trials, successes: of the last stage; interval: Wilson's, 95 %.
        seconds: mean of the successful trials.
        holds: times that the arm had to wait for a plan, of all trials together; held_s: for how long, in a trial.
        plan_ms: median age of a plan's observation when the plan arrives.
    """

    execution: str
    latency: float
    trials: int
    successes: int
    interval: tuple[float, float]
    seconds: float
    holds: int
    held_s: float
    plan_ms: float


def execution_row(folder: Path) -> ExecutionRow:
    """Of a finished session."""
    header, results, _ = read_session(folder)
    good = [r for r in results if r.success]
    ages = [r.latency[0] for r in results if r.latency]
    return ExecutionRow(
        execution=header.options["execution"],
        latency=float(header.options["added_latency_s"]),
        trials=len(results),
        successes=len(good),
        interval=wilson(len(good), len(results)),
        seconds=mean(r.seconds for r in good) if good else float("nan"),
        holds=sum(r.holds for r in results),
        held_s=mean(r.held_s for r in results),
        plan_ms=mean(ages) if ages else float("nan"),
    )
