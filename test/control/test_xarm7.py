"""The driver through the vendor's real SDK, against the simulated control box."""

from __future__ import annotations

import time

import numpy as np
import pytest

from himoe_ros.control.xarm7 import XArm7Driver
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import DriverError
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))


def wait(condition, within: float = 2.0) -> bool:
    deadline = time.monotonic() + within
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    return condition()


def test_reading_moves_nothing_and_tells_joints_and_gripper(driver, rig):
    before = rig.plant.joint_positions.copy()
    reading = driver.read()
    np.testing.assert_allclose(reading.positions[:7], before, atol=1e-3)
    assert reading.positions[7] == pytest.approx(XARM7.arms[0].gripper.position(rig.plant.gripper_opening), abs=0.01)
    assert reading.fault == ""
    np.testing.assert_array_equal(rig.plant.joint_positions, before)


def test_streamed_positions_are_followed_with_the_gripper(driver, rig):
    driver.enable()
    start = driver.read().positions
    for i in range(1, 101):
        target = start + i / 100 * np.array([0.2, 0.1, 0, 0.1, 0, 0.1, 0, 0])
        target[7] = 0.85
        driver.send(target)
        time.sleep(0.01)
    assert wait(lambda: np.allclose(driver.read().positions[:7], target[:7], atol=2e-3))
    assert wait(lambda: driver.read().positions[7] > 0.83), "closed: 0.85 rad"


def test_nothing_moves_before_enable(driver, rig):
    before = rig.plant.joint_positions.copy()
    with pytest.raises(DriverError, match="set_servo_angle_j"):
        driver.send(np.array([*before + 0.02, 0.0]))
    np.testing.assert_array_equal(rig.plant.joint_positions, before)


def test_stop_refuses_motion_until_enable(driver, rig):
    driver.enable()
    driver.stop()
    place = driver.read().positions
    with pytest.raises(DriverError, match="state does not allow motion|not ready"):
        driver.send(place)
    driver.enable()
    driver.send(place)


def test_a_trip_is_told_in_the_vendors_words_and_enable_clears_it(driver, rig):
    driver.enable()
    rig.box.trip(31)
    assert wait(lambda: driver.read().fault != "", 1.0)
    assert "C31, Collision" in driver.read().fault
    with pytest.raises(DriverError):
        driver.send(driver.read().positions)
    driver.enable()
    assert driver.read().fault == ""
    driver.send(driver.read().positions)


def test_a_target_beyond_the_vendors_range_is_refused(driver):
    driver.enable()
    target = driver.read().positions
    target[1] = 2.5
    with pytest.raises(DriverError, match="out of the vendor's range"):
        driver.send(target)


def test_a_box_that_goes_away_is_an_error_and_closing_still_works(driver, rig):
    driver.enable()
    rig.server.close()
    with pytest.raises(DriverError):
        for _ in range(300):
            driver.read()
            time.sleep(0.01)


def test_no_robot_at_the_address_says_what_to_check():
    begin = time.monotonic()
    with pytest.raises(DriverError, match="no xArm controller answers at 127.9.9.9.*Check the address"):
        XArm7Driver("127.9.9.9", XARM7).connect()
    assert time.monotonic() - begin < 5
