"""himoe_ros.control.collision: plans into the table, out of the workspace or into the arm itself are refused."""

from __future__ import annotations

import time

import mujoco
import numpy as np
import pytest

from himoe_ros.control.collision import CollisionGuard, capsule_model
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, GuardError
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.unified import pose_values
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
HOME = ARM.bounds.rest
POSES, JOINTS = XARM7.action_space("end_effector"), XARM7.action_space("joints")
TIMES = 0.1 * np.arange(1, 11)
BY_POSE, BY_JOINT = CollisionGuard(XARM7, POSES), CollisionGuard(XARM7, JOINTS)


def poses(*places: tuple[float, float, float]) -> ActionChunk:
    """The tool straight down through places (m), from home; ten steps."""
    here = np.array([*pose_values(ARM, ARM.forward(HOME)).values(), 1.0])
    knots = np.array([here[:3], *places])
    values = np.tile(here, (10, 1))
    for axis in range(3):
        values[:, axis] = np.interp(np.linspace(0, len(knots) - 1, 11)[1:], np.arange(len(knots)), knots[:, axis])
    return ActionChunk(0.0, POSES.names, values, TIMES)


def joints(to: list[float]) -> ActionChunk:
    share = np.linspace(0, 1, 11)[1:, None]
    return ActionChunk(0.0, JOINTS.names, np.hstack([HOME + share * (np.array(to) - HOME), 0 * share]), TIMES)


def test_the_model_has_the_kinematics_of_the_arm():
    model = capsule_model(ARM, XARM7.collision)
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(ARM.bounds.lower, ARM.bounds.upper)
        data.qpos[:] = q
        mujoco.mj_kinematics(model, data)
        for joint, frame in zip(ARM.joints, ARM.chain.frames(q), strict=True):
            np.testing.assert_allclose(data.body(joint).xpos, frame[:3, 3], atol=1e-9)
            np.testing.assert_allclose(data.body(joint).xmat.reshape(3, 3), frame[:3, :3], atol=1e-9)


@pytest.mark.parametrize("x", [0.25, 0.4, 0.55, 0.65])
@pytest.mark.parametrize("y", [-0.35, 0.0, 0.35])
def test_picking_and_lifting_all_over_the_table_is_no_collision(x, y):
    BY_POSE.check(poses((x, y, 0.2), (x, y, 0.012), (x, y, 0.3)), HOME, 0.0)


def test_home_and_park_and_the_way_between_them_are_free():
    BY_JOINT.check(joints(ARM.park.tolist()), HOME, 0.0)


@pytest.mark.parametrize(
    ("to", "told"),
    [
        ([0.0, 1.6, 0.0, 1.6, 0.0, 1.2, 0.0], "chunk would"),
        ([0.0, -0.3, 0.0, 3.6, 0.0, 1.2, 0.0], "chunk would"),
    ],
)
def test_joint_plans_that_leave_the_workspace_are_refused_at_the_step_where_they_do(to, told):
    with pytest.raises(GuardError, match=r"step \d+ of the chunk would"):
        BY_JOINT.check(joints(to), HOME, 0.0)


def test_a_forearm_in_the_table_is_refused_by_its_link():
    with pytest.raises(GuardError, match=r"it would bring the link of joint\d [\d.]+ m too close to the table"):
        BY_POSE.check_posture(np.array([0.0, 1.8, 0.0, 0.3, 0.0, 0.0, 0.0]), "it")


def test_links_that_come_close_are_refused_by_their_names_and_their_distance():
    with pytest.raises(GuardError, match=r"it would bring the links of \w+ and \w+ to -?[\d.]+ m, allowed 0.01 m"):
        BY_POSE.check_posture(np.array([0.0, 0.41, 0.0, 0.27, 0.0, 2.58, 0.0]), "it")


@pytest.mark.parametrize(("beyond", "refused"), [(0.04, False), (0.06, True)])
def test_a_target_a_little_outside_the_workspace_is_moved_to_its_edge_and_one_far_outside_refused(beyond, refused):
    plan = poses((0.4, XARM7.workspace.upper[1] + beyond, 0.25))
    if refused:
        with pytest.raises(GuardError, match=r"step 10 of the chunk would leave the workspace: y = 0.460 m"):
            BY_POSE.check(plan, HOME, 0.0)
    else:
        BY_POSE.check(plan, HOME, 0.0)


def test_steps_already_past_are_not_looked_at():
    plan = poses((0.4, 0.0, 0.2))
    plan.values[:3, 0] = 5.0
    with pytest.raises(GuardError, match="step 1 of the chunk"):
        BY_POSE.check(plan, HOME, 0.0)
    BY_POSE.check(plan, HOME, 0.35)


def test_steps_within_two_centimetres_are_passed_over_and_one_that_alone_leads_away_is_not(monkeypatch):
    looked_at = []
    monkeypatch.setattr(BY_POSE, "check_posture", lambda joints, what: looked_at.append(int(what.split()[1])))
    plan = poses()
    BY_POSE.check(plan, HOME, 0.0)
    assert looked_at == [1, 10]
    looked_at.clear()
    plan.values[6, 2] -= 0.03
    BY_POSE.check(plan, HOME, 0.0)
    assert sorted(set(looked_at)) == [1, 7, 8, 10]


def test_steps_close_together_cost_no_more_than_few_far_apart():
    few, took = poses((0.5, 0.2, 0.05)), {10: [], 100: []}
    finer = np.linspace(1, 10, 100)
    columns = [np.interp(finer, np.arange(1, 11), column) for column in few.values.T]
    many = ActionChunk(0.0, POSES.names, np.array(columns).T, 0.1 * finer)
    for _ in range(20):
        for plan in (few, many):
            begin = time.perf_counter()
            BY_POSE.check(plan, HOME, 0.0)
            took[len(plan.times)].append(time.perf_counter() - begin)
    assert min(took[10]) < 0.010 and min(took[100]) < 2 * min(took[10])


def test_a_robot_without_a_body_in_its_file_cannot_be_checked():
    aloha = load_embodiment("aloha", config("embodiments"))
    with pytest.raises(ConfigError, match="aloha: a collision check needs"):
        CollisionGuard(aloha, aloha.action_space("joints"))
