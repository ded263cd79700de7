"""Ways of execution: when the next plan is made, what it is told of the last one, and what of it is published.

Time is an argument everywhere. Plans lie on the clock of their observations' stamps, and the controller follows them
by that clock (see chunk_buffer.py): steps that are past when a plan arrives are the ones that were really executed.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from .chunk_buffer import SETTLE_S
from .committed import Committed, resampled
from .embodiment import ActionSpace
from .errors import ConfigError
from .observation import ActionChunk, Floats
from .unified import slot_difference

RECENT = 10  # plans whose latencies are remembered; the longest counts, as in arXiv 2506.07339
MARGIN_S = 0.05  # by which a plan is begun earlier than its latency asks
DECAY = 0.01  # ensemble: weights exp(-DECAY i), the oldest plan first (arXiv 2304.13705)
OVERLAPPING = 50  # plans that an ensemble remembers at most


class Execution(str, Enum):
    """How plans follow one another.

    Each beginning with the observation that it is made from:
    synchronous: a plan is followed for a while, the robot comes to rest, and only then the next is made.
    asynchronous: the next one is made while one is followed.
    ensemble: the same, and what several plans say about one moment is averaged.
    rtc: the same, and a plan is made to agree with what the robot does meanwhile (real-time chunking).
    """

    SYNCHRONOUS = "synchronous"
    ASYNCHRONOUS = "asynchronous"
    ENSEMBLE = "ensemble"
    RTC = "rtc"

    @classmethod
    def named(cls, name: str) -> Execution:
        """By its value; ConfigError for another one."""
        try:
            return cls(name)
        except ValueError:
            raise ConfigError(f"execution must be one of {[e.value for e in cls]}, got '{name}'") from None


@dataclass(frozen=True)
class Planning:
    """A plan that is being made.

    Attributes:
        number: of this plan among all.
        stamp: s, of the observation.
        committed: what the plan should agree with; None for nothing.
        rests: nothing was followed any more when the robot was observed, so it stays where it was.
    """

    number: int
    stamp: float
    committed: Committed | None
    rests: bool


class Scheduler:
    """Decides for one robot. Not thread-safe: one thread plans."""

    def __init__(self, space: ActionSpace, execution: Execution, period: float, reach: Floats) -> None:
        """
        Args:
            space: of the plans.
            execution: may be changed at any time, see `switch`.
            period: s between the starts of two plans; for so long a plan is followed in synchronous execution.
            reach: (N,) m, rad or opening: how far a robot that follows a plan may be from it.
        """
        self._space, self._period, self._reach = space, period, reach
        self.execution = execution
        self._number = 0
        self._began = -np.inf
        self._end = -np.inf  # s, when what was published last is over
        self._plans: deque[ActionChunk] = deque(maxlen=OVERLAPPING)  # not averaged, those that last longest last
        self._took: deque[float] = deque(maxlen=RECENT)

    @property
    def latency(self) -> float:
        """s, from an observation's stamp until its plan is there: the longest of the last ones; 0 before the first."""
        return max(self._took, default=0.0)

    def switch(self, execution: Execution) -> None:
        """From the next plan on, which is told nothing of those before."""
        self.execution = execution
        self.forget()

    def forget(self) -> None:
        """A plan that is being made will not be published, and those before do not count any more."""
        self._number += 1
        self._plans.clear()
        self._end = -np.inf

    def due(self, now: float) -> float:
        """s, when to begin the next plan."""
        following = now < self._end
        if self.execution is Execution.SYNCHRONOUS and following:
            return self._end + SETTLE_S
        due, early = self._began + self._period, self._end - self.latency - MARGIN_S
        # A latency longer than a plan cannot be made up for: once it is over, it must not make plans follow in a burst.
        return min(due, early) if following and early > self._began else due

    def begin(self, stamp: float, where: Floats, now: float) -> Planning | None:
        """Begin a plan; a plan that was begun before will not be published any more.

        Args:
            stamp: s, of the observation.
            where: (N,) the robot then, in the order of the action space.
            now: s, the clock of `stamp`.

        Returns:
            None where the observation is from before the robot had come to rest, as synchronous execution wants it.
        """
        rests = stamp >= self._end + SETTLE_S
        if self.execution is Execution.SYNCHRONOUS and not rests:
            return None
        self._began = now
        self._number += 1
        return Planning(self._number, stamp, self._committed(stamp, where), rests)

    def finish(self, planning: Planning, plan: ActionChunk, now: float) -> ActionChunk | None:
        """What to publish of a plan that has been made; None for one that nobody waits for any more."""
        if planning.number != self._number:
            return None
        self._took.append(now - planning.stamp)
        if planning.rests:  # nothing has moved meanwhile: the plan begins now, or its first steps would ask for a jump
            plan = replace(plan, times=plan.times + (now - plan.stamp))
        published = plan
        if self.execution is Execution.SYNCHRONOUS:
            kept = max(1, int(np.sum(plan.times <= now - plan.stamp + self._period + 1e-6)))
            published = replace(plan, values=plan.values[:kept], times=plan.times[:kept])
        elif self.execution is Execution.ENSEMBLE:
            published = self._averaged(plan)
        self._plans = deque((p for p in self._plans if _end(p) > now), OVERLAPPING)
        self._plans.append(plan)
        self._end = _end(published)
        return published

    def _committed(self, stamp: float, where: Floats) -> Committed | None:
        """The last plan, where the robot follows it and still will when the next one comes."""
        if self.execution is not Execution.RTC or not self._plans:
            return None
        plan, until = self._plans[-1], stamp + self.latency
        if _end(plan) <= until:
            return None
        away = slot_difference(self._space, resampled(plan, self._space, np.array([stamp]))[0], where)
        return Committed(plan, until) if np.all(np.abs(away) <= self._reach) else None

    def _averaged(self, plan: ActionChunk) -> ActionChunk:
        """The plan's steps, each averaged with what plans before said about its time."""
        times = plan.stamp + plan.times
        seen, total, moved = np.zeros(len(times)), np.zeros(len(times)), np.zeros_like(plan.values)
        for one in (*self._plans, plan):
            told = times <= _end(one)
            weight = np.where(told, np.exp(-DECAY * seen), 0.0)
            moved += weight[:, None] * slot_difference(self._space, resampled(one, self._space, times), plan.values)
            total += weight
            seen += told
        return replace(plan, values=plan.values + moved / total[:, None])


def _end(plan: ActionChunk) -> float:
    return plan.stamp + float(plan.times[-1])
