"""The xArm7 through the vendor's SDK (xarm-python-sdk): position streaming in servo mode.

The controller box follows servo commands at once and ignores any speed given with them, so the
speed limits are ours, in the control loop. Its gripper hangs on a slower bus; a thread of its own
feeds it the latest opening and reads where it is.
"""

from __future__ import annotations

import logging
import threading
import time

import numpy as np

from ..core.embodiment import Arm, Embodiment
from ..core.errors import DriverError
from ..core.observation import Floats
from .driver import Reading

try:
    from xarm.core.config.x_code import ControllerError
    from xarm.core.config.x_config import XCONF
    from xarm.core.utils.log import logger as sdk_log
    from xarm.wrapper import XArmAPI
except ImportError as error:  # only a machine that drives an xArm needs the SDK
    raise DriverError("the xArm driver needs the vendor's SDK: pip install xarm-python-sdk==1.18.4") from error

SERVO_MODE, READY, STOPPED = 1, 0, 4
PULSES, PULSES_PER_RAD = 850, 1000  # xarm_ros2: drive joint = (850 - pulse) / 1000 rad
GRIPPER_SPEED = 5000  # pulses/s, the vendor's maximum
GRIPPER_PERIOD = 0.05  # s between visits to the gripper's bus
GRIPPER_STEP = 3  # pulses; smaller changes are not sent
CODES = {
    -1: "not connected",
    -2: "not ready: enable the motors and set the state",
    -8: "a joint target is out of the vendor's range",
    1: "an error has not been cleared",
    3: "no answer in time",
    9: "the state does not allow motion",
    51: "not in servo mode",
}


class XArm7Driver:
    """See Driver. One arm and its gripper, at any address."""

    def __init__(self, address: str, embodiment: Embodiment) -> None:
        """
        Args:
            address: IP address of the controller box, or host:port.
            embodiment: its only arm names the joints and the gripper.
        """
        self._address = address
        self._arm: Arm = embodiment.arms[0]
        self._api: XArmAPI | None = None
        self._gripper = np.nan  # rad, measured
        self._gripper_target: float | None = None  # rad
        self._gripper_fault = ""
        self._open = threading.Event()
        self._gripper_thread: threading.Thread | None = None

    def connect(self) -> None:
        """See Driver.connect."""
        # What goes wrong reaches the user as a DriverError; the SDK would tell it again and again.
        sdk_log.setLevel(logging.CRITICAL)
        try:
            host, _, port = self._address.partition(":")
            if port:  # the SDK has the port built in; a simulated box may have to use another
                XCONF.SocketConf.TCP_CONTROL_PORT = int(port)
            self._api = XArmAPI(host, is_radian=True, report_type="rich", forbid_uds=True)
        except Exception as error:  # the SDK raises a bare Exception
            raise DriverError(
                f"no xArm controller answers at {self._address}: {error}. "
                "Check the address, the cable and that the control box is on"
            ) from error
        try:
            if self._api.axis != len(self._arm.joints):
                raise DriverError(
                    f"expected {len(self._arm.joints)} joints, the xArm at {self._address} has {self._api.axis}"
                )
            self._check("get_gripper_position", self._read_gripper())
        except DriverError:
            self.close()  # whoever tries again opens a new connection
            raise
        self._open.set()
        self._gripper_thread = threading.Thread(target=self._serve_gripper, name="xarm gripper", daemon=True)
        self._gripper_thread.start()

    def enable(self) -> None:
        """See Driver.enable."""
        api = self._connected()
        self._gripper_target = None
        for call in (api.clean_error, api.clean_warn, api.clean_gripper_error):
            self._check(call.__name__, call())
        self._gripper_fault = ""
        self._check("motion_enable", api.motion_enable(True))
        self._check("set_mode", api.set_mode(SERVO_MODE))
        self._check("set_state", api.set_state(READY))
        self._check("set_gripper_enable", api.set_gripper_enable(True))
        self._check("set_gripper_mode", api.set_gripper_mode(0))
        self._check("set_gripper_speed", api.set_gripper_speed(GRIPPER_SPEED))
        deadline = time.monotonic() + 1.0
        while (api.error_code or api.mode != SERVO_MODE or api.state >= STOPPED) and time.monotonic() < deadline:
            time.sleep(0.02)  # the SDK refuses commands until a report (5 Hz) shows the new state
        if self._fault():
            raise DriverError(f"xArm at {self._address} cannot be enabled: {self._fault()}")

    def read(self) -> Reading:
        """See Driver.read."""
        code, angles = self._connected().get_servo_angle(is_radian=True)
        # An error elsewhere on the robot (1) or a warning (2) does not spoil the angles.
        if code not in (0, 1, 2):
            raise DriverError(f"xArm at {self._address}: get_servo_angle: {_words(code)}")
        return Reading(np.array([*angles[: len(self._arm.joints)], self._gripper]), self._fault())

    def send(self, positions: Floats) -> None:
        """See Driver.send."""
        *joints, self._gripper_target = positions.tolist()
        self._check("set_servo_angle_j", self._connected().set_servo_angle_j(joints, is_radian=True))

    def stop(self) -> None:
        """See Driver.stop."""
        self._gripper_target = None
        self._check("set_state", self._connected().set_state(STOPPED))

    def close(self) -> None:
        """See Driver.close."""
        self._open.clear()
        if self._gripper_thread is not None:
            self._gripper_thread.join(timeout=2.0)
        if self._api is not None:
            self._api.disconnect()
            self._api = None

    def _connected(self) -> XArmAPI:
        if self._api is None or not self._api.connected:
            raise DriverError(f"the connection to the xArm at {self._address} is closed; restart the controller node")
        return self._api

    def _check(self, call: str, code: int | list) -> None:
        if code != 0:
            fault = self._fault()
            raise DriverError(f"xArm at {self._address}: {call}: {_words(code)}" + (f"; {fault}" if fault else ""))

    def _fault(self) -> str:
        """The robot's trouble in the vendor's words, as of its last report."""
        api = self._connected()
        if api.error_code:
            return f"controller error C{api.error_code}, {ControllerError(api.error_code).title['en']}"
        return self._gripper_fault

    def _read_gripper(self) -> int:
        code, pulse = self._connected().get_gripper_position()
        if code == 0 and pulse is not None:
            self._gripper = (PULSES - pulse) / PULSES_PER_RAD
        return code

    def _serve_gripper(self) -> None:
        sent: int | None = None
        while self._open.is_set():
            target = self._gripper_target
            try:
                if target is None:
                    sent = None
                else:
                    pulse = round(PULSES - target * PULSES_PER_RAD)
                    if sent is None or abs(pulse - sent) >= GRIPPER_STEP:
                        self._check(
                            "set_gripper_position",
                            self._connected().set_gripper_position(pulse, wait=False, no_check=True),
                        )
                        sent = pulse
                self._check("get_gripper_position", self._read_gripper())
            except DriverError as error:
                self._gripper_fault = str(error)
            time.sleep(GRIPPER_PERIOD)


def _words(code: int | list) -> str:
    return f"code {code}, {CODES.get(code, 'see the API codes of the SDK') if isinstance(code, int) else 'no data'}"
