"""A clock that may jump or stand still, held against one that does neither."""

from __future__ import annotations


class ClockWatch:
    """Compares the clock of message stamps with a steady one.

    A simulated clock that runs slower or faster is no fault; one that jumps or stands still is.
    """

    def __init__(self, tolerance: float) -> None:
        """
        Args:
            tolerance: s, that the clock may move more, or stand still longer, than the steady one tells.
        """
        self._tolerance = tolerance
        self._now: float | None = None
        self._steady = 0.0
        self._moved_at = 0.0
        self.trouble = ""  # what is wrong at the moment, in words

    def look(self, now: float, steady: float) -> str:
        """Take the two clocks' times, s, and return what went wrong since the last look, in words, or ""."""
        self.trouble = ""
        if self._now is None or now != self._now:
            moved_at = steady
        else:
            moved_at = self._moved_at
            if steady - moved_at > self._tolerance:
                self.trouble = f"the ROS clock has stood still for more than {self._tolerance:g} s"
        if self._now is not None and not self.trouble:
            jump = (now - self._now) - (steady - self._moved_at)
            if now < self._now - self._tolerance or jump > self._tolerance:
                self.trouble = f"the ROS clock jumped by {now - self._now - (steady - self._steady):+.1f} s"
        self._now, self._steady, self._moved_at = now, steady, moved_at
        return self.trouble
