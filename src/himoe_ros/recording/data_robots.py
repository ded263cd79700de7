"""Robots that nobody drives here, known from datasets alone: what is learned from them is learned for others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.embodiment import END_EFFECTOR, ActionSpace, Camera, Embodiment
from ..core.errors import ConfigError
from ..core.reading import load_yaml, mapping, positive, text
from .samples import Layout, read_columns

SPACE = "end_effector"
NAMES = (*END_EFFECTOR, "gripper")
CAMERAS = ("base", "left_wrist", "right_wrist")  # in the order of the model's views


def data_robot(path: Path, name: str) -> tuple[Embodiment, Layout] | None:
    """One of the `robots` of a file of config/datasets; None where the file describes a dataset of a robot of ours.

    Args:
        path: the file; see config/datasets/open_x.yaml for the keys.
        name: of the robot.

    Returns:
        Its tool as an action space "end_effector", in no frame or unit in particular, and how its dataset is read.

    Raises:
        ConfigError: there is no such robot, or a key is missing, unknown or of a wrong value.
    """
    if "robots" not in (told := mapping(load_yaml(path), str(path))):
        return None
    d = mapping(told, str(path), ("action", "robots"))
    robots = mapping(d["robots"], f"{path}: robots")
    if name not in robots:
        raise ConfigError(f"{path}: expected a robot out of {', '.join(robots)}, got '{name}'")
    return _robot(name, robots[name], d["action"], f"{path}: robots.{name}")


def _robot(name: str, data: Any, action: Any, where: str) -> tuple[Embodiment, Layout]:
    d = mapping(data, where, ("rate_hz", "state", "cameras"))
    rate = positive(d["rate_hz"], f"{where}.rate_hz")
    moves = np.array([n in END_EFFECTOR for n in NAMES])
    # Moves add up to a way that never jumps, so no slot of an action is an angle that may wrap.
    space = ActionSpace(SPACE, NAMES, np.arange(len(NAMES)), moves, np.zeros(len(NAMES), dtype=bool), rate)
    cameras = mapping(d["cameras"], f"{where}.cameras", (), CAMERAS)
    robot = Embodiment(
        name=name,
        driver="",
        control_rate_hz=rate,
        arms=(),
        cameras=tuple(Camera(camera, f"{camera}_0_rgb", "") for camera in CAMERAS if camera in cameras),
        action_spaces={SPACE: space},
        workspace=None,
        collision=None,
    )
    state, moved = read_columns(d["state"], space, f"{where}.state"), read_columns(action, space, "action")
    return robot, Layout(state, moved, {n: text(f, f"{where}.cameras.{n}") for n, f in cameras.items()}, moves=True)
