"""himoe_ros.core.embodiment: the shipped robots, and every way a file can be wrong."""

from __future__ import annotations

import copy
import re
from dataclasses import replace

import numpy as np
import pytest
import yaml

from himoe_ros.core.embodiment import load_embodiment, parse_embodiment
from himoe_ros.core.errors import ConfigError
from himoe_ros.resources import config

FOLDER = config("embodiments")
XARM7_FILE, ALOHA_FILE = (yaml.safe_load((FOLDER / f"{name}.yaml").read_text()) for name in ("xarm7", "aloha"))
XARM7, ALOHA = (load_embodiment(name, FOLDER) for name in ("xarm7", "aloha"))
ARM, LEFT = XARM7_FILE["arms"]["arm"], ALOHA_FILE["arms"]["left"]
NAN, INF = float("nan"), float("inf")
GONE = object()


def edited(place: str, value: object) -> dict:
    """The xArm7's file with one entry replaced, or GONE; a place is a path of keys, 'arms.arm.joints'."""
    data = copy.deepcopy(XARM7_FILE)
    *parents, key = place.split(".")
    entry = data
    for parent in parents:
        entry = entry[parent]
    entry[key] = value
    if value is GONE:
        del entry[key]
    return data


def refused(data: object, told: str) -> None:
    with pytest.raises(ConfigError, match=rf"^robot\.yaml: {told}"):
        parse_embodiment(data, "robot.yaml")


@pytest.mark.parametrize(
    ("robot", "space", "slots"),
    [
        (XARM7, "end_effector", [0, 1, 2, 3, 4, 5, 6]),
        (XARM7, "joints", [8, 9, 10, 11, 12, 13, 14, 15]),
        (ALOHA, "joints", [8, 9, 10, 11, 12, 13, 14, 16, 17, 18, 19, 20, 21, 22]),
    ],
)
def test_each_action_space_fills_the_slots_of_the_paper(robot, space, slots):
    action_space = robot.action_space(space)
    assert action_space.slots.tolist() == slots
    assert np.flatnonzero(action_space.mask).tolist() == slots
    assert set(action_space.mask) == {0.0, 1.0}


@pytest.mark.parametrize("robot", [XARM7, ALOHA], ids=["xarm7", "aloha"])
def test_arm_motion_is_relative_grippers_are_absolute_and_only_attitude_wraps(robot):
    for space in robot.action_spaces.values():
        rows = list(zip(space.names, space.delta, space.angular, strict=True))
        assert {name for name, delta, _ in rows if not delta} == {name for name in space.names if "gripper" in name}
        assert {name for name, _, angular in rows if angular} == {"roll", "pitch", "yaw"} & set(space.names)


def test_slots_and_joints_are_in_slot_order_even_where_the_file_lists_the_right_arm_first():
    swapped = parse_embodiment({**ALOHA_FILE, "arms": dict(reversed(ALOHA_FILE["arms"].items()))}, "robot.yaml")
    assert swapped.action_space("joints").names == ALOHA.action_space("joints").names
    assert swapped.joint_names == ALOHA.joint_names


def test_joint_names_follow_the_slots_grippers_after_their_arm():
    assert XARM7.joint_names == (*(f"joint{i}" for i in range(1, 8)), "drive_joint")
    assert len(ALOHA.joint_names) == 14 and ALOHA.joint_names[6::7] == ("left_gripper_joint", "right_gripper_joint")


@pytest.mark.parametrize("robot", [XARM7, ALOHA], ids=["xarm7", "aloha"])
def test_a_gripper_is_told_as_an_opening_from_closed_0_to_open_1(robot):
    for gripper in (arm.gripper for arm in robot.arms):
        assert (gripper.opening(gripper.closed), gripper.opening(gripper.open)) == (0.0, 1.0)
        assert gripper.position(0.0) == gripper.closed and gripper.position(1.0) == gripper.open


