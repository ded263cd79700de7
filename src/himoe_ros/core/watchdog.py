"""Fed by fresh chunks only: a heartbeat that keeps coming while chunks stop proves nothing."""

from __future__ import annotations

import math

from .errors import ConfigError


class Watchdog:
    """Expires when nothing fresh arrived for `timeout` seconds of a steady clock."""

    def __init__(self, timeout: float) -> None:
        """
        Args:
            timeout: s, > 0.

        Raises:
            ConfigError: a timeout that would never, or always, expire.
        """
        if not 0 < timeout < math.inf:
            raise ConfigError(f"a watchdog needs a finite timeout > 0 s, got {timeout}")
        self._timeout = timeout
        self._fed_at: float | None = None

    def feed(self, now: float) -> None:
        """Something fresh arrived. `now` is s of a steady clock, never of ROS time, which may jump."""
        self._fed_at = now

    def expired(self, now: float) -> bool:
        """True before the first feeding, and `timeout` after the last one."""
        return self._fed_at is None or now - self._fed_at > self._timeout

    def reset(self) -> None:
        """Expire at once, until fed again."""
        self._fed_at = None
