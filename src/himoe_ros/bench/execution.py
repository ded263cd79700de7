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
GAP_S = 0.05  # between two commands of one motion, at most
EVERY = 2  # commands are looked at: in 20 ms the clocks' microseconds no longer count


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


def execution_row(folder: Path, period: float) -> ExecutionRow:
    """Of a finished session with bags.

    Args:
        period: s between two commands of the robot.

    Raises:
        RecordingError: a bag cannot be read.
    """
    header, results, _ = read_session(folder)
    good = [r for r in results if r.success]
    jerk = [_jerk(folder / r.files["bag"], r.began, r.began + r.seconds, period) for r in results]
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
        jerk=float(np.sqrt(mean(j**2 for j in jerk))),
    )


def _jerk(bag: Path, begin: float, end: float, period: float) -> float:
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
    return float(jerks(np.array(times), np.array(places), period).max())


def jerks(times: Floats, places: Floats, period: float) -> Floats:
    """(J,) root mean square of the third derivative of (T, J) commands.

    Args:
        times: (T,) s, of the commands.
        places: where to.
        period: s between two commands. After a late one the motion goes on as if it had been in time (control/loop.py).
    """
    steps = np.diff(times)
    passed = np.concatenate([[0.0], np.cumsum(np.minimum(steps, period))])[::EVERY]
    gaps = np.concatenate([[0.0], np.cumsum(steps > GAP_S)])[::EVERY]
    told = places[::EVERY]
    for order in (1, 2, 3):  # divided differences, since no clock ticks evenly
        spans = passed[order:] - passed[:-order]
        told = np.diff(told, axis=0) * order / spans[:, None]
    whole = gaps[3:] == gaps[:-3]
    return np.sqrt(np.mean(told[whole] ** 2, axis=0))
