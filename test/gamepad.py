"""A gamepad that a test pushes."""

from __future__ import annotations

import os
from pathlib import Path

from himoe_ros.teleop.pad import CODES, EVENT


class Gamepad:
    """A pipe in place of a device's file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "event0"
        os.mkfifo(self.path)
        self._pipe = os.open(self.path, os.O_RDWR)

    def push(self, *events: tuple[int, str, int]) -> None:
        os.write(self._pipe, b"".join(EVENT.pack(0, 0, kind, CODES[code], value) for kind, code, value in events))

    def close(self) -> None:
        os.close(self._pipe)
