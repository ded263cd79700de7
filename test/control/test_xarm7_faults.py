"""The driver against a box, a cable and surroundings that fail; judged from what the box received."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from himoe_ros.control.xarm7 import XArm7Driver
from himoe_ros.control.xarm_codes import CLEARED_BY_ARMING
from himoe_ros.control.xarm_sdk import ControllerError
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import DriverError
from himoe_ros.resources import config
from himoe_ros.sim.xarm_protocol import Function

XARM7 = load_embodiment("xarm7", config("embodiments"))


def until_error(call, within: float) -> tuple[float, str]:
    """Call every 10 ms until it raises DriverError: s it took, and the words."""
    begin = time.monotonic()
    while time.monotonic() - begin < within:
        try:
            call()
        except DriverError as error:
            return time.monotonic() - begin, str(error)
        time.sleep(0.01)
    pytest.fail(f"no error within {within} s")


def until_fault(driver, within: float = 1.0) -> tuple[float, str]:
    begin = time.monotonic()
    while time.monotonic() - begin < within:
        if fault := driver.read().fault:
            return time.monotonic() - begin, fault
        time.sleep(0.01)
    pytest.fail(f"no fault within {within} s")


def sent(rig, function: Function) -> int:
    return sum(r.function == function for r in rig.received)


@pytest.mark.parametrize("fault", ["drop", "refuse 0.5"])
def test_a_lost_connection_is_noticed_within_200_ms_and_arming_again_reconnects(driver, rig, fault):
    driver.enable()
    driver.send(driver.read().positions)
    rig.fault(fault)
    seconds, words = until_error(driver.read, 1.0)
    assert seconds < 0.2
    assert "connection to the xArm" in words and "arm again" in words
    with pytest.raises(DriverError, match="arm again"):
        driver.send(np.zeros(8))
    time.sleep(0.7)
    driver.enable()
    driver.send(driver.read().positions)
    assert driver.read().fault == ""


def test_a_box_that_falls_silent_is_given_up_after_its_patience_and_not_before(driver, rig):
    driver.enable()
    rig.fault("silence 3")
    seconds, words = until_error(driver.read, 2.0)
    assert 0.2 < seconds < 0.5
    assert "no answer for 0.3 s" in words


def test_arming_at_a_box_that_refuses_says_so_and_works_once_it_is_back(driver, rig):
    driver.enable()
    rig.fault("refuse 1.5")
    until_error(driver.read, 1.0)
    begin = time.monotonic()
    with pytest.raises(DriverError, match="no xArm controller answers"):
        driver.enable()
    assert time.monotonic() - begin < 1.2
    time.sleep(1.7)
    driver.enable()


def test_connecting_to_a_box_that_accepts_and_never_answers_ends_in_time(rig):
    rig.fault("silence 20")
    driver = XArm7Driver(rig.address, XARM7)
    begin = time.monotonic()
    with pytest.raises(DriverError, match="it accepted the connection, but no answer came within 4 s"):
        driver.connect()
    assert time.monotonic() - begin < 6.0


def test_a_call_that_blocks_190_ms_is_waited_for_and_asked_again_without_harm(driver, rig):
    driver.enable()
    place = driver.read().positions
    for k in range(60):
        if k == 20:
            rig.fault("stall 0.19")
        place[0] += 0.002
        driver.send(place)
        driver.read()
        time.sleep(0.008)
    assert driver.read().fault == ""
    targets = np.array([joints for _, joints in rig.targets()])
    assert np.abs(np.diff(targets[:, 0])).max() <= 0.002 + 1e-6, "a repeated request is the same place"
    longest = np.diff([time for time, _ in rig.targets()]).max()
    assert longest > 0.15, "the box did stall"


@pytest.mark.parametrize("code", [21, 22, 23, 24, 31, 35, 60])
def test_an_error_of_the_motion_is_seen_at_once_and_cleared_by_arming(driver, rig, code):
    driver.enable()
    rig.fault(f"error {code}")
    seconds, words = until_fault(driver)
    assert seconds < 0.1, "told by the next answer, not by the next report"
    assert f"C{code}, {ControllerError(code).title['en'].rstrip('.')}" in words
    with pytest.raises(DriverError):
        driver.send(driver.read().positions)
    driver.enable()
    assert driver.read().fault == ""


@pytest.mark.parametrize(("code", "words"), [(12, "Servo motor 2"), (26, "Linux RT"), (38, "support"), (99, "Other")])
def test_an_error_that_a_person_must_solve_is_refused_in_words_and_nothing_is_sent(driver, rig, code, words):
    rig.fault(f"error {code}")
    before = len(rig.received)
    with pytest.raises(DriverError, match=rf"cannot be armed: controller error C{code}.*{words}"):
        driver.enable()
    assert len(rig.received) == before


def test_every_error_the_vendor_lists_is_told_with_what_to_do():
    from xarm.core.config.x_code import ControllerErrorCodeMap

    from himoe_ros.control.xarm_codes import error_words

    for code in (c for c in ControllerErrorCodeMap if isinstance(c, int)):
        assert "{}" not in error_words(code)
    assert set(ControllerErrorCodeMap) >= CLEARED_BY_ARMING
    assert not CLEARED_BY_ARMING & set(range(10, 18))


def test_the_emergency_stop_is_told_at_once_and_arming_works_only_after_its_release(driver, rig):
    driver.enable()
    rig.fault("estop")
    seconds, words = until_fault(driver)
    assert seconds < 0.1
    assert "C1, The Emergency Stop Button" in words and "release the Emergency Stop Button" in words
    with pytest.raises(DriverError, match="cannot be armed: controller error C1, The Emergency Stop Button"):
        driver.enable()
    assert not sent(rig, Function.MOTION_ENABLE) > 1
    rig.fault("release")
    time.sleep(0.3)
    assert "C1" in driver.read().fault, "releasing the button arms nothing"
    driver.enable()
    assert driver.read().fault == ""


def test_a_warning_is_told_and_stops_nothing(driver, rig):
    driver.enable()
    rig.fault("warning 14")
    driver.send(driver.read().positions)
    reading = driver.read()
    assert "warning 14, User instructions and parameters have no solution" in reading.warning
    assert reading.fault == ""
    driver.enable()
    assert driver.read().warning == ""


def test_an_error_of_the_gripper_is_told_with_its_number_and_cleared_by_arming(driver, rig):
    driver.enable()
    rig.fault("gripper 11")
    _, words = until_fault(driver)
    assert "gripper error 11, Gripper Current Overlimit" in words
    driver.enable()
    assert driver.read().fault == ""


def test_a_report_that_says_simulation_by_mistake_keeps_no_request_from_the_box(driver, rig):
    driver.enable()
    before = sent(rig, Function.MOTION_ENABLE)
    driver._link.api._arm._is_simulation_robot = (
        True  # what a garbled report did in a soak; the next one says otherwise
    )
    driver.enable()
    assert sent(rig, Function.MOTION_ENABLE) == before + 1


def test_a_box_that_goes_on_simulating_is_not_armed(driver, monkeypatch):
    monkeypatch.setattr(type(driver._link.api), "is_simulation_robot", True)
    with pytest.raises(DriverError, match="and that it only simulates motion: close other programs"):
        driver.enable()


def test_garbled_reports_change_no_angle_and_raise_no_alarm(driver, rig):
    driver.enable()
    place = driver.read().positions
    rig.fault("garble 4")
    for _ in range(100):
        reading = driver.read()
        np.testing.assert_allclose(reading.positions[:7], place[:7], atol=1e-4)
        assert reading.fault == ""
        driver.send(place)
        time.sleep(0.01)


def test_a_stuck_joint_shows_in_what_is_read(driver, rig):
    driver.enable()
    start = driver.read().positions
    rig.fault("stick 4")
    for k in range(1, 51):
        driver.send(start + k * 0.002)
        time.sleep(0.01)
    time.sleep(0.1)
    moved = driver.read().positions - start
    assert moved[2] > 0.09
    assert abs(moved[3]) < 1e-3
    rig.fault("unstick")


def test_a_value_that_is_not_finite_is_never_sent(driver, rig):
    driver.enable()
    place = driver.read().positions
    place[3] = np.nan
    with pytest.raises(DriverError, match="finite"):
        driver.send(place)
    assert not rig.targets()


def test_connecting_sets_nothing_and_moves_nothing(rig):
    driver = XArm7Driver(rig.address, XARM7)
    driver.connect()
    for _ in range(20):
        driver.read()
        time.sleep(0.01)
    driver.close()
    assert rig.received == []


def test_only_arming_sets_the_speed_of_the_tools_line(rig, monkeypatch):
    """The SDK would write it, restart the tool and clear errors on any question to the gripper."""
    from himoe_ros.sim import xarm_requests

    monkeypatch.setattr(xarm_requests, "_TOOL_BAUD_INDEX", 3)
    driver = XArm7Driver(rig.address, XARM7)
    driver.connect()
    time.sleep(0.3)
    assert rig.received == []
    with pytest.raises(DriverError, match="clean_gripper_error: code 22, the tool's serial line runs at another speed"):
        driver.enable()
    assert sent(rig, Function.TOOL_WRITE_16) > 0
    assert sent(rig, Function.SET_STATE) == 0, "the arm stays stopped"
    driver.close()


@pytest.mark.slow
def test_100_connections_leave_no_thread_and_no_open_file(rig):
    driver = XArm7Driver(rig.address, XARM7)

    def count() -> tuple[int, int]:
        gc.collect()
        return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))

    def cycle() -> None:
        driver.connect()
        driver.read()
        driver.close()

    cycle()
    time.sleep(3.0)  # some of the SDK's threads look up every 2 s
    before = count()
    for _ in range(100):
        cycle()
    deadline = time.monotonic() + 5.0
    while count() > before and time.monotonic() < deadline:
        time.sleep(0.1)
    assert count() <= before
    assert count()[1] <= before[1]