def test_the_xarm7_looks_straight_down_at_home():
    arm = XARM7.arms[0]
    assert arm.forward(arm.bounds.rest)[:3, 2] == pytest.approx([0.0, 0.0, -1.0], abs=0.01)


def test_an_arm_without_kinematics_says_so():
    with pytest.raises(ConfigError, match=r"arm 'left' has no 'kinematics'"):
        replace(ALOHA.arms[0], chain=None).forward(np.zeros(6))


def test_unknown_names_list_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"'xarm6' is no embodiment in .*; there are: aloha, xarm7"):
        load_embodiment("xarm6", FOLDER)
    with pytest.raises(ConfigError, match="there are: none"):
        load_embodiment("xarm7", tmp_path)
    with pytest.raises(ConfigError, match=r"'velocity' is no action space of embodiment 'xarm7'.*end_effector, joints"):
        XARM7.action_space("velocity")


@pytest.mark.parametrize("content", ["", "- 1", "a: ["])
def test_a_file_that_is_no_mapping_is_refused_by_name(tmp_path, content):
    (tmp_path / "robot.yaml").write_text(content)
    with pytest.raises(ConfigError, match=r"robot\.yaml"):
        load_embodiment("robot", tmp_path)


PARTS = {
    "": ["name", "driver", "control_rate_hz", "arms", "cameras", "action_spaces"],
    "arms.arm": sorted(set(ARM) - {"kinematics", "park_rad"}),
    "arms.arm.gripper": list(ARM["gripper"]),
    "arms.arm.kinematics": list(ARM["kinematics"]),
    "workspace": list(XARM7_FILE["workspace"]),
    "collision": list(XARM7_FILE["collision"]),
    "cameras.base": ["view", "topic"],
    "action_spaces.joints": ["rate_hz", "delta", "absolute"],
}


@pytest.mark.parametrize(("part", "key"), [(part, key) for part, keys in PARTS.items() for key in keys])
def test_a_missing_key_or_an_unknown_one_is_named_with_its_place(part, key):
    where = f"{part}: " if part else ""
    refused(edited(f"{part}.{key}".strip("."), GONE), rf"{where}expected the keys .*missing \['{key}'\], unknown \[\]")
    refused(edited(f"{part}.more".strip("."), 1), rf"{where}expected the keys .*missing \[\], unknown \['more'\]")


@pytest.mark.parametrize(
    ("place", "values", "told"),
    [
        *[(part, (None, [1], {}), "expected named entries") for part in ("arms", "cameras", "action_spaces")],
        *[(part, (None, 3), "expected named entries") for part in PARTS if part],
        *[(f"cameras.base.{key}", (None, "", 3), "expected a name") for key in ("view", "topic")],
        ("arms.arm.joints", (3, ["joint1"] * 7), "expected a list of different names"),
        ("arms.arm.position_limits_rad", ("x", [[-1, 1]] * 6, [[NAN, 1]] * 7), r"expected finite .* \(7, 2\)"),
        ("arms.arm.position_limits_rad", ([[1, -1]] * 7,), "expected pairs"),
        ("arms.arm.home_rad", ([0.0] * 6, ["a"] * 7, [NAN] * 7), r"expected finite numbers of shape \(7,\)"),
        ("arms.arm.max_velocity_rad_s", (0, -1), "expected a number > 0"),
        ("arms.arm.max_velocity_rad_s", (NAN, INF, "fast", None, True), "expected a finite number"),
        ("arms.arm.max_acceleration_rad_s2", (0, INF), "expected a"),
        ("arms.arm.gripper.open", (NAN, "wide"), "expected a finite number"),
        ("arms.arm.kinematics.modified_dh", ([[0, 0, 0]] * 7, [[0] * 4] * 5), r"expected finite .* \(7, 4\)"),
        ("arms.arm.kinematics.tool_m", ([1, 2], [NAN] * 3), r"expected finite numbers of shape \(3,\)"),
        ("arms.arm.kinematics.reference_rpy_rad", ([1, 2],), r"expected finite numbers of shape \(3,\)"),
        *[(f"workspace.{key}", (0, NAN), "expected a") for key in PARTS["workspace"] if "max" in key],
        *[(rate, (-10, 0), "expected a number > 0") for rate in ("control_rate_hz", "action_spaces.joints.rate_hz")],
        ("action_spaces.joints.delta", (None, "joint1"), "expected a list of different names"),
    ],
)
def test_a_wrong_value_is_refused_with_its_place_and_what_was_expected(place, values, told):
    for value in values:
        refused(edited(place, value), f"{re.escape(place)}: {told}")


