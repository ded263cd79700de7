"""The simulated workplace: an xArm7 with its gripper at a lab table, and the things of a task on it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import mujoco
import numpy as np

from ..core.errors import SimulationError
from . import meshes, textures

JOINTS = ("joint1", "joint2", "joint3", "joint4", "joint5", "joint6", "joint7")
GRIPPER_JOINT = "drive_joint"
GRIPPER_CLOSED_RAD = 0.85
TCP_SITE = "tcp"
CAMERAS = ("base", "left_wrist", "overview")

SCENE_FILE = Path(__file__).with_name("lab.xml")
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


# A cup that stacks: outer radii at foot and rim, height and thickness of its wall, m, and its mass, kg.
CUP_FOOT_M, CUP_RIM_M, CUP_HEIGHT_M, CUP_WALL_M, CUP_FLOOR_M = 0.027, 0.0355, 0.072, 0.0022, 0.003
CUP_SEGMENTS, CUP_MASS_KG = 16, 0.05
CUP_PROFILE = np.array(
    [
        (0.0, CUP_FLOOR_M),
        (CUP_FOOT_M - CUP_WALL_M, CUP_FLOOR_M),
        (CUP_RIM_M - CUP_WALL_M, CUP_HEIGHT_M),
        (CUP_RIM_M + 0.0006, CUP_HEIGHT_M),
        (CUP_RIM_M + 0.0006, CUP_HEIGHT_M - 0.004),
        (CUP_RIM_M - 0.0005, CUP_HEIGHT_M - 0.004),
        (CUP_FOOT_M, 0.0),
        (0.0, 0.0),
    ]
)


def build_scene(things: Collection[str], shadows: bool = False) -> mujoco.MjModel:
    """Compile the scene.

    Args:
        things: bodies of things.xml to keep.
        shadows: let the key light cast shadows. About four times the render time without a GPU.

    Returns:
        The model: world frame = base frame of the arm, z up, the table top at z = 0.

    Raises:
        SimulationError: a thing that there is not, or the meshes of gym-xarm are not there.
    """
    spec = mujoco.MjSpec.from_file(str(SCENE_FILE))
    there = [body.name for body in spec.worldbody.bodies if body.joints and body.joints[0].name == body.name]
    if unknown := sorted(set(things) - set(there)):
        raise SimulationError(f"the simulation has no {', '.join(unknown)}; it has {', '.join(sorted(there))}")
    for name in set(there) - set(things):
        spec.delete(spec.body(name))
    for name in things:
        if name.endswith("_cup"):
            _add_walls(spec, spec.body(name))
    directory = meshes.xarm_mesh_directory()
    for names, cell in ((ARM_MESHES, ARM_CELL_M), (GRIPPER_MESHES, GRIPPER_CELL_M)):
        for name in names:
            _add_mesh(spec, name, meshes.decimate(meshes.read_stl(directory / f"{name}.stl"), cell))
    _add_mesh(spec, "plate", meshes.lathe(PLATE_PROFILE, segments=48))
    _add_mesh(spec, "plate_rim", meshes.lathe(PLATE_RIM_PROFILE, segments=48))
    _add_mesh(spec, "apple", meshes.lathe(APPLE_PROFILE, segments=32))
    _add_mesh(spec, "cup", meshes.lathe(CUP_PROFILE, segments=40))
    _add_texture(spec, "wood", mujoco.mjtTexture.mjTEXTURE_2D, textures.wood())
    _add_texture(spec, "apple_skin", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.apple_skin())
    _add_texture(spec, "orange_peel", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.orange_peel())
    _add_texture(spec, "pomegranate_skin", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.pomegranate_skin())
    spec.light("key").castshadow = shadows
    return spec.compile()


def change_view(model: mujoco.MjModel, camera: str, shift: float, light: float, seed: int) -> None:
    """Let a policy see the workplace otherwise than it learned it.

    Args:
        model: changed in place.
        camera: this one is moved.
        shift: m, in a direction that the seed draws.
        light: share of all light, from 0 to 1.
        seed: of the direction.

    Raises:
        SimulationError: a shift or share that cannot be.
    """
    if shift < 0 or not 0 <= light <= 1:
        raise SimulationError(f"expected a shift >= 0 m and a share of light from 0 to 1, got {shift} and {light}")
    direction = np.random.default_rng(seed).standard_normal(3)
    model.camera(camera).pos += shift * direction / np.linalg.norm(direction)
    head = model.vis.headlight
    for lights in (model.light_ambient, model.light_diffuse, head.ambient, head.diffuse):
        lights[:] = light * lights


def _add_walls(spec: mujoco.MjSpec, cup: mujoco.MjsBody) -> None:
    """A floor, and boxes that lean outward, all around: hollow, so that another cup goes in."""
    own, mass = spec.find_default("cup"), CUP_MASS_KG / (CUP_SEGMENTS + 1)
    cup.add_geom(
        own,
        name=cup.name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[CUP_FOOT_M - CUP_WALL_M, CUP_FLOOR_M / 2, 0.0],
        pos=[0.0, 0.0, CUP_FLOOR_M / 2],
        mass=mass,
    )
    lean = np.arctan2(CUP_RIM_M - CUP_FOOT_M, CUP_HEIGHT_M)
    middle = (CUP_RIM_M + CUP_FOOT_M - CUP_WALL_M) / 2
    size = [CUP_WALL_M / 2, middle * np.tan(np.pi / CUP_SEGMENTS), CUP_HEIGHT_M / 2]
    for turn in 2 * np.pi * np.arange(CUP_SEGMENTS) / CUP_SEGMENTS:
        place = [middle * np.cos(turn), middle * np.sin(turn), CUP_HEIGHT_M / 2]
        (c, s), (cl, sl) = ((np.cos(a / 2), np.sin(a / 2)) for a in (turn, lean))
        # Leans about its own y axis, then turns about z.
        cup.add_geom(own, size=size, pos=place, quat=[c * cl, -s * sl, c * sl, s * cl], mass=mass)


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
