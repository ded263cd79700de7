"""Jogging: where the target goes, how far ahead of the robot it may be, and the plans that lead there."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from himoe_ros.core.action_guard import check_chunk, check_first_step
from himoe_ros.core.embodiment import END_EFFECTOR, load_embodiment
from himoe_ros.core.errors import ConfigError
from himoe_ros.core.observation import ActionChunk, RobotState
from himoe_ros.core.unified import values_pose
from himoe_ros.nodes.conversions import chunk_message
from himoe_ros.nodes.teleop import Teleop
from himoe_ros.resources import config
from himoe_ros.teleop.jog import GLIDE_S, LEAD_M, Jog
from himoe_ros.teleop.keys import SPEEDS, KeyJog
from himoe_ros.teleop.tool import tool_slots

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
HOME = ARM.bounds.rest


def at(joints: np.ndarray, opening: float = 1.0) -> RobotState:
    table = dict(zip(ARM.joints, joints.tolist(), strict=True))
    return RobotState(table | {ARM.gripper.joint: ARM.gripper.position(opening)})


@pytest.fixture(params=["end_effector", "joints"])
def jog(request):
    jog = Jog(XARM7, XARM7.action_space(request.param))
    jog.anchor(at(HOME), np.zeros(7))
    return jog


def pose(slots: np.ndarray) -> np.ndarray:
    return values_pose(ARM, dict(zip(END_EFFECTOR, slots.tolist(), strict=True)))


def reached(jog: Jog) -> np.ndarray:
    """(6,) where the last step of the plan puts the tool."""
    plan = jog.plan(5.0)
    if "x" in plan.names:
        return plan.values[-1, :6]
    return tool_slots(ARM, plan.values[-1, :7])


def test_a_plan_is_one_that_the_controller_follows(jog):
    space = XARM7.action_space("end_effector" if "x" in jog.plan(5.0).names else "joints")
    jog.step(np.array([0.02, 0, 0, 0, 0, 0.1]))
    chunk = check_chunk(jog.plan(5.0), space)
    here = [*tool_slots(ARM, HOME), 1.0] if space.name == "end_effector" else [*HOME, 1.0]
    check_first_step(chunk, space, np.array(here), np.full(len(here), 0.12), 5.0)


def test_a_step_moves_the_tool_by_as_much(jog):
    before = tool_slots(ARM, HOME)
    jog.step(np.array([0.01, -0.02, 0.015, 0, 0, 0.1]))
    assert reached(jog) == pytest.approx(before + [0.01, -0.02, 0.015, 0, 0, 0.1], abs=1e-3)


def test_the_target_never_runs_away_from_the_robot(jog):
    before = tool_slots(ARM, HOME)
    for _ in range(100):
        jog.step(np.array([0.01, 0, 0, 0, 0, 0]))
    assert jog.target[0] == pytest.approx(before[0] + LEAD_M)


def test_the_target_stays_in_the_workspace(jog):
    for _ in range(100):
        jog.step(np.array([0, 0, 0.05, 0, 0, 0]))
        jog.follow(at(ARM.chain.step_toward(HOME, pose(jog.target), ARM.bounds, 30)[0]))
    assert jog.target[2] <= XARM7.workspace.upper[2] + 1e-9


def test_the_wrist_is_never_led_to_where_yaw_wraps(jog):
    turned = HOME + [0, 0, 0, 0, 0, 0, -2.5]
    jog.anchor(at(turned), np.zeros(7))
    for sign in (1, -1):
        for _ in range(40):
            jog.step(np.array([0, 0, 0, 0, 0, 0.1 * sign]))
        assert abs(jog.target[5]) < np.pi - 0.2


def test_driving_stops_where_the_plan_said_when_the_hand_lets_go(jog):
    pushed, free, speed = np.array([0.5, 0, 0, 0, 0, 0]), np.zeros(6), 0.5 * XARM7.workspace.max_speed
    for _ in range(10):
        jog.drive(pushed, 0.02)
    before = jog.target[0]
    jog.drive(pushed, 0.02)
    assert jog.target[0] - before == pytest.approx(speed * 0.02), "as fast as it is pushed"
    end = reached(jog)[0]
    assert end == pytest.approx(jog.target[0] + speed * GLIDE_S / 4, abs=1e-4)
    speeds = [speed]
    for _ in range(10):
        before = jog.target[0]
        jog.drive(free, 0.02)
        assert reached(jog)[0] == pytest.approx(end, abs=1e-4), "where it was going, neither back nor further"
        speeds.append((jog.target[0] - before) / 0.02)
    assert speeds == sorted(speeds, reverse=True) and speeds[-1] == pytest.approx(0.0, abs=1e-9)


def test_a_hand_that_takes_over_a_moving_robot_begins_ahead_of_it(jog):
    velocity = np.array([0.4, 0, 0, 0, 0, 0, 0])
    jog.anchor(at(HOME), velocity)
    assert jog.target == pytest.approx(tool_slots(ARM, HOME + GLIDE_S * velocity))


def test_the_gripper_toggles_and_begins_as_it_is():
    jog = Jog(XARM7, XARM7.action_space("joints"))
    assert jog.plan(0.0) is None, "nothing to do before it is known where the robot is"
    jog.anchor(at(HOME, opening=0.2), np.zeros(7))
    assert jog.plan(0.0).values[-1, -1] == pytest.approx(0.2)
    jog.toggle_gripper()
    assert jog.plan(0.0).values[-1, -1] == 1.0
    jog.toggle_gripper()
    assert jog.plan(0.0).values[-1, -1] == 0.0


def test_a_hand_that_takes_over_holds_what_the_policy_held():
    """The gripper stands half open around something, and is sent further."""
    plan = ActionChunk(10.0, XARM7.action_space("end_effector").names, np.zeros((2, 7)), np.array([0.1, 0.3]))
    plan.values[:, -1] = 0.4, 0.0
    node = SimpleNamespace(embodiment=XARM7, space=XARM7.action_space("end_effector"), _passed=None)
    assert Teleop.passed_opening(node, 10.2) is None, "no policy drove"
    node._passed = chunk_message(plan)
    assert Teleop.passed_opening(node, 10.2) == pytest.approx(0.2)
    assert Teleop.passed_opening(node, 12.0) == 0.0
    plan.values[1, -1] = np.nan
    node._passed = chunk_message(plan)
    assert Teleop.passed_opening(node, 10.2) is None, "nor does the controller follow it, and a person drives"
    node._passed.points[0].positions = [0.0]
    assert Teleop.passed_opening(node, 10.2) is None


def test_a_robot_without_a_tool_to_jog_is_refused():
    aloha = load_embodiment("aloha", config("embodiments"))
    with pytest.raises(ConfigError, match="jogging needs one arm.*use a leader arm"):
        Jog(aloha, aloha.action_space("joints"))


def test_keys_step_along_every_axis_both_ways():
    keys = KeyJog()
    for axis, (plus, minus) in enumerate(("ws", "ad", "rf", "uo", "ik", "jl")):
        step = keys.step(plus)
        assert np.flatnonzero(step).tolist() == [axis] and step[axis] > 0
        assert (keys.step(minus) == -step).all()
    assert keys.step("Z") is None
    sizes = [keys.step("w")[0]]
    for _ in range(5):
        assert keys.step("+") is None
        sizes.append(keys.step("w")[0])
    assert sizes[-1] == SPEEDS[-1][0] and sorted(sizes) == sizes
