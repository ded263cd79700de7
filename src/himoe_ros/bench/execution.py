"""`himoe bench execution`: what late plans cost in each way of execution, out of sessions or in simulated time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from ..recording.bag import write_whole
from ..rollout.late_trials import Late, LateOutcome, late_trials
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
        jerk: the largest of any joint's commands, as a share of what it may have; NaN where nobody looked.
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
    jerk: float = float("nan")


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


def simulated_row(wanted: Late, each: int, seed: int, workers: int, file: Path) -> ExecutionRow:
    """Of `each` trials of every setting in simulated time, which are kept in a file and not run again."""
    asked = {**asdict(wanted), "execution": wanted.execution.value, "each": each, "seed": seed}
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("asked") != asked:
        trials = [asdict(outcome) for outcome in late_trials(wanted, each, seed, workers)]
        kept = {"asked": asked, "trials": trials}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(kept, indent=1))
    return _row(wanted, [LateOutcome(**told) for told in kept["trials"]])


def _row(wanted: Late, outcomes: Sequence[LateOutcome]) -> ExecutionRow:
    good = [o for o in outcomes if o.success]
    return ExecutionRow(
        execution=wanted.execution.value,
        latency=wanted.latency,
        trials=len(outcomes),
        successes=len(good),
        interval=wilson(len(good), len(outcomes)),
        seconds=mean(o.seconds for o in good) if good else float("nan"),
        holds=sum(o.holds for o in outcomes),
        held_s=mean(o.held_s for o in outcomes),
        plan_ms=1e3 * wanted.latency,
        jerk=max(o.jerk for o in outcomes),
    )
