"""The xArm Gripper (G1) on the tool's RS485 line, as the controller passes it through (function 124)."""

from __future__ import annotations

import struct

HOST = 9  # the tool's line; the control box's own is 11
GRIPPER = 8  # the gripper's number on it
OPEN_PULSE = 850
MAX_PULSES_PER_SECOND = 1000.0  # 84 mm in about 0.85 s at speed 5000: UFACTORY gives 100 mm/s at most
MAX_SPEED = 5000

_READ, _WRITE = 0x03, 0x10
_STATUS, _ERROR, _ENABLE, _MODE, _CLEAN = 0x0000, 0x000F, 0x0100, 0x0101, 0x0109
_SPEED, _TARGET, _POSITION = 0x0303, 0x0700, 0x0702
_VERSION = {0x0801: 3, 0x0802: 4, 0x0803: 3}  # 3.4.3, the first that has the status register
_STILL_PULSES_PER_SECOND = 20.0
_HELD_PULSES = 15  # how far short of its target a gripper stops when it holds something


class Gripper:
    """Registers and motion. Pulses run from 0, closed, to 850, open."""

    def __init__(self, opening: float) -> None:
        self._measured = self._point = self._target = opening * OPEN_PULSE
        self._creeping = False
        self._enabled = False
        self._mode = 0
        self._speed = MAX_SPEED
        self.error = 0

    @property
    def opening(self) -> float:
        """The set point, 0 closed to 1 open."""
        return self._point / OPEN_PULSE

    def advance(self, measured_opening: float, dt: float) -> None:
        """Move the set point for `dt` s; `measured_opening` is where the fingers are, 0-1."""
        measured = measured_opening * OPEN_PULSE
        self._creeping = abs(measured - self._measured) > _STILL_PULSES_PER_SECOND * dt
        self._measured = measured
        if self._enabled and self.error == 0:
            step = MAX_PULSES_PER_SECOND * self._speed / MAX_SPEED * dt
            self._point += min(max(self._target - self._point, -step), step)

    def handle(self, payload: bytes) -> bytes | None:
        """Answer a Modbus-RTU frame without its checksum, with the line's host number before it.

        Returns:
            The answer in the same form, or None where no device would answer.
        """
        if len(payload) < 7 or payload[:2] != bytes([HOST, GRIPPER]):
            return None
        code, address, count = struct.unpack_from(">BHH", payload, 2)
        if code == _READ:
            values = [self._read(address + i) for i in range(count)]
            return payload[:3] + struct.pack(f">B{count}H", 2 * count, *values)
        if code == _WRITE and len(payload) >= 8 + 2 * count:
            self._write(address, struct.unpack_from(f">{count}H", payload, 8))
            return payload[:7]
        return None

    def _read(self, address: int) -> int:
        position = round(self._measured) & 0xFFFFFFFF
        registers = {
            _STATUS: self._status(),
            _ERROR: self.error,
            _ENABLE: int(self._enabled),
            _MODE: self._mode,
            _SPEED: self._speed,
            _POSITION: position >> 16,
            _POSITION + 1: position & 0xFFFF,
        }
        return registers.get(address, _VERSION.get(address, 0))

    def _status(self) -> int:
        """0 stopped, 1 moving, 2 holding something."""
        if self._creeping or abs(self._point - self._target) > 0.5:
            return 1
        return 2 if abs(self._measured - self._target) > _HELD_PULSES else 0

    def _write(self, address: int, values: tuple[int, ...]) -> None:
        if address == _ENABLE:
            self._enabled = values[0] != 0
            self._point = self._target = self._measured
        elif address == _MODE:
            self._mode = values[0]
        elif address == _SPEED:
            self._speed = min(max(values[0], 1), MAX_SPEED)
        elif address == _CLEAN:
            self.error = 0
        elif address == _TARGET and len(values) == 2 and self._enabled:
            (pulse,) = struct.unpack(">i", struct.pack(">HH", *values))
            self._target = float(min(max(pulse, 0), OPEN_PULSE))
