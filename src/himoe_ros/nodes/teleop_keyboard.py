"""Jogging from a terminal, also over SSH."""

from __future__ import annotations

import queue
import shutil
import sys

from ..core.errors import ConfigError
from ..teleop.keys import HELP, ORDERS, KeyJog
from ..terminal import Terminal
from .managed import run
from .teleop import JogTeleop


class TeleopKeyboard(JogTeleop):
    """A thread reads keys; they move the target on the executor's thread."""

    def __init__(self) -> None:
        super().__init__("teleop_keyboard", rate_hz=20.0)
        self._keyboard = self.worker("keys")
        self._keys: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._map = KeyJog()
        self._pressed: list[str] = []
        self.every(0.2, self._show)

    def setup(self) -> None:
        if not sys.stdin.isatty():
            raise ConfigError("the keyboard needs a terminal: start it there, with himoe teleop")
        super().setup()

    def begin(self) -> None:
        super().begin()
        self._print(HELP, "\n")
        self._keyboard.start(self._listen)

    def end(self) -> None:
        super().end()
        self._keyboard.stop()

    def read_device(self) -> None:
        self._pressed.clear()  # what nobody moved by is no wish any more
        while not self._keys.empty():
            key = self._keys.get()
            order = ORDERS.get(key)
            if key == "end" or order == "quit":
                self.exit_code = 0
            elif order is not None:
                self.obey(order)
            else:
                self._pressed.append(key)

    def hand(self) -> None:
        for key in self._pressed:
            if (step := self._map.step(key)) is not None:
                self.jog.step(step)

    def answer(self, text: str) -> None:
        self._print(text, "\n")

    def _listen(self) -> None:
        with Terminal() as terminal:
            terminal.forget()  # an Enter typed while the node was loading is no order to arm
            while self._keyboard.running:
                for key in terminal.keys(0.05):
                    self._keys.put(key)

    def _show(self) -> None:
        if self._keyboard.running and self.jog.target is not None:
            x, y, z, *_ = self.jog.target
            drives = "" if self.human else "  the policy drives, t takes over"
            trouble = self.trouble()
            place = f"x {x:+.3f} y {y:+.3f} z {z:+.3f} m  gripper {'open' if self.jog.opening > 0.5 else 'closed'}"
            self._print(f"{self.mode}  {place}  step {self._map.speed}{drives}{'  ' + trouble if trouble else ''}")

    def _print(self, text: str, end: str = "") -> None:
        width = max(shutil.get_terminal_size().columns - 1, 20)
        print(f"\r\x1b[K{text if end else text[:width]}", end=end, flush=True)


def main() -> None:
    run(TeleopKeyboard)


if __name__ == "__main__":
    main()