@pytest.mark.parametrize(
    ("place", "values", "told"),
    [
        ("arms.arm.first_slot", (20, -3, 4, "8", 8.5, [8], None, 8.0), r"arms\.arm: .*first_slot is one of \[8, 16\]"),
        ("arms.arm.home_rad", ([7.0] * 7, [-7.0] * 7), r"arms\.arm\.home_rad must lie within position_limits_rad"),
        ("arms.arm.park_rad", ([7.0] * 7, [-7.0] * 7), r"arms\.arm\.park_rad must lie within position_limits_rad"),
        ("collision.capsules", (5, "all"), r"collision\.capsules: expected a list"),
        ("collision.ignored", ([["base", "elbow"]],), r"collision\.ignored\[0\]: expected one of \['base', 'joint1'"),
        ("collision.ignored", ([["base", "base"]],), r"collision\.ignored: expected pairs of two links"),
        ("arms.arm.gripper.open", (0.85,), r"arms\.arm\.gripper: open and closed must differ, both are 0\.85"),
        ("workspace.x_m", ([1], [1, 2, 3], "x", [0.6, 0.01]), "workspace: x_m, y_m, z_m: expected"),
        ("action_spaces.joints.delta", (["joint1"], ["joint8"]), r"action_spaces\.joints: .*must name each of .* once"),
        ("action_spaces.joints.absolute", ([], ["gripper", "joint1"]), r"action_spaces\.joints: .*must name each"),
        ("action_spaces.end_effector.delta", (["x", "y"],), r"action_spaces\.end_effector: .*'pitch'.* once, got"),
    ],
)
def test_values_that_do_not_fit_together_are_refused(place, values, told):
    for value in values:
        refused(edited(place, value), told)


def test_an_arm_has_room_for_seven_joints_and_its_gripper():
    eight = {"joints": [f"j{i}" for i in range(8)], "position_limits_rad": [[-1, 1]] * 8, "home_rad": [0] * 8}
    eight["park_rad"] = eight["home_rad"]
    refused(edited("arms.arm", {**ARM, **eight}), r"arms\.arm: an arm has fewer than 8 joints .*got 8 joints")


def test_an_end_effector_needs_one_arm_with_kinematics():
    spaces = {**ALOHA_FILE["action_spaces"], "end_effector": XARM7_FILE["action_spaces"]["end_effector"]}
    refused({**ALOHA_FILE, "action_spaces": spaces}, r"action_spaces\.end_effector: .* needs one arm with kinematics")
    refused(edited("arms.arm.kinematics", GONE), r"action_spaces\.end_effector: .* needs one arm with kinematics")


@pytest.mark.parametrize(
    ("same", "told"),
    [
        ({"first_slot": 8}, "slots"),
        ({"joints": LEFT["joints"]}, "slot names"),
        ({"gripper": LEFT["gripper"]}, "slot names"),
        ({"gripper": {**LEFT["gripper"], "name": "right_gripper"}}, "joint names"),
    ],
)
def test_two_arms_share_no_slot_and_no_name(same, told):
    arms = {"left": LEFT, "right": {**ALOHA_FILE["arms"]["right"], **same}}
    refused({**ALOHA_FILE, "arms": arms}, f"arms must differ in their {told}, got")
