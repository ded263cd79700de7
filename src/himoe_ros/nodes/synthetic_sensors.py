"""Camera images and joint states of a robot that is not there, to measure transport without rendering."""

from __future__ import annotations

import array

import numpy as np
from sensor_msgs.msg import Image, JointState

from ..core.embodiment import load_embodiment
from ..resources import config
from .conversions import image_message, joint_message, stamp
from .managed import RECORD, SENSOR, ManagedNode, run
from .priority import PLANS, go_first

JOINT_RATE_HZ = 100.0


class SyntheticSensors(ManagedNode):
    """Publishes noise pictures on every camera topic, and the home posture as joint states, where no robot does."""

    def __init__(self) -> None:
        super().__init__("synthetic_sensors")
        self._clocks: list = []
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._width, self._height = self.parameter("width", 640), self.parameter("height", 480)
        self._rate = self.parameter("rate_hz", 30.0)
        self._with_joints = self.parameter("joints", True)

    def setup(self) -> None:
        embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        noise = np.random.default_rng(0).integers(0, 256, (self._height, self._width, 3), dtype=np.uint8)
        self._message = image_message(noise, 0.0, "synthetic")
        self._images = {c.name: self.create_publisher(Image, c.topic, SENSOR) for c in embodiment.cameras}
        self._counts = dict.fromkeys(self._images, 0)
        self._joints = self.create_publisher(JointState, "joint_states", RECORD)
        self._names = embodiment.joint_names
        self._home = np.concatenate([[*arm.bounds.rest, arm.gripper.open] for arm in embodiment.arms])

    def begin(self) -> None:
        self._clocks = [self.every(1.0 / self._rate, self._publish_images)]
        if self._with_joints:
            self._clocks.append(self.every(1.0 / JOINT_RATE_HZ, self._publish_joints))

    def end(self) -> None:
        while self._clocks:
            self.destroy_timer(self._clocks.pop())

    def status(self) -> dict[str, object]:
        return {f"images {name}": count for name, count in getattr(self, "_counts", {}).items()}

    def _publish_images(self) -> None:
        self._message.header.stamp = stamp(self.seconds_now())
        data: array.array = self._message.data
        for name, publisher in self._images.items():
            data[0] = (data[0] + 1) % 256  # no two pictures are equal, or the cameras would count as frozen
            publisher.publish(self._message)
            self._counts[name] += 1

    def _publish_joints(self) -> None:
        self._joints.publish(joint_message(self._names, self._home, self.seconds_now()))


def main() -> None:
    go_first(PLANS)  # a camera does not wait for a core
    run(SyntheticSensors)


if __name__ == "__main__":
    main()
