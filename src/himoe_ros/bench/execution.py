"""`himoe bench execution`: what late plans cost in each way of execution, out of sessions of trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from statistics import mean

import numpy as np

from ..core.errors import RecordingError
from ..core.messages import seconds
from ..core.observation import Floats
from ..recording.reader import read_info, read_messages
from ..trials.session import read_session
from ..trials.statistics import wilson

ACTION = "action"
GAP_S = 0.015  # between two commands of one motion, at most


@dataclass(frozen=True)
class ExecutionRow:
    """What one session came to.

    Attributes:
        execution, latency: s by which every plan was late on purpose.
        trials, successes: of the last stage; interval: Wilson's, 95 %.
        seconds: mean of the successful trials.
        holds: times that the arm had to wait for a plan, of all trials together; held_s: for how long, in a trial.
        plan_ms: median age of a plan's observation when the plan arrives.
        jerk: rad/s^3, root mean square of the commanded joints', the largest joint's.
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
    """Of a finished session with bags.

    Raises:
        RecordingError: a bag cannot be read.
    """
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
        jerk=float(np.sqrt(mean(_jerk(folder / r.files["bag"], r.began, r.began + r.seconds) ** 2 for r in results))),
    )


def _jerk(bag: Path, begin: float, end: float) -> float:
    """rad/s^3, root mean square of the commanded joints' in a stretch of time, s; the largest joint's."""
    info = read_info(bag)
    topic = next((t for t in info.types if t.rsplit("/", 1)[-1] == ACTION), "")
    times, places = [], []
    for recorded in read_messages(info, [topic]):
        stamp = seconds(recorded.message.header.stamp)
        if begin <= stamp <= end:
            times.append(stamp)
            places.append(recorded.message.position)
    if len(times) < 4:
        raise RecordingError(f"{bag} holds {len(times)} commands of its trial; expected more on '{ACTION}'")
    return float(third_differences(np.array(times), np.array(places)).max())


def third_differences(times: Floats, places: Floats) -> Floats:
    """(J,) root mean square of the third derivative of (T, J) at (T,) s, within stretches without gaps."""
    step = float(np.median(np.diff(times)))
    whole = np.convolve(np.diff(times) < GAP_S, np.ones(3), "valid") == 3
    return np.sqrt(np.mean(np.diff(places, n=3, axis=0)[whole] ** 2, axis=0)) / step**3
