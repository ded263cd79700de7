"""The xArm7 with its gripper at a lab table."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import mujoco
import numpy as np

from . import meshes
from .servos import ArmModel
from .things import add_mesh, furnish

JOINTS = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7")
GRIPPER_JOINT = "drive_joint"
GRIPPER_CLOSED_RAD = 0.85
XARM7 = ArmModel(
    joints=JOINTS,
    gripper=GRIPPER_JOINT,
    closed=GRIPPER_CLOSED_RAD,
    open=0.0,
    gripper_speed=2.0,
    tool="tcp",
    home=np.array([0.0, -0.247, 0.0, 0.909, 0.0, 1.156, 0.0]),
)

SCENE_FILE = Path(__file__).with_name("xarm7_lab.xml")
ARM_MESHES = ("link_base", "link1", "link2", "link3", "link4", "link5", "link6", "link7")
GRIPPER_MESHES = (
    "base_link",
    "left_outer_knuckle",
    "left_finger",
    "left_inner_knuckle",
    "right_outer_knuckle",
    "right_finger",
    "right_inner_knuckle",
)
ARM_CELL_M = 0.007
GRIPPER_CELL_M = 0.003


def xarm7_scene(things: Collection[str]) -> mujoco.MjSpec:
    """World frame = base frame of the arm, z up, the table top at z = 0.

    Raises:
        SimulationError: the meshes of gym-xarm are not there.
    """
    spec = mujoco.MjSpec.from_file(str(SCENE_FILE))
    for names, cell in ((ARM_MESHES, ARM_CELL_M), (GRIPPER_MESHES, GRIPPER_CELL_M)):
        for name in names:
            add_mesh(spec, name, meshes.decimate(meshes.XARM.read(name), cell))
    furnish(spec, things)
    return spec
