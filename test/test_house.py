"""The shape of the house: which room may import which, and what an installation holds."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "himoe_ros"
ROOMS = {p.name for p in PACKAGE.iterdir() if p.is_dir() and p.name != "__pycache__"}
TOP = {
    "bench_commands",
    "check_commands",
    "experiment_commands",
    "model_commands",
    "recording_commands",
    "sim_commands",
    "serve_commands",
    "train_commands",
    "trials_commands",
    "bringup",
    "cli",
    "launching",
    "options",
    "page",
    "resources",
    "runner",
    "leaving",
    "terminal",
    "video",
}

# room -> rooms of ours that it may import (besides itself)
ARROWS = {
    "core": set(),
    "model": {"core"},
    "policy": {"core", "model"},
    "control": {"core"},
    "sim": {"core"},
    "interbotix_standin": set(),
    "trials": {"core", "page", "recording", "video"},
    "recording": {"core", "leaving", "page", "video"},
    "page": {"core"},
    "video": {"core"},
    "teleop": {"core"},
    "nodes": {
        "bench",
        "core",
        "policy",
        "control",
        "recording",
        "rollout",
        "sim",
        "interbotix_standin",
        "teleop",
        "trials",
        "resources",
        "leaving",
        "terminal",
        "video",
    },
    "terminal": set(),
    "bringup": {"core", "options", "resources", "trials"},
    "options": {"core"},
    "runner": {"core", "bringup", "leaving"},
    "leaving": set(),
    "launching": {"bringup", "options"},
    "resources": {"core"},
    "rollout": {"control", "core", "leaving", "policy", "resources", "sim", "teleop", "trials"},
    "experiments": {
        "core",
        "leaving",
        "model",
        "policy",
        "recording",
        "resources",
        "rollout",
        "training",
        "trials",
    },
    "experiment_commands": {"core", "experiments", "options", "resources"},
    "bench": {"core", "model", "policy", "recording", "resources", "rollout", "training", "trials"},
    "bench_commands": {"bench", "bringup", "core", "options", "resources", "rollout", "runner", "trials_commands"},
    "model_commands": {"core", "model", "options", "policy", "resources", "training"},
    "check_commands": {"bringup", "control", "core", "options", "resources"},
    "recording_commands": {"bringup", "core", "options", "recording", "resources", "runner"},
    "sim_commands": {"bringup", "core", "options", "resources", "rollout", "trials"},
    "training": {"core", "model", "page", "policy", "recording", "trials"},
    "train_commands": {"core", "options", "policy", "resources", "training"},
    "serve_commands": {"core", "options", "policy", "resources"},
    "trials_commands": {"bringup", "core", "options", "resources", "runner", "trials"},
    "cli": {
        "core",
        "check_commands",
        "experiment_commands",
        "model_commands",
        "recording_commands",
        "bench_commands",
        "bringup",
        "options",
        "resources",
        "runner",
        "serve_commands",
        "sim",
        "sim_commands",
        "train_commands",
        "trials",
        "trials_commands",
    },
}
ROS = {"rclpy", "launch", "launch_ros", "cv_bridge", "std_msgs", "sensor_msgs", "geometry_msgs", "trajectory_msgs"}
FORBIDDEN = {
    "core": {*ROS, "torch", "cv2", "mujoco", "transformers", "xarm", "time"},
    "model": {*ROS, "mujoco", "xarm"},
    "policy": {*ROS, "mujoco", "xarm"},
    "control": {*ROS, "torch"},
    "sim": {*ROS, "torch"},
    "trials": {*ROS, "torch", "mujoco"},
    "rollout": ROS,
    "experiments": ROS,
    "recording": {*ROS, "torch", "mujoco"},
    "teleop": {*ROS, "torch", "mujoco", "time"},
    "training": {*ROS, "mujoco", "xarm"},
    "bringup": {*ROS, "torch", "mujoco"},
    "runner": {*ROS, "torch", "mujoco"},
    "model_commands": {*ROS, "torch", "mujoco"},
    "check_commands": {*ROS, "torch", "mujoco", "xarm"},
    "cli": {*ROS, "torch", "mujoco"},
}

NEEDED = {"interbotix.py": {"rclpy", "sensor_msgs"}}  # the vendor's API is a ROS node


def files(room: str) -> list[Path]:
    return sorted((PACKAGE / room).glob("*.py")) if room in ROOMS else [PACKAGE / f"{room}.py"]


def imports(path: Path) -> tuple[set[str], set[str]]:
    """Names of our rooms, and of foreign top-level packages, that a file imports anywhere in it."""
    ours, foreign = set(), set()
    depth = len(path.relative_to(PACKAGE).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            foreign |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            foreign.add(node.module.split(".")[0])
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            ours |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
    return ours, foreign


def test_every_room_has_its_arrows():
    assert set(ARROWS) == ROOMS | TOP


@pytest.mark.parametrize("room", sorted(ARROWS))
def test_arrows_point_one_way(room):
    for path in files(room):
        ours, foreign = imports(path)
        assert ours - {room} <= ARROWS[room], f"{path.name} imports {ours - {room} - ARROWS[room]}"
        assert "himoe_ros" not in foreign, f"{path.name}: import our own rooms relatively"
        forbidden = FORBIDDEN.get(room, set()) - NEEDED.get(path.name, set())
        assert not foreign & forbidden, f"{path.name} imports {foreign & forbidden}"


def test_no_file_is_longer_than_300_lines():
    long = {p.name: n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 300}
    assert not long


def test_in_control_only_the_collision_guard_needs_mujoco():
    needy = {path.name for path in files("control") if "mujoco" in imports(path)[1]}
    assert needy == {"collision.py"}
