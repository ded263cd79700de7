"""A `himoe` command at a pseudo-terminal, as over SSH."""

from __future__ import annotations

import os
import pty
import subprocess
import time

from graph import HIMOE

COLUMNS = "160"


class Screen:
    """Presses keys and sees what is shown; in a `with` block, which ends what has not ended by itself."""

    def __init__(self, *command: object) -> None:
        self._master, slave = pty.openpty()
        ends = {"stdin": slave, "stdout": slave, "stderr": slave}
        self._process = subprocess.Popen([HIMOE, *command], env={**os.environ, "COLUMNS": COLUMNS}, **ends)
        os.close(slave)
        self._shown = ""

    def see(self, words: str, within: float = 20.0) -> None:
        """Wait until the words are shown, after those seen before."""
        deadline = time.monotonic() + within
        while words not in self._shown:
            assert time.monotonic() < deadline, self._shown[-2000:]
            self._shown += os.read(self._master, 4096).decode(errors="replace")
        self._shown = self._shown[self._shown.index(words) + len(words) :]

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def ended(self, within: float = 10.0) -> int:
        """Its exit code."""
        return self._process.wait(within)

    def __enter__(self) -> Screen:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        os.close(self._master)
