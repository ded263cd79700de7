"""The xArm Gripper, on the slow serial line at the end of the arm: a thread of its own serves it."""

from __future__ import annotations

import math
import threading
import time
from typing import Any

from ..core.errors import DriverError
from .xarm_codes import GRIPPER_FAULT, gripper_words
from .xarm_link import Refused, XArmLink

PULSES, PULSES_PER_RAD = 850, 1000  # xarm_ros2: drive joint = (850 - pulse) / 1000 rad
SPEED = 5000  # r/min, the vendor's maximum
PERIOD_S = 0.05  # between visits to the gripper's line
STEP_PULSES = 3  # smaller changes are not sent
SILENCE_S = 1.0  # without an answer for so long, the gripper counts as failed


def pulse_of(position: float) -> int:
    """Drive joint, rad, 0 open, 0.85 closed -> the vendor's pulse, 850 open, 0 closed."""
    return round(min(max(PULSES - position * PULSES_PER_RAD, 0), PULSES))


def position_of(pulse: float) -> float:
    """The vendor's pulse -> drive joint, rad."""
    return (PULSES - pulse) / PULSES_PER_RAD


def width_of(pulse: float) -> float:
    """The vendor's pulse -> m between the fingers: 0 at 0, 0.084 at 850.

    Fingers on parallel links of 55 mm, as in the SDK's get_gripper_g2_position (x3/gripper.py); both
    generations of the gripper have these links and the stroke of 84 mm.
    """
    return 0.110 * math.sin(math.radians(pulse / 18.28 - 8.33)) + 0.016


def pulse_of_width(width: float) -> int:
    """m between the fingers, within the stroke -> the vendor's pulse; the inverse of `width_of`."""
    sine = (min(max(width, 0.0), 0.084) - 0.016) / 0.110
    return round(min(max((math.degrees(math.asin(sine)) + 8.33) * 18.28, 0), PULSES))


class GripperFault(DriverError):
    """The gripper itself reports an error."""


class XArmGripper:
    """Sends the latest target and reads where the gripper is, until stopped.

    Attributes:
        position: rad, measured; NaN before the first answer.
        target: rad, where to go; None leaves the gripper alone.
        fault: what is wrong, in words, or "".
    """

    def __init__(self, link: XArmLink) -> None:
        self._link = link
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._answered = time.monotonic()
        self.position = math.nan
        self.target: float | None = None
        self.fault = ""

    def start(self) -> None:
        """Read once, then serve on a thread."""
        self.stop()
        self.target, self.fault = None, ""
        try:
            self._read()
        except DriverError as error:
            if not self._link.alive:
                raise
            self.fault = str(error)
        self._stopping.clear()
        self._thread = threading.Thread(target=self._serve, name="xarm gripper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; safe to call at any time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()  # its calls are bounded by the link
            self._thread = None

    def enable(self) -> None:
        """Clear its error and make it ready; it stays where it is. Sets the line's speed where it must."""
        self.target = None
        self._link.api.set_baud_checkset_enable(True)
        try:
            self._link.ask("clean_gripper_error")
        finally:
            self._link.api.set_baud_checkset_enable(False)
        self._ask("set_gripper_enable", True)
        self._ask("set_gripper_mode", 0)
        self._ask("set_gripper_speed", SPEED)
        self._read()
        self.fault = ""

    def _ask(self, call: str, *arguments: Any, **options: Any) -> Any:
        try:
            return self._link.ask(call, *arguments, **options)
        except Refused as refused:
            if refused.code != GRIPPER_FAULT:
                raise
            words = gripper_words(self._link.ask("get_gripper_err_code"))
            raise GripperFault(f"xArm at {self._link.address}: {words}") from refused

    def _read(self) -> None:
        pulse = self._ask("get_gripper_position")
        if pulse is None:  # the SDK's second question, for an error of the gripper, was not answered
            raise DriverError(f"xArm at {self._link.address}: the gripper did not tell whether it is well")
        self.position = position_of(pulse)
        self._answered = time.monotonic()

    def _serve(self) -> None:
        sent: int | None = None
        while not self._stopping.wait(PERIOD_S):
            target = self.target
            try:
                if target is None:
                    sent = None
                elif sent is None or abs(pulse_of(target) - sent) >= STEP_PULSES:
                    sent = pulse_of(target)
                    self._link.ask("set_gripper_position", sent, wait=False, no_check=True)
                self._read()
            except DriverError as error:
                # One answer may be missing while the controller is busy; the link tells its own loss.
                sent = None
                if isinstance(error, GripperFault) or time.monotonic() - self._answered > SILENCE_S:
                    self.fault = str(error)
