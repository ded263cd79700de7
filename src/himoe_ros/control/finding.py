"""One line of a preflight."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Level(Enum):
    """How bad a finding is."""

    OK = "ok"
    WARNING = "warning"
    UNSAFE = "unsafe"


@dataclass(frozen=True)
class Finding:
    """One line of a preflight.

    Attributes:
        check: what was looked at.
        level: how bad it is.
        found: what was found.
        expected: what would have been well; "" where it is.
        advice: what to do; "" where nothing.
    """

    check: str
    level: Level
    found: str
    expected: str = ""
    advice: str = ""

    def __str__(self) -> str:
        line = f"{self.level.value:<8} {self.check:<22} {self.found}"
        if self.expected:
            line += f"; expected {self.expected}"
        return f"{line}. {self.advice}" if self.advice else line
