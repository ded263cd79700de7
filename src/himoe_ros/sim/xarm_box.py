"""The xArm controller box as its clients see it: a function number and a payload in, a status and a payload out.

No sockets and no clock: time is an argument, on one clock for `tick` and `handle`.
"""

from __future__ import annotations

import logging
import struct
from contextlib import nullcontext

from .xarm_controller import Controller, Plant
from .xarm_motion_requests import MOTION_HANDLERS
from .xarm_protocol import INVALID, ProtocolError, Reply
from .xarm_report import Report
from .xarm_requests import HANDLERS, UNLOCKED
from .xarm_spec import XARM7, ArmSpec

_log = logging.getLogger(__name__)
_ALL_HANDLERS = {**HANDLERS, **MOTION_HANDLERS}


class XArmBox:
    """An xArm7 controller box with a plant behind it.

    One thread may call `tick` while another calls the rest. Only the constructor and `tick` touch the plant.

    Args:
        plant: the arm.
        now: s, on the clock of every later call.
        spec: kinematics, limits and names of the arm.
    """

    def __init__(self, plant: Plant, now: float, spec: ArmSpec = XARM7) -> None:
        self._controller = Controller(plant, now, spec)
        self._unknown: set[int] = set()

    def tick(self, now: float) -> None:
        """Advance the motion to `now`, s, and command the plant; at 100 Hz or faster."""
        self._controller.tick(now)

    def handle(self, function: int, payload: bytes, now: float) -> Reply:
        """Do what a request asks, at `now`, s.

        Unknown functions and payloads that are too short are answered as invalid.

        Returns:
            The status byte and the payload of the reply.
        """
        handler = _ALL_HANDLERS.get(function)
        if handler is None and function not in self._unknown:
            self._unknown.add(function)
            _log.warning("xArm box: function %d is not simulated; it is answered as invalid", function)
        with nullcontext() if function in UNLOCKED else self._controller.lock:
            try:
                status, answer = INVALID if handler is None else handler(self._controller, payload, now)
            except (ProtocolError, IndexError, struct.error) as error:
                _log.warning("xArm box: function %d came with a bad payload: %s", function, error)
                status, answer = INVALID
            return status | self._controller.status, answer

    def report(self) -> Report:
        """What the report ports tell now."""
        return self._controller.report()

    def trip(self, error: int) -> None:
        """Stop at once with a controller error, such as 1, the emergency button, or 31, a collision."""
        self._controller.trip(error)
