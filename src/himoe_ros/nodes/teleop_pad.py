"""Jogging with a gamepad or a 3D mouse; see config/teleop/gamepad.yaml."""

from __future__ import annotations

import os
import select
from pathlib import Path

from ..core.errors import ConfigError, HimoeError
from ..resources import config
from ..teleop.pad import Pad, find_device, load_pad
from .managed import run
from .teleop import JogTeleop


class TeleopPad(JogTeleop):
    """Reads the device's file before every plan."""

    def __init__(self) -> None:
        super().__init__("teleop_pad", rate_hz=50.0)
        self._name = self.require("device", "the name of a file in config/teleop of kind pad")
        self._path = self.parameter("device_file", "")
        self._file: int | None = None

    def setup(self) -> None:
        super().setup()
        described = load_pad(config("teleop") / f"{self._name}.yaml")
        path = Path(self._path) if self._path else find_device(described.device_name)
        try:
            self._file = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            raise ConfigError(f"{path} cannot be read: {error}; may this user read it (group 'input')?") from error
        self._pad = Pad(described)

    def begin(self) -> None:
        for _ in self._orders():  # buttons pressed before now ask for nothing
            continue
        super().begin()

    def teardown(self) -> None:
        super().teardown()
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def read_device(self) -> None:
        for order in self._orders():
            try:
                self.obey(order)
            except HimoeError as error:
                self.complain(error)

    def _orders(self) -> list[str]:
        """Take in everything that the device has told."""
        orders: list[str] = []
        while select.select([self._file], [], [], 0)[0]:
            try:
                data = os.read(self._file, 4096)
            except OSError as error:
                self.exit_code = 1
                raise ConfigError(f"the device '{self._name}' is gone: {error}; plug it in and start again") from error
            if not data:
                break
            orders += self._pad.feed(data, self.seconds_now())
        return orders

    def hand(self) -> None:
        self.jog.drive(self._pad.share(self.seconds_now()), 1.0 / self._rate)


def main() -> None:
    run(TeleopPad)


if __name__ == "__main__":
    main()
