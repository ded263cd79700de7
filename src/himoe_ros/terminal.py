"""Single keys from a terminal, also over SSH; a foot pedal is a keyboard with one key."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator

SEQUENCES = {
    b"\x1b[A": "up",
    b"\x1b[B": "down",
    b"\x1b[C": "right",
    b"\x1b[D": "left",
    b"\x1b[3~": "delete",
    b"\x7f": "backspace",
    b"\x08": "backspace",
    b"\r": "enter",
    b"\n": "enter",
    b"\x1b": "escape",
}


class Terminal:
    """Within, keys come one by one and are not shown; afterwards the terminal is as before."""

    def __init__(self) -> None:
        self._file = sys.stdin.fileno()
        self._before = termios.tcgetattr(self._file) if sys.stdin.isatty() else None

    def __enter__(self) -> Terminal:
        self._take_keys()
        return self

    def __exit__(self, *_: object) -> None:
        if self._before is not None:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)

    def keys(self, within: float) -> list[str]:
        """Keys pressed within so many s: characters, or names such as `left`; `end` where the input ends."""
        if not select.select([self._file], [], [], within)[0]:
            return []
        data = os.read(self._file, 1024)
        return list(split_keys(data)) if data else ["end"]

    def forget(self) -> None:
        """Drop what was typed so far."""
        if self._before is not None:
            termios.tcflush(self._file, termios.TCIFLUSH)

    def line(self, prompt: str) -> str:
        """Ask for a line of text, shown while it is typed."""
        if self._before is not None:
            termios.tcsetattr(self._file, termios.TCSADRAIN, self._before)
        try:
            print(prompt, end="", flush=True)
            return sys.stdin.readline().strip()
        finally:
            self._take_keys()

    def _take_keys(self) -> None:
        if self._before is not None:
            tty.setcbreak(self._file, termios.TCSADRAIN)  # the default throws away what was typed already


def split_keys(data: bytes) -> Iterator[str]:
    """Bytes of a terminal -> keys."""
    while data:
        name = next((s for s in sorted(SEQUENCES, key=len, reverse=True) if data.startswith(s)), None)
        if name is not None:
            yield SEQUENCES[name]
            data = data[len(name) :]
            continue
        length = next((n for n in range(1, 5) if _decodes(data[:n])), 1)
        yield data[:length].decode(errors="replace")
        data = data[length:]


def _decodes(data: bytes) -> bool:
    try:
        return bool(data.decode())
    except UnicodeDecodeError:
        return False
