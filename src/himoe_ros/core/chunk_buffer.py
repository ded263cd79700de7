"""The plan being executed: splice a new chunk in, interpolate, expire, exhaust.

A chunk's steps stand at absolute times, `stamp + times[k]`, so a late chunk simply starts
later in its own plan: steps already past are never sent.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .embodiment import ActionSpace
from .errors import GuardError
from .observation import ActionChunk, Floats
from .unified import wrap_angle


@dataclass(frozen=True)
class _Plan:
    """Targets at increasing absolute times: (T,) s and (T, N)."""

    times: Floats
    values: Floats

    def at(self, now: float) -> Floats:
        return np.array([np.interp(now, self.times, column) for column in self.values.T])


class ChunkBuffer:
    """Turns overlapping chunks into one continuous target."""

    def __init__(self, space: ActionSpace, blend: float, max_future: float) -> None:
        """
        Args:
            space: action space the chunks are in; its angular slots are interpolated without wraps.
            blend: s, over which the difference between an old plan and a new one fades, > 0.
            max_future: s, a chunk's stamp may lie ahead of the clock.
        """
        self._space = space
        self._blend = blend
        self._max_future = max_future
        self._plan: _Plan | None = None
        self._offset = np.zeros(len(space.names))
        self._stamp = -np.inf

    def accept(self, chunk: ActionChunk, current: Floats, now: float) -> int:
        """Splice a chunk in at `now`.

        Args:
            chunk: already checked by `action_guard.check_chunk`.
            current: (N,) where the robot is being sent, order of `space.names`; the plan starts here.
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
        before = self.target(now)
        values = np.vstack([current, chunk.values[past:]])
        values[:, self._space.angular] = np.unwrap(values[:, self._space.angular], axis=0)
        self._offset = np.zeros_like(current) if before is None else before - current
        self._offset[self._space.angular] = wrap_angle(self._offset[self._space.angular])
        self._plan = _Plan(np.concatenate([[now], times[past:]]), values)
        self._stamp = chunk.stamp
        return past

    def target(self, now: float) -> Floats | None:
        """(N,) target at `now` in the order of `space.names`; None before and after the plan."""
        if self._plan is None or not self._plan.times[0] <= now <= self._plan.times[-1]:
            return None
        share = min(1.0, (now - self._plan.times[0]) / self._blend)
        target: Floats = self._plan.at(now) + (1.0 - share) * self._offset
        return target

    def completion(self, now: float, grace: float) -> Floats | None:
        """(N,) the plan's last target, if the plan ended within the last `grace` s; None otherwise."""
        if self._plan is None or not 0.0 <= now - self._plan.times[-1] <= grace:
            return None
        final: Floats = self._plan.values[-1].copy()
        return final

    def clear(self) -> None:
        """Drop the plan, as after a stop. Chunks from before stay refused."""
        self._plan = None
