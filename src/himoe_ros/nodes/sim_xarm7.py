"""The simulated xArm7: MuJoCo physics in real time behind the controller box's own TCP protocol."""

from __future__ import annotations

import itertools
import time

import numpy as np
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from ..core.embodiment import load_embodiment
from ..core.errors import SimulationError
from ..resources import config
from ..sim.xarm_box import XArmBox
from ..sim.xarm_faults import inject
from ..sim.xarm_log import Received
from ..sim.xarm_protocol import CONTROL_PORT
from ..sim.xarm_server import XArmServer
from .conversions import joint_message
from .managed import RECORD, run
from .priority import go_first
from .sim_workplace import SimWorkplace

LOG = QoSProfile(depth=5000, reliability=ReliabilityPolicy.RELIABLE)  # nothing may be missing, on a busy machine too


class SimXArm7(SimWorkplace):
    """A process that a controller node cannot tell from the control box, but for its address."""

    def __init__(self) -> None:
        super().__init__("xarm7", "xarm7/fruit_to_plate")
        self._server: XArmServer | None = None
        self._address = self.parameter("address", "127.0.0.2")
        self._commands = self.create_publisher(JointState, "sim/commands", RECORD)
        self._requests = self.create_publisher(JointState, "sim/requests", LOG)
        self._logged = itertools.count()

    def setup(self) -> None:
        super().setup()
        self._arm = load_embodiment(self._robot, config("embodiments")).arms[0]
        self._box = XArmBox(self._world.arms[0], time.monotonic(), on_received=self._publish_request)
        host, _, port = self._address.partition(":")
        self._server = XArmServer(self._box, host, control_port=int(port or CONTROL_PORT))

    def teardown(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def status(self) -> dict[str, object]:
        return {"address": self._address, **super().status()}

    def before(self, now: float) -> None:
        self._box.tick(now)

    def inject(self, fault: str) -> None:
        """One of sim/xarm_faults.py."""
        if self._server is None:
            raise SimulationError("the box is off: configure the node first")
        inject(fault, self._box, self._server)
        self._log(f"FAULT {fault}", time.monotonic())

    def _publish_request(self, received: Received) -> None:
        """What a controller really sends: sim/commands in ROS time, sim/requests on the machine's steady clock."""
        joints = received.joints
        if joints is not None:
            self._commands.publish(joint_message(self._arm.joints, joints, self.seconds_now()))
        self._log(received.words, received.time, joints, received.accepted)

    def _log(self, words: str, steady: float, joints: np.ndarray | None = None, accepted: bool = True) -> None:
        """On sim/requests: words in frame_id, a servo target as position, a running number as velocity, whether it
        was obeyed as effort."""
        positions = np.empty(0) if joints is None else joints
        message = joint_message(self._arm.joints if positions.size else (), positions, steady)
        message.header.frame_id = words
        message.velocity, message.effort = [float(next(self._logged))], [float(accepted)]
        self._requests.publish(message)


def main() -> None:
    go_first()  # a real box has a computer of its own
    run(SimXArm7)


if __name__ == "__main__":
    main()
