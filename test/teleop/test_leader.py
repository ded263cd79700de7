"""Leader arms: by name, scaled, offset, aligned before arming, and silent ones."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, ObservationError
from himoe_ros.core.observation import RobotState
from himoe_ros.resources import config
from himoe_ros.teleop.leader import Leader, load_leader

ALOHA, XARM7 = (load_embodiment(name, config("embodiments")) for name in ("aloha", "xarm7"))
ARM = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper", "left_finger"]
PLACE = [0.1, -0.9, 1.1, 0.0, -0.3, 0.2, 0.8298, 0.03]


@pytest.fixture
def leaders():
    described = load_leader(config("teleop") / "aloha_leaders.yaml", ALOHA)
    return Leader(described, ALOHA, ALOHA.action_space("joints"))


def test_both_leaders_together_are_a_plan_by_name(leaders):
    order = np.random.default_rng(0).permutation(len(ARM))
    leaders.tell("leader_left/joint_states", [ARM[i] for i in order], [PLACE[i] for i in order], 1.0)
    with pytest.raises(ObservationError, match="nothing received yet from leader 'leader_right"):
        leaders.plan(1.0)
    leaders.tell("leader_right/joint_states", ARM, [-v for v in PLACE[:6]] + [-0.0552, 0.0], 1.0)
    plan = leaders.plan(1.0)
    row = dict(zip(plan.names, plan.values[0], strict=True))
    assert [row[f"left_{n}"] for n in ARM[:6]] == PLACE[:6] and row["left_gripper"] == pytest.approx(1.0)
    assert [row[f"right_{n}"] for n in ARM[:6]] == [-v for v in PLACE[:6]]
    assert row["right_gripper"] == pytest.approx(0.0)


def test_a_leader_that_falls_silent_plans_nothing(leaders):
    for side in ("left", "right"):
        leaders.tell(f"leader_{side}/joint_states", ARM, PLACE, 1.0)
    leaders.plan(1.1)
    with pytest.raises(ObservationError, match="'leader_left/joint_states' has been silent for 0.30 s"):
        leaders.plan(1.3)


def test_the_robot_is_not_ready_before_its_leader_is_near(leaders):
    for side in ("left", "right"):
        leaders.tell(f"leader_{side}/joint_states", ARM, PLACE, 1.0)
    near = {f"{s}_{n}": v for s in ("left", "right") for n, v in zip(ARM[:6], PLACE[:6], strict=True)}
    near |= {"left_gripper_joint": 0.0, "right_gripper_joint": 0.0}
    assert leaders.trouble(RobotState(near), 1.0) == ""
    far = near | {"right_elbow": PLACE[2] - 0.8}
    assert (
        leaders.trouble(RobotState(far), 1.0) == "bring the leader within 0.3 rad of the robot: right_elbow +0.80 rad"
    )
    assert "nothing received yet from joint_states" in leaders.trouble(None, 1.0)


def test_scale_offset_and_a_trigger_of_any_range_in_either_action_space(tmp_path):
    data = yaml.safe_load((config("teleop") / "gello_xarm7.yaml").read_text())
    joints = data["leaders"]["gello/joint_states"]["joints"]
    joints["joint2"] = {"leader": "b", "scale": -1.0, "offset_rad": 0.5}
    data["leaders"]["gello/joint_states"]["grippers"]["gripper"] = {"leader": "trigger", "open": 10.0, "closed": 60.0}
    (tmp_path / "gello.yaml").write_text(yaml.safe_dump(data))
    described = load_leader(tmp_path / "gello.yaml", XARM7)
    names = ["joint1", "b", *(f"joint{i}" for i in range(3, 8)), "trigger"]
    told = [*XARM7.arms[0].bounds.rest, 35.0]
    told[1] = 0.7
    joint = Leader(described, XARM7, XARM7.action_space("joints"))
    joint.tell("gello/joint_states", names, told, 1.0)
    row = dict(zip(joint.plan(1.0).names, joint.plan(1.0).values[0], strict=True))
    assert row["joint2"] == pytest.approx(-0.2) and row["gripper"] == pytest.approx(0.5)
    tool = Leader(described, XARM7, XARM7.action_space("end_effector"))
    tool.tell("gello/joint_states", names, told, 1.0)
    pose = XARM7.arms[0].forward(np.array([row[j] for j in XARM7.arms[0].joints]))
    assert tool.plan(1.0).values[0, :3] == pytest.approx(pose[:3, 3])


def test_a_file_must_lead_every_joint_once(tmp_path):
    data = yaml.safe_load((config("teleop") / "gello_xarm7.yaml").read_text())
    del data["leaders"]["gello/joint_states"]["joints"]["joint4"]
    (tmp_path / "gello.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match="leaders must move each of"):
        load_leader(tmp_path / "gello.yaml", XARM7)
    with pytest.raises(ConfigError, match="is for xarm7, the robot is aloha"):
        load_leader(config("teleop") / "gello_xarm7.yaml", ALOHA)
