"""Asks an xArm's controller everything a preflight wants to know. Moves nothing and sets nothing."""

from __future__ import annotations

import contextlib
import io
import time

import numpy as np

from ..core.errors import DriverError
from .preflight import RobotFacts
from .xarm_codes import error_words, gripper_words, warning_words
from .xarm_gripper import PULSES, width_of
from .xarm_link import XArmLink
from .xarm_sdk import SDK_VERSION

READINGS = 200
WATCH_S = 2.0  # for status reports


def survey(address: str) -> RobotFacts:
    """Connect, ask, disconnect.

    Raises:
        DriverError: no controller answers there.
    """
    link = XArmLink(address)
    with contextlib.redirect_stdout(io.StringIO()):  # the SDK prints what it does
        link.open()
        try:
            return _ask(link)
        finally:
            link.close()


def _ask(link: XArmLink) -> RobotFacts:
    reports_hz = _watch_reports(link)
    error, warning = link.ask("get_err_warn_code")
    answers, angles = [], []
    for _ in range(READINGS):
        begin = time.monotonic()
        angles = link.ask("get_servo_angle", is_radian=True, is_real=True)
        answers.append(time.monotonic() - begin)
    reduced = link.ask("get_reduced_states", is_radian=True)
    gripper, fault = _ask_gripper(link)
    api = link.api
    version = ".".join(map(str, api.version_number))
    return RobotFacts(
        identity=f"firmware {version}, SDK {SDK_VERSION}, arm {api.sn}, box {api.control_box_sn}",
        firmware=api.version_number,
        axes=api.axis,
        error=error_words(error) if error else "",
        warning=warning_words(warning) if warning else "",
        state=link.ask("get_state"),
        mode=api.mode,
        joints=np.array(angles[: api.axis]),
        tool_offset=tuple(1e-3 * v for v in api.tcp_offset[:3]),
        load_kg=api.tcp_load[0],
        collision_sensitivity=api.collision_sensitivity,
        reduced=bool(reduced[0]),
        reduced_joint_speed=reduced[3],
        fence=tuple(1e-3 * v for v in reduced[1]) if reduced[5] else None,
        gripper=gripper,
        gripper_fault=fault,
        answers=np.array(answers),
        reports_hz=reports_hz,
    )


def _watch_reports(link: XArmLink) -> float:
    times: list[float] = []

    def note(_: object) -> None:
        times.append(time.monotonic())

    link.api.register_report_location_callback(note)
    time.sleep(WATCH_S)
    link.api.release_report_location_callback(note)
    return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0


def _ask_gripper(link: XArmLink) -> tuple[str, str]:
    """Where it is, and its fault, both in words."""
    try:
        code = link.ask("get_gripper_err_code")
        if code:
            return "", gripper_words(code)
        pulse = link.ask("get_gripper_position")
    except DriverError as error:
        return "", str(error)
    return f"{pulse} of {PULSES} pulses, {1e3 * width_of(pulse):.0f} mm open", ""
