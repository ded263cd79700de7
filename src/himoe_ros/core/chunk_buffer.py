"""The plan being executed: splice a new chunk in, interpolate, expire, exhaust.

A chunk's steps stand at absolute times, `stamp + times[k]`, so a late chunk simply starts
later in its own plan: steps already past are never sent. The target moves along cubic pieces
without a jump of position or velocity, within a chunk and from one chunk to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .embodiment import ActionSpace
from .errors import GuardError
from .observation import ActionChunk, Floats

SETTLE_S = 0.08  # after the time of its last step a plan comes to rest there


@dataclass(frozen=True)
class Target:
    """Where to be, and how that place moves, in the order of an action space.

    Attributes:
        values: (N,) m, rad or opening.
        rates: (N,) the same per second.
    """

    values: Floats
    rates: Floats


@dataclass(frozen=True)
class _Plan:
    """A cubic Hermite curve: times (T,) s, increasing; values and rates (T, N)."""

    times: Floats
    values: Floats
    rates: Floats

    def at(self, now: float) -> Target:
        """The target at a time from the first knot to the last."""
        k = min(int(np.searchsorted(self.times, now, side="right")), len(self.times) - 1) - 1
        if k < 0:
            return Target(self.values[0].copy(), self.rates[0].copy())
        span = float(self.times[k + 1] - self.times[k])
        s = (now - float(self.times[k])) / span
        ahead, start, end = self.values[k + 1] - self.values[k], span * self.rates[k], span * self.rates[k + 1]
        bend, twist = 3 * ahead - 2 * start - end, start + end - 2 * ahead
        return Target(
            self.values[k] + s * (start + s * (bend + s * twist)),
            (start + s * (2 * bend + 3 * s * twist)) / span,
        )


class ChunkBuffer:
    """Turns overlapping chunks into one smooth target."""

    def __init__(self, space: ActionSpace, blend: float, max_future: float) -> None:
        """
        Args:
            space: action space the chunks are in; its angular slots are interpolated without wraps.
            blend: s, after which a new plan is followed alone, > 0.
            max_future: s, a chunk's stamp may lie ahead of the clock.
        """
        self._space = space
        self._blend = blend
        self._max_future = max_future
        self._plan: _Plan | None = None
        self._stamp = -np.inf

    def accept(self, chunk: ActionChunk, current: Floats, now: float) -> int:
        """Splice a chunk in at `now`: one cubic piece leads from the old target onto the new plan.

        Args:
            chunk: already checked by `action_guard.check_chunk`.
            current: (N,) where the robot is being sent, order of `space.names`; a plan after a rest starts here.
            now: s, the clock of `chunk.stamp`.

        Returns:
            Number of steps that were already past, and were dropped.

        Raises:
            GuardError: every step is past, the stamp lies in the future, or a newer observation's chunk
                was accepted before.
        """
        if not chunk.stamp <= now + self._max_future:
            raise GuardError(f"chunk stamp {chunk.stamp} lies ahead of the clock, {now:.3f} s; check clocks")
        if self._stamp > now + self._max_future:  # the clock has jumped back
            self._stamp = -np.inf
        if chunk.stamp <= self._stamp:
            raise GuardError(f"chunk from {chunk.stamp:.3f} s is not newer than the last one from {self._stamp:.3f} s")
        times = chunk.stamp + chunk.times
        past = int(np.searchsorted(times, now, side="right"))
        if past == len(times):
            raise GuardError(f"chunk is late: its last step was due {now - times[-1]:.3f} s ago")
        start = self.target(now) or Target(current.copy(), np.zeros_like(current))
        values = np.vstack([start.values, chunk.values[past:]])
        angular = self._space.angular
        values[:, angular] = np.unwrap(values[:, angular], axis=0)
        self._plan = _joined(now, start, _smooth(times[past:], values[1:]), self._blend)
        self._stamp = chunk.stamp
        return past

    def target(self, now: float) -> Target | None:
        """The target at `now` in the order of `space.names`; None before the plan and after it has come to rest."""
        if self._plan is None or not self._plan.times[0] <= now <= self._plan.times[-1]:
            return None
        return self._plan.at(now)

    def ahead(self, now: float, period: float) -> Floats:
        """(K, N) targets from `now` to the end of the plan, `period` s apart; none without a plan."""
        if self._plan is None:
            return np.empty((0, len(self._space.names)))
        times = np.append(np.arange(max(now, self._plan.times[0]), self._plan.times[-1], period), self._plan.times[-1])
        return np.array([self._plan.at(float(t)).values for t in times])

    def clear(self) -> None:
        """Drop the plan, as after a stop. Chunks from before stay refused."""
        self._plan = None


def _smooth(times: Floats, values: Floats) -> _Plan:
    """The curve through (T, N) steps that turns only where they turn (Fritsch and Butland).

    It ends at rest: from SETTLE_S before the last step, so much time is taken twice for slowing down.
    """
    rates = np.zeros_like(values)
    if len(times) > 1:
        slopes = np.diff(values, axis=0) / np.diff(times)[:, None]
        before, after = slopes[:-1], slopes[1:]
        onward = before * after > 0
        rates[1:-1][onward] = 2 / (1 / before[onward] + 1 / after[onward])
        rates[0], rates[-1] = slopes[0], slopes[-1]
    slowing = max(float(times[0]), float(times[-1]) - SETTLE_S)
    there = _Plan(times, values, rates).at(slowing)
    kept = times < slowing
    return _Plan(
        np.concatenate([times[kept], [slowing, times[-1] + SETTLE_S]]),
        np.vstack([values[kept], there.values, values[-1]]),
        np.vstack([rates[kept], there.rates, np.zeros_like(there.rates)]),
    )


def _joined(now: float, start: Target, plan: _Plan, blend: float) -> _Plan:
    """From the start at `now` onto the plan: at `now + blend`, or where it begins or ends."""
    meeting = float(np.clip(now + blend, plan.times[0], plan.times[-1]))
    there = plan.at(meeting)
    later = plan.times > meeting
    return _Plan(
        np.concatenate([[now, meeting], plan.times[later]]),
        np.vstack([start.values, there.values, plan.values[later]]),
        np.vstack([start.rates, there.rates, plan.rates[later]]),
    )
