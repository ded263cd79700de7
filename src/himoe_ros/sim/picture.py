"""A still of the simulated workplace, for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2

from ..core.errors import SimulationError
from .renderer import CameraRenderer
from .world import World
from .xarm7_scene import CAMERAS, build_scene


def save_picture(path: Path, camera: str, layout: Mapping[str, Sequence[float]], width: int, height: int) -> None:
    """Write a PNG of a fresh scene with shadows.

    Args:
        path: file to write; its folder must exist.
        camera: one of CAMERAS.
        layout: thing -> (x, y, yaw) in m, m, rad.
        width, height: px.
    """
    if camera not in CAMERAS:
        raise SimulationError(f"'{camera}' is no camera of the scene; there are: {', '.join(CAMERAS)}")
    model = build_scene(list(layout), shadows=True)
    world = World(model)
    world.reset(layout)
    with CameraRenderer(model, width, height) as renderer:
        image = renderer.render(world.data, camera)
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise SimulationError(f"cannot write {path}; give a file ending in .png in a folder that exists")
