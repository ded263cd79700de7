"""Camera images of a scene, rendered off screen."""

from __future__ import annotations

import os

import mujoco
import numpy as np

from ..core.errors import SimulationError
from . import GL_HINT


class CameraRenderer:
    """Draws what the cameras of one model see, always at one size.

    Use it in the thread that made it (the drawing context belongs to that thread) and `close` it,
    or use it in a `with` block.
    """

    def __init__(self, model: mujoco.MjModel, width: int, height: int) -> None:
        """Open the drawing context.

        Args:
            model: the scene; its own settings decide on shadows.
            width, height: of the images, px; at most the model's `offwidth` and `offheight`.

        Raises:
            SimulationError: drawing is impossible here; the message says what to install.
            ValueError: a size beyond the model's buffer.
        """
        buffer = model.vis.global_
        if not (0 < width <= buffer.offwidth and 0 < height <= buffer.offheight):
            raise ValueError(
                f"expected an image within {buffer.offwidth} x {buffer.offheight} px, got {width} x {height}"
            )
        self._cameras = [model.camera(index).name for index in range(model.ncam)]
        self._image = np.empty((height, width, 3), dtype=np.uint8)
        self._renderer = _open_renderer(model, width, height)
        flags = self._renderer.scene.flags
        flags[mujoco.mjtRndFlag.mjRND_SHADOW] = bool(model.light_castshadow.any())
        flags[mujoco.mjtRndFlag.mjRND_REFLECTION] = False

    def render(self, data: mujoco.MjData, camera_name: str) -> np.ndarray:
        """Draw one image.

        Args:
            data: state of the model, with kinematics done.
            camera_name: a camera of the model.

        Returns:
            (H, W, 3) uint8 RGB, a new array.

        Raises:
            SimulationError: no such camera.
        """
        if camera_name not in self._cameras:
            raise SimulationError(f"'{camera_name}' is no camera of the scene; there are: {', '.join(self._cameras)}")
        self._renderer.update_scene(data, camera_name)
        return self._renderer.render(out=self._image).copy()

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()

    def __enter__(self) -> CameraRenderer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open_renderer(model: mujoco.MjModel, width: int, height: int) -> mujoco.Renderer:
    """Open MuJoCo's own renderer, or say in one sentence why that fails."""
    backend = os.environ.get("MUJOCO_GL", "unset")
    # MuJoCo leaves Renderer out when its GL library was not there at import.
    if not hasattr(mujoco, "Renderer"):
        raise SimulationError(f"MuJoCo found no GL library (MUJOCO_GL is {backend}). {GL_HINT}")
    try:
        return mujoco.Renderer(model, height=height, width=width)
    except (RuntimeError, ImportError, AttributeError, mujoco.FatalError) as error:
        raise SimulationError(f"cannot draw (MUJOCO_GL is {backend}): {error}. {GL_HINT}") from error
