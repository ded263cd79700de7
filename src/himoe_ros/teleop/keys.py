"""A keyboard as a jogging device: every press, or repeat of a held key, is a step."""

from __future__ import annotations

import numpy as np

from ..core.observation import Floats

# The size of a step: m, rad
SPEEDS = ((0.001, 0.005), (0.003, 0.015), (0.006, 0.03), (0.012, 0.06))
MOVES = {
    "w": (0, +1), "s": (0, -1),
    "a": (1, +1), "d": (1, -1),
    "r": (2, +1), "f": (2, -1),
    "u": (3, +1), "o": (3, -1),
    "i": (4, +1), "k": (4, -1),
    "j": (5, +1), "l": (5, -1),
}  # fmt: skip
ORDERS = {"enter": "arm", "x": "disarm", "escape": "stop", "h": "home", " ": "gripper", "t": "take", "q": "quit"}
HELP = "w/s x  a/d y  r/f z  u/o i/k j/l turn  space gripper  +/- speed  enter arm  x disarm  esc stop  h home  q quit"


class KeyJog:
    """Keys -> steps and orders."""

    def __init__(self) -> None:
        self.level = 1

    def step(self, key: str) -> Floats | None:
        """(6,) m and rad that a key moves the target by; None if it is no such key."""
        if key in ("+", "="):
            self.level = min(self.level + 1, len(SPEEDS) - 1)
        elif key in ("-", "_"):
            self.level = max(self.level - 1, 0)
        if key not in MOVES:
            return None
        axis, sign = MOVES[key]
        by = np.zeros(6)
        by[axis] = sign * SPEEDS[self.level][axis // 3]
        return by

    @property
    def speed(self) -> str:
        """Of one step, in words."""
        metres, radians = SPEEDS[self.level]
        return f"{1e3 * metres:g} mm {1e3 * radians:g} mrad"
