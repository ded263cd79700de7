"""A still of the simulated workplace, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from ..core.errors import SimulationError
from .renderer import CameraRenderer
from .scene import build_scene
from .world import World


def save_picture(
    path: Path, robot: str, camera: str, layout: Mapping[str, Sequence[float]], width: int, height: int
) -> None:
    """Write a PNG of a fresh scene with shadows.

    Args:
        path: file to write; its folder must exist.
        robot: name of an embodiment.
        camera: of its scene.
        layout: thing -> (x, y, yaw) in m, m, rad.
        width, height: px.
    """
    world = World(build_scene(robot, list(layout), shadows=True))
    world.reset(layout)
    with CameraRenderer(world.model, width, height) as renderer:
        image = renderer.render(world.data, camera)
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise SimulationError(f"cannot write {path}; give a file ending in .png in a folder that exists")
