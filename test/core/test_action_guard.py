"""himoe_ros.core.action_guard: what may reach a robot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.core.action_guard import (
    check_chunk,
    check_command,
    check_first_step,
    clip_to_workspace,
    require_finite,
)
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import GuardError
from himoe_ros.core.observation import ActionChunk
from himoe_ros.resources import config

XARM7, ALOHA = (load_embodiment(name, config("embodiments")) for name in ("xarm7", "aloha"))
JOINTS, POSES = XARM7.action_space("joints"), XARM7.action_space("end_effector")
ARM = XARM7.arms[0]
LOWER, UPPER, HOME = ARM.bounds.lower, ARM.bounds.upper, ARM.bounds.rest
SPEED, DT = ARM.max_velocity, 0.01
GOOD = ActionChunk(10.0, JOINTS.names, np.linspace(0.0, 0.3, 32).reshape(4, 8), 0.1 * np.arange(1, 5))


def with_value(value: float, slot: int = 5) -> np.ndarray:
    values = GOOD.values.copy()
    values[2, slot] = value
    return values


def test_a_good_chunk_passes_unchanged_and_shares_nothing_with_what_came():
    came = replace(GOOD, values=GOOD.values.copy(), times=GOOD.times.copy())
    checked = check_chunk(came, JOINTS)
    came.values[:] = came.times[:] = 9.0
    assert (checked.stamp, checked.names) == (GOOD.stamp, GOOD.names)
    assert np.array_equal(checked.values, GOOD.values) and np.array_equal(checked.times, GOOD.times)


@pytest.mark.parametrize("space", [JOINTS, POSES, ALOHA.action_space("joints")], ids=["joints", "poses", "aloha"])
def test_1000_orders_of_the_columns_give_the_same_bits(space):
    random = np.random.default_rng(1)
    width = len(space.names)
    values = random.uniform(-1, 1, (4, width))
    for _ in range(1000):
        order = random.permutation(width)
        names = tuple(space.names[i] for i in order)
        checked = check_chunk(ActionChunk(10.0, names, values[:, order], GOOD.times), space)
        assert checked.names == space.names and checked.values.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *[({"values": with_value(v)}, rf"values must be finite, got {v} at \(2, 5\); 1") for v in (math.nan, math.inf)],
        *[({"values": with_value(v, s)}, r"within \+-100") for v in (101.0, -1e30, 1.7e308) for s in (0, 7)],
        ({"names": ("joint8", *JOINTS.names[1:])}, r"exactly those of action space 'joints'.*got .*'joint8'"),
        ({"names": JOINTS.names[:-1], "values": GOOD.values[:, :-1]}, r"exactly those of .*'gripper'.*; got"),
        ({"names": ("joint1", "joint1", *JOINTS.names[2:])}, r"got \['joint1', 'joint1'"),
        ({"names": (*JOINTS.names, "x"), "values": np.zeros((4, 9))}, r"exactly those .*'x'\]"),  # a masked slot
        ({"values": GOOD.values[:, :7]}, r"\(T > 0, 8\) and times \(T,\); got \(4, 7\) and \(4,\)"),
        ({"values": GOOD.values[:3]}, r"got \(3, 8\) and \(4,\)"),
        ({"values": GOOD.values[0]}, r"got \(8,\) and \(4,\)"),
        ({"values": np.zeros((0, 8)), "times": np.zeros(0)}, r"got \(0, 8\) and \(0,\)"),
        ({"times": GOOD.times[:, None]}, r"got \(4, 8\) and \(4, 1\)"),
        ({"times": np.array([0.1, 0.2, math.nan, 0.4])}, r"times must be finite, got nan at \(2,\)"),
        ({"times": np.array([0.0, 0.1, 0.2, 0.3])}, "times must start above 0 and increase"),
        ({"times": np.array([0.1, 0.2, 0.2, 0.3])}, "times must start above 0 and increase"),
        ({"times": np.array([0.1, 0.2, 0.2 + 1e-9, 0.3])}, "increase by >= 0.001 s"),
    ],
)
def test_a_malformed_chunk_is_refused_whole_and_by_name(change, told):
    with pytest.raises(GuardError, match=told):
        check_chunk(replace(GOOD, **change), JOINTS)


def test_all_values_that_are_not_finite_are_counted():
    with pytest.raises(GuardError, match=r"it must be finite, got nan at \(0, 1\); 2 such values"):
        require_finite(np.array([[0.0, math.nan], [math.inf, 1.0]]), "it")


@pytest.mark.parametrize(("value", "here"), [(0.61, 0.0), (-0.61, 0.0), (0.0, 0.61), (0.0, math.nan)])
def test_a_plan_whose_first_step_to_come_is_far_from_the_robot_is_refused_and_names_the_slot(value, here):
    plan, robot = replace(GOOD, values=np.zeros((4, 8))), np.zeros(8)
    plan.values[1, 3], robot[3] = value, here
    robot_there = np.where(np.arange(8) == 3, value, 0.0)
    with pytest.raises(GuardError, match=r"too far from the robot: joint4 \S+ \(allowed 0.600\)$"):
        check_first_step(plan, JOINTS, robot, np.full(8, 0.6), now=10.1)  # the first step is past
    check_first_step(plan, JOINTS, robot_there, np.full(8, 0.6), now=10.1)
    check_first_step(plan, JOINTS, robot, np.full(8, 0.6), now=10.4)  # nothing to come


def test_the_first_step_is_measured_the_short_way_round_in_angles_only():
    here, plan = np.zeros(7), ActionChunk(10.0, POSES.names, np.zeros((1, 7)), GOOD.times[:1])
    here[5], plan.values[0, 5] = math.pi - 0.05, -math.pi + 0.05
    check_first_step(plan, POSES, here, np.full(7, 0.11), now=10.0)
    here[0], plan.values[0, 0] = math.pi - 0.05, -math.pi + 0.05
    with pytest.raises(GuardError, match="robot: x -6.183"):
        check_first_step(plan, POSES, here, np.full(7, 0.11), now=10.0)
    assert plan.values[0, 5] == -math.pi + 0.05  # the input stays as it was


def test_poses_are_clipped_into_the_workspace_and_yaw_and_gripper_left_alone():
    box = XARM7.workspace
    far = np.vstack([np.full(7, 9.0), np.full(7, -9.0)])
    clipped = clip_to_workspace(far, POSES, box)
    assert clipped[0].tolist() == [*box.upper, box.max_tilt, box.max_tilt, 9.0, 9.0]
    assert clipped[1].tolist() == [*box.lower, -box.max_tilt, -box.max_tilt, -9.0, -9.0]
    inside = np.array([[*(box.lower + box.upper) / 2, 0.1, -0.1, 2.0, 0.5]])
    assert np.array_equal(clip_to_workspace(inside, POSES, box), inside)
    assert np.all(far[0] == 9.0)  # the input stays as it was


HERE = np.append(HOME, ARM.gripper.open)


def check(command: np.ndarray, last: np.ndarray = HERE, dt: float = DT) -> None:
    check_command(command, last, ARM, 0.8, dt)


def moved(joint: int, by: float, start: np.ndarray = HERE) -> np.ndarray:
    return start + np.where(np.arange(8) == joint, by, 0.0)


def test_commands_within_every_limit_pass():
    check(HERE)
    check(HERE, dt=0.0)
    check(moved(6, SPEED * DT))
    check(moved(7, ARM.gripper.max_speed * DT))


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (moved(2, math.nan), r"command must be finite, got nan at \(2,\)"),
        (moved(7, math.inf), "command must be finite"),
        (
            moved(3, 1.01 * SPEED * DT),
            "command of joint4 must lie in .* and move <= 1/s, got 0.9191 after 0.9090 in 0.01",
        ),
        (moved(6, -1e6), "command of joint7"),
        (moved(7, 0.06), "command of drive_joint"),
        (moved(7, -0.01), r"command of drive_joint must lie in \[0.0000, 0.8500\]"),
    ],
)
def test_a_command_out_of_limits_is_refused_by_the_name_of_its_joint(command, told):
    with pytest.raises(GuardError, match=told):
        check(command)


@pytest.mark.parametrize("joint", range(7))
def test_an_arm_outside_its_limits_may_come_back_but_go_no_further(joint):
    outside = HERE.copy()
    outside[joint] = UPPER[joint] + 0.1
    check(moved(joint, -0.005, outside), outside)
    with pytest.raises(GuardError, match=f"command of joint{joint + 1}"):
        check(moved(joint, 0.005, outside), outside)


def test_a_command_that_moves_the_tool_too_fast_is_refused_though_every_joint_is_slow_enough():
    stretched = np.append([0.0, 1.0, 0.0, 1.5, 0.0, 0.5, 0.0], 0.0)
    check(stretched + np.where(np.arange(8) == 0, 0.9 * SPEED * DT, 0.0), stretched)
    with pytest.raises(GuardError, match="command must move the tool <= 0.8 m/s, got 0.0"):
        check(stretched + np.array([1, 1, 1, 0, 0, 0, 0, 0]) * SPEED * DT, stretched)
