"""The xArm controller box as its clients see it: a function number and a payload in, a status and a payload out.

No sockets and no clock: time is an argument, on one clock for `tick` and `handle`.
"""

from __future__ import annotations

import logging
import struct
from collections.abc import Callable
from contextlib import nullcontext

from ..core.errors import SimulationError
from .xarm_controller import EMERGENCY_STOP, Controller
from .xarm_log import QUESTIONS, Received
from .xarm_motion_requests import MOTION_HANDLERS
from .xarm_plant import Plant
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
        on_received: told every request that is not a mere question, in order, by the thread that handles it.
    """

    def __init__(
        self, plant: Plant, now: float, spec: ArmSpec = XARM7, on_received: Callable[[Received], None] | None = None
    ) -> None:
        self._controller = Controller(plant, now, spec)
        self._on_received = on_received
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
            status |= self._controller.status
        received = Received(now, function, payload, status)
        if self._on_received is not None and function not in QUESTIONS and not received.asks:
            self._on_received(received)
        return status, answer

    def report(self) -> Report:
        """What the report ports tell now."""
        return self._controller.report()

    def trip(self, error: int, lasting: bool = False) -> None:
        """Stop at once with a controller error, such as 24, a speed, or 31, a collision; see xarm_faults."""
        self._controller.trip(error, lasting)

    def warn(self, warning: int) -> None:
        """Report a controller warning."""
        with self._controller.lock:
            self._controller.warning = warning

    def press_emergency_stop(self) -> None:
        """Motors off, stopped, and error 1 for as long as the button is down."""
        self._controller.trip(EMERGENCY_STOP, lasting=True)

    def release_emergency_stop(self) -> None:
        """The button is up again; error 1 stays until a client cleans it, and the arm stopped until it is enabled."""
        self._controller.recover()

    def break_gripper(self, error: int) -> None:
        """The gripper reports an error until it is cleaned."""
        with self._controller.lock:
            self._controller.gripper.error = error

    def stick(self, joint: int) -> None:
        """Joint 1-7 stays where it is."""
        if not 1 <= joint <= 7:
            raise SimulationError(f"expected a joint from 1 to 7, got {joint}")
        self._controller.stick(joint)

    def unstick(self) -> None:
        """Every joint follows again."""
        self._controller.unstick()
