"""The cameras of gym-aloha's own environment, which show the state that gym_aloha tells. See `make gym-aloha`."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.embodiment import Embodiment
from ..core.observation import Image
from ..sim.sensor_noise import SensorNoise
from .gym_aloha import GymWorld
from .managed import run
from .sim_cameras import SimCameras

FLAT = {"shadow": False, "reflection": False}  # as ours; with them, in software, three views take a sixth of a second
VIEWS = {"base": "top", "left_wrist": "left_wrist", "right_wrist": "right_wrist"}


class GymView:
    """A second environment that is only looked at, by noisy sensors as ours."""

    def __init__(self, embodiment: Embodiment, width: int, height: int) -> None:
        """Width and height of the pictures, px."""
        from dm_control.mujoco import Camera  # noqa: PLC0415 - see GymWorld

        self._world = GymWorld(embodiment.arms)
        self._world.physics.model.vis.quality.offsamples = 0
        self._cameras = {
            name: Camera(self._world.physics, camera_id=view, width=width, height=height)
            for name, view in VIEWS.items()
        }
        self._noise = {name: SensorNoise(height, width) for name in VIEWS}

    def set_state(self, names: Sequence[str], values: Sequence[float]) -> None:
        """See GymWorld."""
        self._world.set_state(names, values)

    def render(self, camera: str) -> Image:
        """(H, W, 3) uint8 RGB."""
        return self._noise[camera](self._cameras[camera].render(render_flag_overrides=FLAT))

    def close(self) -> None:
        """Nothing to free."""


class GymCameras(SimCameras):
    """The same node, before another view."""

    def open_view(self, embodiment: Embodiment) -> GymView:
        """The environment's."""
        return GymView(embodiment, self._width, self._height)


def main() -> None:
    run(GymCameras)


if __name__ == "__main__":
    main()
