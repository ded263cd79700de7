"""Leader arms: the followers go where the leaders are; see config/teleop/aloha_leaders.yaml."""

from __future__ import annotations

import functools

from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from ..core.errors import ObservationError
from ..core.observation import ActionChunk
from ..resources import config
from ..teleop.leader import Leader, load_leader
from .managed import run
from .teleop import FOLLOWS, Teleop

ANY = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)  # the newest, of whatever a leader offers


class TeleopLeader(Teleop):
    """Any JointState is a leader."""

    def __init__(self) -> None:
        super().__init__("teleop_leader", rate_hz=50.0)
        self._name = self.require("device", "the name of a file in config/teleop of kind leader")
        self._leader: Leader | None = None

    def setup(self) -> None:
        super().setup()
        described = load_leader(config("teleop") / f"{self._name}.yaml", self.embodiment)
        self._leader = Leader(described, self.embodiment, self.space)
        self._leaders = [
            self.create_subscription(JointState, topic, functools.partial(self._on_leader, topic), ANY)
            for topic in described.joints
        ]

    def teardown(self) -> None:
        super().teardown()
        for subscription in self.__dict__.pop("_leaders", []):
            self.destroy_subscription(subscription)

    def trouble(self) -> str:
        """The leaders must be close to the robot only before it is armed: then the guard watches every step."""
        if self.mode in FOLLOWS:
            return super().trouble()
        return self._leader.trouble(self.state(), self.seconds_now())

    def take(self) -> str:
        """Refused while the leaders are elsewhere: the robot would jump, or the guard would stop it."""
        if not self.human and (far := self._leader.trouble(self.state(), self.seconds_now())):
            raise ObservationError(far)
        return super().take()

    def plan(self, now: float) -> ActionChunk | None:
        """A robot at rest follows only a leader that is near: one that was silent may have been put down elsewhere."""
        if self.mode != "running" and (far := self._leader.trouble(self.state(), now)):
            raise ObservationError(far)
        return self._leader.plan(now)

    def _on_leader(self, topic: str, message: JointState) -> None:
        try:
            self._leader.tell(topic, message.name, message.position, self.seconds_now())
        except ObservationError as error:
            self.complain(ObservationError(f"leader '{topic}': {error}"))


def main() -> None:
    run(TeleopLeader)


if __name__ == "__main__":
    main()
