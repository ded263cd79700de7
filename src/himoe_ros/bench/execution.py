"""`himoe bench execution`: what late plans cost in each way of execution, out of sessions or in simulated time."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

from ..recording.bag import write_whole
from ..rollout.late_trials import Late, LateOutcome, late_trials
from ..trials.session import TrialResult, read_session
from ..trials.statistics import wilson

UNKNOWN = float("nan")


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
    jerk: float


def execution_row(folder: Path) -> ExecutionRow:
    """Of a finished session."""
    header, results, _ = read_session(folder)
    ages = [r.latency[0] for r in results if r.latency]
    late = float(header.options["added_latency_s"])
    return _row(header.options["execution"], late, results, mean(ages) if ages else UNKNOWN)


def simulated_row(wanted: Late, each: int, seed: int, workers: int, file: Path) -> ExecutionRow:
    """Of `each` trials of every setting in simulated time, which are kept in a file and not run again."""
    asked = {**asdict(wanted), "execution": wanted.execution.value, "each": each, "seed": seed}
    kept = json.loads(file.read_text()) if file.exists() else {}
    if kept.get("asked") != asked:
        trials = [asdict(outcome) for outcome in late_trials(wanted, each, seed, workers)]
        kept = {"asked": asked, "trials": trials}
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps(kept, indent=1))
    outcomes = [LateOutcome(**told) for told in kept["trials"]]
    jerk = max(o.jerk for o in outcomes)
    return _row(wanted.execution.value, wanted.latency, outcomes, 1e3 * wanted.latency, jerk)


def _row(
    execution: str, latency: float, trials: Sequence[TrialResult | LateOutcome], plan_ms: float, jerk: float = UNKNOWN
) -> ExecutionRow:
    good = [trial for trial in trials if trial.success]
    return ExecutionRow(
        execution=execution,
        latency=latency,
        trials=len(trials),
        successes=len(good),
        interval=wilson(len(good), len(trials)),
        seconds=mean(trial.seconds for trial in good) if good else UNKNOWN,
        holds=sum(trial.holds for trial in trials),
        held_s=mean(trial.held_s for trial in trials),
        plan_ms=plan_ms,
        jerk=jerk,
    )
