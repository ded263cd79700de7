"""Gamepads and 3D mice: events of Linux' input devices -> how far each axis is pushed, and orders.

Read from /dev/input/event*, or from a file of recorded events: both hold `struct input_event` of linux/input.h.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.embodiment import END_EFFECTOR
from ..core.errors import ConfigError
from ..core.observation import Floats
from ..core.reading import load_yaml, mapping, number, pairs, text

EVENT = struct.Struct("llHHi")  # time, type, code, value
SYN, KEY, REL, ABS = 0, 1, 2, 3
DROPPED = 3  # a SYN event: the kernel's buffer was full, and events are missing
TYPES = {"BTN": KEY, "REL": REL, "ABS": ABS}
CODES = {  # linux/input-event-codes.h
    **{f"{kind}_{axis}": i for kind in ("ABS", "REL") for i, axis in enumerate(("X", "Y", "Z", "RX", "RY", "RZ"))},
    "ABS_HAT0X": 0x10, "ABS_HAT0Y": 0x11,
    "BTN_0": 0x100, "BTN_1": 0x101,
    "BTN_SOUTH": 0x130, "BTN_EAST": 0x131, "BTN_NORTH": 0x133, "BTN_WEST": 0x134,
    "BTN_TL": 0x136, "BTN_TR": 0x137, "BTN_TL2": 0x138, "BTN_TR2": 0x139,
    "BTN_SELECT": 0x13A, "BTN_START": 0x13B, "BTN_MODE": 0x13C, "BTN_THUMBL": 0x13D, "BTN_THUMBR": 0x13E,
}  # fmt: skip
ORDERS = ("gripper", "take", "arm", "disarm", "stop", "home")
SPRINGS_BACK_S = 0.15  # a relative axis that says nothing for so long has been let go
DEVICES = Path("/proc/bus/input/devices")


@dataclass(frozen=True)
class Axis:
    """Pushed from `low` to `high` it asks for -1 to 1 times `scale`; 0 within the dead zone around the middle."""

    kind: int
    code: int
    low: float
    high: float
    scale: float


@dataclass(frozen=True)
class PadConfig:
    """See config/teleop/gamepad.yaml for every key.

    Attributes:
        device_name: part of the name under which the kernel knows the device.
        dead_zone: share of an axis' way about its middle that counts as not pushed.
        axes: end-effector slot -> Axis.
        buttons: code -> order.
        hold: code of the button that must be held for motion; None without one.
    """

    device_name: str
    dead_zone: float
    axes: Mapping[str, Axis]
    buttons: Mapping[int, str]
    hold: int | None


def load_pad(path: Path) -> PadConfig:
    """Read and check the file."""
    keys = ("kind", "device_name", "dead_zone", "axes", "buttons")
    d = mapping(load_yaml(path), str(path), keys, ("hold_to_move",))
    axes = mapping(d["axes"], f"{path}: axes")
    unknown = sorted(set(axes) - set(END_EFFECTOR))
    if unknown:
        raise ConfigError(f"{path}: axes must be among {list(END_EFFECTOR)}, got {unknown}")
    buttons = mapping(d["buttons"], f"{path}: buttons")
    for name, order in buttons.items():
        if order not in ORDERS:
            raise ConfigError(f"{path}: buttons.{name} must be one of {list(ORDERS)}, got {order!r}")
    dead_zone = number(d["dead_zone"], f"{path}: dead_zone")
    if not 0.0 <= dead_zone < 1.0:
        raise ConfigError(f"{path}: dead_zone must be a share >= 0 and < 1, got {dead_zone:g}")
    return PadConfig(
        text(d["device_name"], f"{path}: device_name"),
        dead_zone,
        {slot: _axis(data, f"{path}: axes.{slot}") for slot, data in axes.items()},
        {_code(name, "BTN", f"{path}: buttons"): order for name, order in buttons.items()},
        _code(d["hold_to_move"], "BTN", f"{path}: hold_to_move") if "hold_to_move" in d else None,
    )


def find_device(name: str) -> Path:
    """/dev/input/eventN of the first device whose name contains `name`; ConfigError lists those there are."""
    found = []
    for block in DEVICES.read_text().split("\n\n") if DEVICES.exists() else []:
        lines = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
        called = lines.get("N", "").removeprefix("Name=").strip('"')
        events = [word for word in lines.get("H", "").replace("=", " ").split() if word.startswith("event")]
        if called and events:
            found.append(called)
            if name.lower() in called.lower():
                return Path("/dev/input") / events[0]
    raise ConfigError(
        f"no input device has '{name}' in its name; there are: {', '.join(found) or 'none'}. Plug it in, or give "
        "its file with --device-file /dev/input/eventN (device_file:=...)"
    )


class Pad:
    """How a device is held at the moment."""

    def __init__(self, config: PadConfig) -> None:
        self._config = config
        self._raw: dict[tuple[int, int], float] = {}
        self._moved: dict[tuple[int, int], float] = {}  # s, when an axis last told
        self._held: set[int] = set()
        self._rest = b""

    def feed(self, data: bytes, now: float) -> Iterator[str]:
        """Take in bytes of the device, cut anywhere; yields the orders of buttons pressed in them.

        Args:
            data: as read.
            now: s.
        """
        self._rest += data
        while len(self._rest) >= EVENT.size:
            _, _, kind, code, value = EVENT.unpack(self._rest[: EVENT.size])
            self._rest = self._rest[EVENT.size :]
            if kind == SYN and code == DROPPED:
                self._held.clear()  # a release may be among what is missing
                self._raw.clear()
            elif kind == KEY:
                (self._held.add if value else self._held.discard)(code)
                if value == 1 and code in self._config.buttons:
                    yield self._config.buttons[code]
            elif kind in (REL, ABS):
                self._raw[kind, code] = value
                self._moved[kind, code] = now

    def share(self, now: float) -> Floats:
        """(6,) in [-1, 1]: how far x, y, z, roll, pitch and yaw are pushed; zeros unless the device is held."""
        pushed = np.zeros(len(END_EFFECTOR))
        if self._config.hold is not None and self._config.hold not in self._held:
            return pushed
        for slot, axis in self._config.axes.items():
            key = (axis.kind, axis.code)
            if key not in self._raw or (axis.kind == REL and now - self._moved[key] > SPRINGS_BACK_S):
                continue
            middle, half = (axis.low + axis.high) / 2, (axis.high - axis.low) / 2
            way, dead = (self._raw[key] - middle) / half, self._config.dead_zone
            if abs(way) > dead:
                pushed[END_EFFECTOR.index(slot)] += axis.scale * np.sign(way) * (min(abs(way), 1) - dead) / (1 - dead)
        return np.clip(pushed, -1.0, 1.0)


def _axis(data: Any, where: str) -> Axis:
    d = mapping(data, where, ("code", "range"), ("scale",))
    (low,), (high,) = pairs([d["range"]], 1, f"{where}.range")
    code = text(d["code"], f"{where}.code")
    kind = TYPES.get(code.partition("_")[0], KEY)
    if kind == KEY:
        raise ConfigError(f"{where}.code must be one of {[c for c in CODES if not c.startswith('BTN')]}, got {code!r}")
    return Axis(kind, _code(code, code[:3], f"{where}.code"), low, high, number(d.get("scale", 1.0), f"{where}.scale"))


def _code(name: Any, kind: str, where: str) -> int:
    if name not in CODES or not name.startswith(kind):
        raise ConfigError(f"{where}: expected one of {[c for c in CODES if c.startswith(kind)]}, got {name!r}")
    return CODES[name]
