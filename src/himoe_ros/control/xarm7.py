"""The xArm7 through the vendor's SDK (xarm-python-sdk): position streaming in servo mode.

The controller box follows servo commands at once and ignores any speed given with them, so the
speed limits are ours, in the control loop.
"""

from __future__ import annotations

import time

import numpy as np

from ..core.embodiment import Arm, Embodiment
from ..core.errors import DriverError
from ..core.observation import Floats
from .driver import Reading
from .xarm_codes import CLEARED_BY_ARMING, HAS_ERROR, HAS_WARNING, OK, error_words, warning_words
from .xarm_gripper import XArmGripper
from .xarm_link import XArmLink

SERVO_MODE, READY, STOPPED = 1, 0, 4
REPORT_S = 1.0  # by then a status report (5 a second) has come


class XArm7Driver:
    """See Driver. One arm and its gripper, at any address. One thread calls it at a time."""

    def __init__(self, address: str, embodiment: Embodiment) -> None:
        """
        Args:
            address: IP address of the controller box, or host:port.
            embodiment: its only arm names the joints and the gripper.
        """
        self._arm: Arm = embodiment.arms[0]
        self._link = XArmLink(address)
        self._gripper = XArmGripper(self._link)
        self._codes = (0, 0)  # controller error and warning

    def connect(self) -> None:
        """See Driver.connect."""
        self.close()
        self._link.open()
        try:
            axes = self._link.api.axis
            if axes != len(self._arm.joints):
                raise DriverError(
                    f"expected {len(self._arm.joints)} joints, the xArm at {self._link.address} has {axes}"
                )
            self._codes = (0, 0)
            self._gripper.start()
        except DriverError:
            self.close()
            raise

    def enable(self) -> None:
        """See Driver.enable. A lost connection is opened again."""
        if not self._link.alive:
            self.connect()
        self._ask_codes()  # finds a connection that only seems alive
        with self._link.patient():
            self._clear()
            self._link.ask("motion_enable", True)
            self._gripper.enable()
            self._link.ask("set_mode", SERVO_MODE)
            self._link.ask("set_state", READY)  # last: whatever is refused above leaves the arm stopped
        self._await_servo_mode()

    def read(self) -> Reading:
        """See Driver.read."""
        # Measured, not commanded, positions; the status byte of the answer tells of errors at once.
        angles = self._link.ask("get_servo_angle", is_radian=True, is_real=True)
        if self._link.api.has_err_warn:
            self._ask_codes()
        else:
            self._codes = (0, 0)
        error, warning = self._codes
        return Reading(
            positions=np.array([*angles[: len(self._arm.joints)], self._gripper.position]),
            fault=error_words(error) if error else self._gripper.fault,
            warning=warning_words(warning) if warning else "",
        )

    def send(self, positions: Floats) -> None:
        """See Driver.send."""
        if not np.isfinite(positions).all():  # the SDK's own check of ranges lets NaN through
            raise DriverError(f"expected finite positions, got {positions}; nothing was sent")
        *joints, gripper = positions.tolist()
        self._link.ask("set_servo_angle_j", joints, is_radian=True)
        self._gripper.target = gripper

    def stop(self) -> None:
        """See Driver.stop."""
        self._gripper.target = None
        self._link.ask("set_state", STOPPED)

    def close(self) -> None:
        """See Driver.close."""
        self._gripper.stop()
        self._link.close()

    def _clear(self) -> None:
        """Clear the errors that arming may clear.

        Raises:
            DriverError: another error stands, or one came back.
        """
        error, warning = self._codes
        if error and error not in CLEARED_BY_ARMING:
            raise DriverError(f"the xArm at {self._link.address} cannot be armed: {error_words(error)}")
        if error:
            self._link.ask("clean_error", allowed=(OK, HAS_ERROR, HAS_WARNING))
        if warning:
            self._link.ask("clean_warn", allowed=(OK, HAS_ERROR, HAS_WARNING))
        self._ask_codes()
        if self._codes[0]:
            raise DriverError(f"the xArm at {self._link.address} cannot be armed: {error_words(self._codes[0])}")

    def _ask_codes(self) -> None:
        error, warning = self._link.ask("get_err_warn_code")
        self._codes = error, warning

    def _await_servo_mode(self) -> None:
        """The mode is told in reports alone."""
        deadline = time.monotonic() + REPORT_S
        while True:
            api = self._link.api
            if api.mode == SERVO_MODE and api.state < STOPPED and not api.is_simulation_robot:
                return
            if time.monotonic() > deadline:
                pretending = ", and that it only simulates motion" if api.is_simulation_robot else ""
                raise DriverError(
                    f"the xArm at {self._link.address} was asked for servo mode (1) but reports mode {api.mode}, state "
                    f"{api.state}{pretending}: close other programs that control it, then arm again"
                )
            time.sleep(0.01)
