"""The workplace as its cameras show it: a state comes in, noisy pictures come out; no physics runs here."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.observation import Image
from .renderer import CameraRenderer
from .scene import build_scene, change_view
from .sensor_noise import SensorNoise
from .world import World


class SceneView:
    """One scene and its cameras. Use it in the thread that made it; see CameraRenderer."""

    def __init__(self, robot: str, things: Sequence[str], width: int, height: int, shadows: bool) -> None:
        """See `build_scene`; width and height of the pictures, px."""
        self._world = World(build_scene(robot, things, shadows=shadows))
        self._renderer = CameraRenderer(self._world.model, width, height)
        cameras = (self._world.model.camera(i).name for i in range(self._world.model.ncam))
        self._noise = {name: SensorNoise(height, width) for name in cameras}

    def change(self, camera: str, shift: float, light: float, seed: int) -> None:
        """See `change_view`."""
        change_view(self._world.model, camera, shift, light, seed)

    def set_state(self, names: Sequence[str], values: Sequence[float]) -> None:
        """See World."""
        self._world.set_state(names, values)

    def render(self, camera: str) -> Image:
        """(H, W, 3) uint8 RGB, with the noise of a sensor of its own."""
        image = self._renderer.render(self._world.data, camera)
        return self._noise[camera](image)

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()
