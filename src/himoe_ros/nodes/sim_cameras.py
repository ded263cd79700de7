"""The simulated cameras: show the simulator's state, published as a camera driver would."""

from __future__ import annotations

import time
from collections import deque

import numpy as np
from sensor_msgs.msg import Image, JointState

from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError
from ..core.messages import seconds
from ..resources import config
from ..trials.layout import things_of
from ..trials.protocol import load_protocol
from .conversions import image_message
from .managed import COMMAND, SENSOR, ManagedNode, run


class SimCameras(ManagedNode):
    """Renders every camera of the embodiment at a fixed rate, in the executor's thread."""

    def __init__(self) -> None:
        super().__init__("sim_cameras")
        self._renderer = None
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

    def setup(self) -> None:
        if self._width <= 0 or self._height <= 0 or self._rate <= 0:
            raise ConfigError(f"width, height and rate_hz must be > 0, got {self._width}, {self._height}, {self._rate}")
        # MuJoCo loads its drawing library when imported, so only here can a missing one be told plainly.
        from ..sim.renderer import CameraRenderer  # noqa: PLC0415
        from ..sim.scene import build_scene, change_view  # noqa: PLC0415
        from ..sim.sensor_noise import SensorNoise  # noqa: PLC0415
        from ..sim.world import World  # noqa: PLC0415

        cameras = load_embodiment(self._embodiment_name, config("embodiments")).cameras
        things = things_of(load_protocol(self._name, config("trials")))
        scene = build_scene(self._embodiment_name, things, shadows=self._shadows)
        change_view(scene.model, cameras[0].name, self._shift, self._light, self._seed)
        self._world = World(scene)
        self._renderer = CameraRenderer(scene.model, self._width, self._height)
        self._images = {c.name: self.create_publisher(Image, c.topic, SENSOR) for c in cameras}
        self._noise = {name: SensorNoise(self._height, self._width) for name in self._images}
        self._counts = dict.fromkeys(self._images, 0)
        self.create_subscription(JointState, "sim/state", self._on_state, COMMAND)

    def begin(self) -> None:
        self._timer = self.every(1.0 / self._rate, self._capture)

    def end(self) -> None:
        if self._timer is not None:
            self.destroy_timer(self._timer)
            self._timer = None

    def teardown(self) -> None:
        if self._renderer is not None:
            self._renderer.close()
            self._renderer = None

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
        self._world.set_state(message.name, message.position)
        for name, publisher in self._images.items():
            begin = time.perf_counter()
            image = self._noise[name](self._renderer.render(self._world.data, name))
            publisher.publish(image_message(image, self._shown, name))
            self._counts[name] += 1
            self._cost.append(time.perf_counter() - begin)


def main() -> None:
    run(SimCameras)


if __name__ == "__main__":
    main()
