"""The simulated cameras: show the simulator's state, published as a camera driver would."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from sensor_msgs.msg import Image, JointState

from ..core.embodiment import Embodiment, load_embodiment
from ..core.errors import ConfigError
from ..core.messages import seconds
from ..core.observation import Image as Picture
from ..resources import config
from ..trials.layout import things_of
from ..trials.protocol import load_protocol
from .conversions import image_message
from .managed import COMMAND, SENSOR, ManagedNode, run


class View(Protocol):
    """What cameras see."""

    def set_state(self, names: Sequence[str], values: Sequence[float]) -> None:
        """Show a configuration that the simulator told."""

    def render(self, camera: str) -> Picture:
        """(H, W, 3) uint8 RGB."""

    def close(self) -> None:
        """Free what it draws with."""


class SimCameras(ManagedNode):
    """Renders every camera of the embodiment at a fixed rate, in the executor's thread."""

    def __init__(self) -> None:
        super().__init__("sim_cameras")
        self._view: View | None = None
        self._timer = None
        self._latest: JointState | None = None
        self._shown = 0.0
        self._cost: deque[float] = deque(maxlen=100)
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._width, self._height = self.parameter("width", 224), self.parameter("height", 224)
        self._rate = self.parameter("rate_hz", 10.0)
        self._shadows = self.parameter("shadows", False)
        self._seed = self.parameter("seed", 0)
        self._shift, self._light = self.parameter("camera_shift_m", 0.0), self.parameter("light", 1.0)
        self._name = self.parameter("protocol", "xarm7/fruit_to_plate")  # decides what lies there

    def open_view(self, embodiment: Embodiment) -> View:
        """What is shown: our scene, seen by noisy sensors."""
        # MuJoCo loads its drawing library when imported, so only here can a missing one be told plainly.
        from ..sim.view import SceneView  # noqa: PLC0415

        things = things_of(load_protocol(self._name, config("trials")))
        view = SceneView(embodiment.name, things, self._width, self._height, self._shadows)
        view.change(embodiment.cameras[0].name, self._shift, self._light, self._seed)
        return view

    def setup(self) -> None:
        if self._width <= 0 or self._height <= 0 or self._rate <= 0:
            raise ConfigError(f"width, height and rate_hz must be > 0, got {self._width}, {self._height}, {self._rate}")
        embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        self._view = self.open_view(embodiment)
        self._images = {c.name: self.create_publisher(Image, c.topic, SENSOR) for c in embodiment.cameras}
        self._counts = dict.fromkeys(self._images, 0)
        self.create_subscription(JointState, "sim/state", self._on_state, COMMAND)

    def begin(self) -> None:
        self._timer = self.every(1.0 / self._rate, self._capture)

    def end(self) -> None:
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def teardown(self) -> None:
        if self._view is not None:
            self._view.close()
            self._view = None

    def status(self) -> dict[str, object]:
        counts = {f"images {name}": count for name, count in getattr(self, "_counts", {}).items()}
        cost = f"{1e3 * float(np.mean(self._cost)):.1f}" if self._cost else "none"
        return {**counts, "ms_per_image": cost}

    def _on_state(self, message: JointState) -> None:
        self._latest = message

    def _capture(self) -> None:
        message = self._latest
        if message is None or seconds(message.header.stamp) == self._shown:
            return
        self._shown = seconds(message.header.stamp)
        self._view.set_state(message.name, message.position)
        for name, publisher in self._images.items():
            begin = time.perf_counter()
            publisher.publish(image_message(self._view.render(name), self._shown, name))
            self._counts[name] += 1
            self._cost.append(time.perf_counter() - begin)


def main() -> None:
    run(SimCameras)


if __name__ == "__main__":
    main()
