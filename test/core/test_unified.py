"""himoe_ros.core.unified: robot values <-> 24 slots, by name, exactly."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.core.embodiment import SLOTS, load_embodiment
from himoe_ros.core.errors import GuardError, ObservationError
from himoe_ros.core.kinematics import pose_matrix, rotation_vector, rpy_to_matrix
from himoe_ros.core.observation import RobotState
from himoe_ros.core.unified import (
    decode_state,
    difference,
    encode_state,
    gather,
    named_positions,
    scatter,
    wrap_angle,
)
from himoe_ros.resources import config

XARM7, ALOHA = (load_embodiment(name, config("embodiments")) for name in ("xarm7", "aloha"))
EVERY_SPACE = pytest.mark.parametrize(
    ("robot", "space"),
    [(robot, space) for robot in (XARM7, ALOHA) for space in robot.action_spaces.values()],
    ids=lambda value: value.name,
)


def random_positions(robot, random) -> dict[str, float]:
    """A full-precision posture: joints within limits, grippers anywhere between closed and open."""
    positions = {}
    for arm in robot.arms:
        positions |= dict(zip(arm.joints, random.uniform(arm.bounds.lower, arm.bounds.upper).tolist(), strict=True))
        positions[arm.gripper.joint] = random.uniform(*sorted((arm.gripper.open, arm.gripper.closed)))
    return positions


def random_state(robot, random) -> RobotState:
    turn = rpy_to_matrix(*random.uniform([-math.pi, -1.5, -math.pi], [math.pi, 1.5, math.pi]))
    pose = pose_matrix(random.uniform(-0.7, 0.7, 3), turn @ robot.arms[0].reference)
    return RobotState(random_positions(robot, random), pose)


@EVERY_SPACE
def test_1000_orders_of_the_joints_give_the_same_bits_in_and_out(robot, space):
    random = np.random.default_rng(5)
    state = random_state(robot, random)
    names, positions = list(state.joints), list(state.joints.values())
    told = encode_state(robot, space, state)
    command = decode_state(robot, space, told).joints
    for _ in range(1000):
        order = random.permutation(len(names))
        picked = named_positions([names[i] for i in order], [positions[i] for i in order], robot.joint_names)
        values = encode_state(robot, space, RobotState(picked, state.eef))
        assert values.tobytes() == told.tobytes()
        assert decode_state(robot, space, values).joints == command


@EVERY_SPACE
def test_state_to_24_values_and_back_is_exact(robot, space):
    random = np.random.default_rng(6)
    for _ in range(200):
        state = random_state(robot, random)
        back = decode_state(robot, space, encode_state(robot, space, state))
        for arm in robot.arms:
            assert np.float32(back.joints[arm.gripper.joint]) == np.float32(state.joints[arm.gripper.joint])
            if arm.joints[0] in space.names:
                assert [back.joints[j] for j in arm.joints] == [state.joints[j] for j in arm.joints]
        if back.eef is not None:
            assert np.array_equal(back.eef[:3, 3].astype(np.float32), state.eef[:3, 3].astype(np.float32))
            assert np.linalg.norm(rotation_vector(back.eef[:3, :3] @ state.eef[:3, :3].T)) < 1e-12
    assert (back.eef is not None) == ("x" in space.names)


@EVERY_SPACE
def test_every_slot_holds_the_value_of_its_name(robot, space):
    state = random_state(robot, np.random.default_rng(7))
    values = dict(zip(space.names, encode_state(robot, space, state)[space.slots], strict=True))
    for arm in robot.arms:
        for joint in set(arm.joints) & set(space.names):
            assert values[joint] == state.joints[joint]
        assert values[arm.gripper.name] == arm.gripper.opening(state.joints[arm.gripper.joint])
    if "x" in space.names:
        assert [values[axis] for axis in "xyz"] == state.eef[:3, 3].tolist()


@EVERY_SPACE
def test_masked_slots_are_never_read_and_never_sent(robot, space):
    values = encode_state(robot, space, random_state(robot, np.random.default_rng(8)))
    masked = space.mask == 0
    assert np.all(values[masked] == 0.0)
    poisoned = np.where(masked, np.nan, values)
    assert gather(space, poisoned) == gather(space, values)
    assert decode_state(robot, space, poisoned).joints == decode_state(robot, space, values).joints
    assert np.all(scatter(space, values[space.slots]) == values)


def test_the_reference_orientation_is_all_zeros():
    arm = XARM7.arms[0]
    state = RobotState(random_positions(XARM7, np.random.default_rng(9)), pose_matrix(np.ones(3), arm.reference))
    values = encode_state(XARM7, XARM7.action_space("end_effector"), state)
    assert values[3:6] == pytest.approx([0.0, 0.0, 0.0], abs=1e-15)


def test_angles_are_wrapped_and_differences_go_the_short_way_round():
    space = XARM7.action_space("end_effector")
    near, beyond = np.zeros(SLOTS), np.zeros(SLOTS)
    near[:7], beyond[:7] = math.pi - 0.01, -math.pi + 0.01
    step = difference(space, np.array([beyond, beyond]), near)
    assert step[:, 3:6] == pytest.approx(np.full((2, 3), 0.02), abs=1e-12)
    assert difference(space, near, beyond)[3:6] == pytest.approx([-0.02] * 3, abs=1e-12)
    assert step[0, [0, 1, 2, 6]] == pytest.approx([0.02 - 2 * math.pi] * 4)  # metres do not wrap
    assert near[5] == math.pi - 0.01  # the inputs stay as they were
    assert wrap_angle(np.array([-math.pi, math.pi, 3 * math.pi, 0.5])) == pytest.approx([math.pi] * 3 + [0.5])


def test_joint_differences_are_not_wrapped_because_joints_turn_further_than_pi():
    space = XARM7.action_space("joints")
    step = difference(space, np.full(SLOTS, 6.0), np.full(SLOTS, -0.2))
    assert step[space.slots] == pytest.approx([6.2] * 8)


@pytest.mark.parametrize(
    ("names", "positions", "told"),
    [
        (["a"], [1.0], r"lacks \['b'\]; expected \['a', 'b'\], got \['a'\]"),
        (["a", "b", "a"], [1.0, 2.0, 3.0], r"names \['a'\] more than once"),
        (["a", "b"], [1.0], "2 names but 1 positions"),
        (["a", "b"], [1.0, math.nan], r"must be finite, got \{'b': nan\}"),
        (["a", "b"], [math.inf, 1.0], r"must be finite, got \{'a': inf\}"),
    ],
)
def test_missing_doubled_or_non_finite_joints_are_refused_by_name(names, positions, told):
    with pytest.raises(ObservationError, match=told):
        named_positions(names, positions, ["a", "b"])


def test_extra_joints_are_ignored_whatever_their_value():
    assert named_positions(["wheel", "b", "a"], [math.nan, 2.0, 1.0], ["a", "b"]) == {"a": 1.0, "b": 2.0}


def test_an_incomplete_robot_state_is_named():
    positions = random_positions(XARM7, np.random.default_rng(10))
    with pytest.raises(ObservationError, match="'end_effector' needs the end-effector pose"):
        encode_state(XARM7, XARM7.action_space("end_effector"), RobotState(positions))
    del positions["joint3"]
    with pytest.raises(ObservationError, match="lacks joint 'joint3'; it has"):
        encode_state(XARM7, XARM7.action_space("joints"), RobotState(positions))


def test_a_vector_of_another_size_is_refused():
    with pytest.raises(GuardError, match=r"shape \(24,\), got \(14,\)"):
        decode_state(ALOHA, ALOHA.action_space("joints"), np.zeros(14))


def test_left_and_right_change_places_with_their_slots():
    space = ALOHA.action_space("joints")
    joints = dict(zip(ALOHA.joint_names, np.linspace(0.7, 1.5, 14).tolist(), strict=True))
    sides = {"left": "right", "right": "left"}
    swapped = {name: joints[name.replace(side, sides[side])] for name in joints for side in sides if side in name}
    told, other = (encode_state(ALOHA, space, RobotState(j, None)) for j in (joints, swapped))
    assert np.array_equal(told[8:15], other[16:23]) and np.array_equal(told[16:23], other[8:15])
    assert not np.array_equal(told, other)


@pytest.mark.parametrize(("closed", "opened"), [(0.6197, 1.6214), (-0.6213, 1.4910), (-0.08, 1.33)])
def test_grippers_are_openings_whatever_numbers_their_stack_tells(closed, opened):
    """Followers of ALOHA 2; older stacks and gym-aloha; as observed."""
    arms = (replace(arm, gripper=replace(arm.gripper, closed=closed, open=opened)) for arm in ALOHA.arms)
    robot = replace(ALOHA, arms=tuple(arms))
    space = robot.action_space("joints")
    joints = dict.fromkeys(robot.joint_names, 0.0)
    joints |= {"left_gripper_joint": closed, "right_gripper_joint": closed + 0.25 * (opened - closed)}
    values = encode_state(robot, space, RobotState(joints, None))
    assert values[[14, 22]] == pytest.approx([0.0, 0.25])
    assert decode_state(robot, space, values).joints == pytest.approx(joints)
