"""Where the time of a plan goes."""

from __future__ import annotations

from collections.abc import Callable


class Stopwatch:
    """Times parts that follow one another."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """
        Args:
            clock: s, one that never jumps.
        """
        self._clock, self._last = clock, clock()
        self.took: dict[str, float] = {}  # part -> s, in their order

    def mark(self, part: str) -> None:
        """This part has just ended."""
        now = self._clock()
        self.took[part], self._last = now - self._last, now
