"""The simulated controller box, driven through the real xarm-python-sdk."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from xarm.wrapper import XArmAPI
from xarm_rig import ADDRESSES, START, Rig


@contextmanager
def connected(rig: Rig, report_type: str = "rich") -> Iterator[XArmAPI]:
    arm = XArmAPI(rig.address, is_radian=True, report_type=report_type, forbid_uds=True)
    try:
        yield arm
    finally:
        arm.disconnect()


@pytest.fixture
def arm(rig: Rig) -> Iterator[XArmAPI]:
    with connected(rig) as arm:
        yield arm


def make_ready(arm: XArmAPI, mode: int) -> None:
    assert arm.clean_error() == 0
    assert arm.motion_enable(True) == 0
    assert arm.set_mode(mode) == 0
    assert arm.set_state(0) == 0
    wait_until(lambda: arm.mode == mode and arm.state == 2)


def wait_until(condition: Callable[[], bool], timeout: float = 2.0) -> None:
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.005)


def offset(joint: int, angle: float) -> list[float]:
    return (START + angle * np.eye(7)[joint - 1]).tolist()


def test_it_connects_and_tells_who_it_is(arm):
    assert arm.connected and arm.version_number == (2, 5, 0)
    assert arm.axis == 7 and arm.device_type == 7
    assert arm.get_robot_sn() == (0, "XI130001")
    assert arm.get_state() == (0, 4)
    assert arm.get_servo_angle()[1] == pytest.approx(START.tolist(), abs=1e-6)


def test_a_planned_move_is_waited_for(arm):
    make_ready(arm, 0)
    assert arm.set_servo_angle(angle=offset(1, 0.2), speed=2.0, wait=True) == 0
    assert arm.get_servo_angle()[1] == pytest.approx(offset(1, 0.2), abs=1e-3)
    assert arm.set_servo_angle(servo_id=1, angle=0.0, speed=2.0, wait=True) == 0
    assert arm.get_servo_angle()[1] == pytest.approx(START.tolist(), abs=1e-3)


def test_a_line_stays_straight_and_keeps_the_orientation(rig, arm):
    make_ready(arm, 0)
    before = rig.plant.joint_positions
    _, pose = arm.get_position()
    assert arm.set_position(y=pose[1] + 80, z=pose[2] + 40, speed=300, wait=True) == 0
    _, after = arm.get_position()
    assert after[:3] == pytest.approx([pose[0], pose[1] + 80, pose[2] + 40], abs=0.5)
    assert abs(math.remainder(after[3] - pose[3], 2 * math.pi)) < 1e-3
    assert not np.allclose(before, rig.plant.joint_positions)


def test_forward_and_inverse_kinematics_agree_with_the_pose(arm):
    _, pose = arm.get_position()
    code, forward = arm.get_forward_kinematics(START.tolist())
    assert code == 0 and forward[:3] == pytest.approx(pose[:3], abs=1e-3)
    code, joints = arm.get_inverse_kinematics(pose)
    assert code == 0 and joints == pytest.approx(START.tolist(), abs=1e-3)
    assert arm.get_inverse_kinematics([2000, 0, 300, math.pi, 0, 0])[0] == 10


def test_servo_streams_a_sine_at_100_hz(rig, arm):
    make_ready(arm, 1)
    round_trips, lags = [], []
    due = time.monotonic()
    for k in range(150):
        target = START + 0.2 * math.sin(2 * math.pi * 0.5 * k * 0.01) * np.eye(7)[0]
        start = time.perf_counter()
        assert arm.set_servo_angle_j(target.tolist()) == 0
        round_trips.append(time.perf_counter() - start)
        lags.append(float(np.max(np.abs(rig.plant.joint_positions - target))))
        due += 0.01
        time.sleep(max(0.0, due - time.monotonic()))
    assert np.median(round_trips) < 2e-3
    assert max(lags) < 0.05  # 0.63 rad/s with a delay of some 20 ms


def test_the_gripper_opens_to_where_it_is_told(rig, arm):
    assert arm.set_gripper_enable(True) == 0
    assert arm.set_gripper_mode(0) == 0
    assert arm.set_gripper_speed(5000) == 0
    assert arm.get_gripper_err_code() == (0, 0)
    assert arm.set_gripper_position(700, wait=True) == 0
    code, pulse = arm.get_gripper_position()
    assert code == 0 and pulse == pytest.approx(700, abs=2)
    assert rig.plant.gripper_opening == pytest.approx(700 / 850, abs=0.005)


def test_a_stopped_arm_refuses_with_the_documented_code(arm):
    make_ready(arm, 1)
    assert arm.set_state(4) == 0
    assert arm.set_servo_angle_j(START.tolist()) == 9  # "state is not ready to move"
    assert arm.get_state() == (0, 4)


def test_emergency_stop_ends_a_move(rig, arm):
    make_ready(arm, 0)
    assert arm.set_servo_angle(angle=offset(1, 1.0), speed=1.0, wait=False) == 0
    time.sleep(0.2)
    arm.emergency_stop()
    time.sleep(0.3)
    assert arm.get_state() == (0, 4)
    assert 0.01 < rig.plant.joint_positions[0] < 0.5


def test_a_jump_trips_24_and_the_known_order_rearms(rig, arm):
    make_ready(arm, 1)
    assert arm.set_servo_angle_j(offset(7, 0.5)) == 1
    assert arm.get_err_warn_code() == (0, [24, 0])
    assert arm.set_servo_angle_j(START.tolist()) == 1
    wait_until(lambda: arm.error_code == 24 and arm.state == 4)
    make_ready(arm, 1)
    assert arm.set_servo_angle_j(offset(7, 0.01)) == 0
    wait_until(lambda: arm.error_code == 0)


def test_an_injected_error_reaches_the_client(rig, arm):
    make_ready(arm, 1)
    rig.box.trip(31)
    assert arm.set_servo_angle_j(START.tolist()) == 1
    wait_until(lambda: arm.error_code == 31)


def test_limits_modes_and_nonsense_are_refused(arm):
    make_ready(arm, 1)
    assert arm.set_servo_angle_j(offset(2, 3.0)) == -8
    assert arm.set_servo_angle_j([math.nan] * 7) == 10
    assert arm.set_mode(5) == 10
    assert arm.get_err_warn_code() == (0, [0, 0])


def test_settings_are_kept_and_reported(arm):
    make_ready(arm, 0)
    assert arm.set_tcp_offset([0, 0, 172, 0, 0, 0], wait=False) == 0
    assert arm.set_tcp_load(0.82, [0, 0, 48]) == 0
    wait_until(lambda: arm.tcp_offset[2] == pytest.approx(172))
    assert arm.tcp_load == [0.82, [0, 0, 48]]
    assert arm.set_linear_spd_limit_factor(1.0) == 0
    assert arm.get_linear_spd_limit_factor() == (0, 1.0)
    code, states = arm.get_reduced_states()
    assert code == 0 and states[0] == 0 and states[4][2:4] == pytest.approx([-2.059488, 2.094395], abs=1e-5)


def test_unknown_requests_do_not_hang_the_sdk(arm):
    started = time.monotonic()
    assert arm.get_ft_sensor_config()[0] == 10
    assert arm.get_dh_params()[0] == 10
    assert arm.read_holding_registers(1, 1)[0] == 0x81
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(("report_type", "rate"), [("real", 100), ("normal", 5), ("rich", 5)])
def test_reports_come_at_their_rate_and_are_understood(rig, report_type, rate):
    with connected(rig, report_type) as arm:
        make_ready(arm, 1)
        count = itertools.count()
        arm.register_report_location_callback(lambda _: next(count), report_cartesian=True, report_joints=True)
        time.sleep(1.0)
        reports = next(count)
        assert arm.set_servo_angle_j(offset(1, 0.02)) == 0
        wait_until(lambda: arm.angles == pytest.approx(offset(1, 0.02), abs=1e-3))
        assert arm.position[:3] == pytest.approx(arm.get_position()[1][:3], abs=0.5)
        assert 0.8 * rate <= reports <= 1.2 * rate + 1


def test_disconnect_and_reconnect(rig):
    for _ in range(3):
        with connected(rig) as arm:
            assert arm.get_state() == (0, 4)
        assert not arm.connected
    arm.connect()
    assert arm.get_state() == (0, 4)
    arm.disconnect()


def test_two_boxes_side_by_side():
    first, second = Rig(next(ADDRESSES)), Rig(next(ADDRESSES))
    try:
        with connected(first) as one, connected(second) as two:
            make_ready(one, 1)
            assert one.set_servo_angle_j(offset(7, 0.04)) == 0
            wait_until(lambda: one.get_servo_angle()[1] == pytest.approx(offset(7, 0.04), abs=1e-3))
            assert two.get_state() == (0, 4)
            assert two.get_servo_angle()[1] == pytest.approx(START.tolist(), abs=1e-6)
    finally:
        first.close()
        second.close()
