"""ALOHA: two ViperX arms that face each other across a table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import mujoco
import numpy as np

from . import meshes
from .servos import ArmModel
from .things import add_mesh, furnish

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
FINGER = "left_finger"  # the other one mirrors it
VX300S = ArmModel(
    joints=JOINTS,
    gripper=FINGER,
    closed=0.021,  # m
    open=0.057,
    gripper_speed=0.2,  # m/s
    tool="tool",
    home=np.array([0.0, -0.96, 1.16, 0.0, -0.3, 0.0]),
)
SIDES = ("left", "right")
ALOHA = tuple(
    replace(
        VX300S,
        joints=tuple(f"{side}_{name}" for name in JOINTS),
        gripper=f"{side}_{FINGER}",
        tool=f"{side}_{VX300S.tool}",
    )
    for side in SIDES
)

SCENE_FILE, ARM_FILE = (Path(__file__).with_name(name) for name in ("aloha_lab.xml", "vx300s.xml"))
CELL_M = 0.004  # of the meshes, thinned
MESHES = (
    "vx300s_1_base",
    "vx300s_2_shoulder",
    "vx300s_3_upper_arm",
    "vx300s_4_upper_forearm",
    "vx300s_5_lower_forearm",
    "vx300s_6_wrist",
    "vx300s_7_gripper",
    "vx300s_8_gripper_prop",
    "vx300s_9_gripper_bar",
    "vx300s_10_custom_finger_left",
    "vx300s_10_custom_finger_right",
)


def aloha_scene(things: Collection[str]) -> mujoco.MjSpec:
    """World frame: x right, y away from the operator, z up; origin on the table top, in the middle between the arms.

    Raises:
        SimulationError: the meshes of gym-aloha are not there.
    """
    spec = mujoco.MjSpec.from_file(str(SCENE_FILE))
    thinned = {name: meshes.decimate(meshes.ALOHA.read(name), CELL_M) for name in MESHES}
    for side in SIDES:
        arm = mujoco.MjSpec.from_file(str(ARM_FILE))
        for name, mesh in thinned.items():
            add_mesh(arm, name, mesh)
        spec.attach(arm, site=spec.site(f"{side}_arm"), prefix=f"{side}_")
    furnish(spec, things)
    return spec
