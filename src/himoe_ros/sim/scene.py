"""The simulated workplaces, by the robot that stands there."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import mujoco
import numpy as np

from ..core.errors import SimulationError
from .aloha_scene import ALOHA, aloha_scene
from .servos import ArmModel
from .xarm7_scene import XARM7, xarm7_scene

SCENES: dict[str, tuple[Callable[[Collection[str]], mujoco.MjSpec], tuple[ArmModel, ...]]] = {
    "xarm7": (xarm7_scene, (XARM7,)),
    "aloha": (aloha_scene, ALOHA),
}


@dataclass(frozen=True)
class Scene:
    """A compiled workplace.

    Attributes:
        model: z up, the table top at z = 0; the frame is that of the robot's layouts.
        arms: in the order of the embodiment.
    """

    model: mujoco.MjModel
    arms: tuple[ArmModel, ...]


def build_scene(robot: str, things: Collection[str], shadows: bool = False) -> Scene:
    """Compile the workplace of a robot.

    Args:
        robot: name of an embodiment.
        things: bodies of things.xml to keep.
        shadows: let the key light cast shadows. About four times the render time without a GPU.

    Raises:
        SimulationError: a robot or thing that there is not, or meshes of its package are not there.
    """
    if robot not in SCENES:
        raise SimulationError(f"there is no simulated '{robot}'; there are: {', '.join(SCENES)}")
    make, arms = SCENES[robot]
    spec = make(things)
    spec.light("key").castshadow = shadows
    return Scene(spec.compile(), arms)


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
