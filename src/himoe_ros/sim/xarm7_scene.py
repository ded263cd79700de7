"""The simulated workplace: an xArm7 with its gripper at a lab table with fruit and plates."""

from __future__ import annotations

from pathlib import Path

import mujoco
import numpy as np

from . import meshes, textures

JOINTS = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7")
GRIPPER_JOINT = "drive_joint"
GRIPPER_CLOSED_RAD = 0.85
TCP_SITE = "tcp"
FRUITS = ("apple", "orange")
PLATES = ("blue_plate", "pink_plate")
CAMERAS = ("base", "left_wrist", "overview")

SCENE_FILE = Path(__file__).with_name("fruit_to_plate.xml")
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

# Radius and height, m, from the axis out and around: plates and apple are turned on a lathe.
PLATE_PROFILE = np.array(
    [
        (0.0, 0.0042),
        (0.044, 0.0042),
        (0.050, 0.0044),
        (0.056, 0.0060),
        (0.0715, 0.0078),
        (0.0740, 0.0075),
        (0.0735, 0.0055),
        (0.056, 0.0004),
        (0.0, 0.0002),
    ]
)
PLATE_RIM_PROFILE = np.array(
    [
        (0.0695, 0.0072),
        (0.0705, 0.0080),
        (0.0730, 0.0083),
        (0.0749, 0.0078),
        (0.0744, 0.0060),
        (0.0715, 0.0050),
    ]
)
APPLE_PROFILE = np.array(
    [
        (0.0, 0.0235),
        (0.004, 0.0252),
        (0.009, 0.0285),
        (0.0145, 0.0290),
        (0.0215, 0.0250),
        (0.0275, 0.0170),
        (0.0308, 0.0070),
        (0.0308, -0.0030),
        (0.0280, -0.0140),
        (0.0225, -0.0230),
        (0.0150, -0.0288),
        (0.0085, -0.0308),
        (0.0040, -0.0300),
        (0.0, -0.0285),
    ]
)


def build_scene(shadows: bool = False) -> mujoco.MjModel:
    """Compile the scene.

    Args:
        shadows: let the key light cast shadows. About four times the render time without a GPU.

    Returns:
        The model: world frame = base frame of the arm, z up, the table top at z = 0.

    Raises:
        SimulationError: the meshes of gym-xarm are not there.
    """
    spec = mujoco.MjSpec.from_file(str(SCENE_FILE))
    directory = meshes.xarm_mesh_directory()
    for names, cell in ((ARM_MESHES, ARM_CELL_M), (GRIPPER_MESHES, GRIPPER_CELL_M)):
        for name in names:
            _add_mesh(spec, name, meshes.decimate(meshes.read_stl(directory / f"{name}.stl"), cell))
    _add_mesh(spec, "plate", meshes.lathe(PLATE_PROFILE, segments=48))
    _add_mesh(spec, "plate_rim", meshes.lathe(PLATE_RIM_PROFILE, segments=48))
    _add_mesh(spec, "apple", meshes.lathe(APPLE_PROFILE, segments=32))
    _add_texture(spec, "wood", mujoco.mjtTexture.mjTEXTURE_2D, textures.wood())
    _add_texture(spec, "apple_skin", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.apple_skin())
    _add_texture(spec, "orange_peel", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.orange_peel())
    spec.light("key").castshadow = shadows
    return spec.compile()


def _add_mesh(spec: mujoco.MjSpec, name: str, mesh: meshes.Mesh) -> None:
    spec.add_mesh(
        name=name,
        uservert=mesh.vertices.ravel(),
        userface=mesh.faces.ravel(),
        usernormal=mesh.normals.ravel(),
        userfacenormal=mesh.faces.ravel(),
        # The thinned surfaces are not watertight; masses are given on the bodies.
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )


def _add_texture(spec: mujoco.MjSpec, name: str, kind: mujoco.mjtTexture, pixels: np.ndarray) -> None:
    height, width, channels = pixels.shape
    texture = spec.add_texture(name=name, type=kind, width=width, height=height, nchannel=channels)
    texture.data = pixels.tobytes()
