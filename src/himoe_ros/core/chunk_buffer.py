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

    def __init__(self, space: ActionSpace, blend: float = 0.1) -> None:
        """
        Args:
            space: action space the chunks are in; its angular slots are interpolated without wraps.
            blend: s, over which an old plan fades into a new one.
        """
        self._space = space
        self._blend = blend
        self._new: _Plan | None = None
        self._old: _Plan | None = None
        self._spliced_at = 0.0
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
            GuardError: every step is past, or a newer observation's chunk was accepted before.
        """
        if chunk.stamp <= self._stamp:
            raise GuardError(f"chunk from {chunk.stamp:.3f} s is not newer than the last one from {self._stamp:.3f} s")
        times = chunk.stamp + chunk.times
        past = int(np.searchsorted(times, now, side="right"))
        if past == len(times):
            raise GuardError(f"chunk is late: its last step was due {now - times[-1]:.3f} s ago")
        values = np.vstack([current, chunk.values[past:]])
        values[:, self._space.angular] = np.unwrap(values[:, self._space.angular], axis=0)
        self._old = self._new if self._active(now) else None
        self._new = _Plan(np.concatenate([[now], times[past:]]), values)
        self._spliced_at = now
        self._stamp = chunk.stamp
        return past

    def target(self, now: float) -> Floats | None:
        """(N,) target at `now` in the order of `space.names`, or None when the plan is exhausted."""
        if self._new is None or not self._active(now):
            return None
        target = self._new.at(now)
        share = (now - self._spliced_at) / self._blend if self._blend > 0 else 1.0
        if self._old is not None and share < 1.0:
            step = target - self._old.at(now)
            step[self._space.angular] = wrap_angle(step[self._space.angular])
            target = target - (1.0 - share) * step
        return target

    def clear(self) -> None:
        """Drop the plan, as after a stop. Chunks from before stay refused."""
        self._new = self._old = None

    def _active(self, now: float) -> bool:
        return self._new is not None and now <= self._new.times[-1]
