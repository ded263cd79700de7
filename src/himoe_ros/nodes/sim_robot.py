"""The simulated xArm7: MuJoCo physics in real time behind the controller box's own TCP protocol."""

from __future__ import annotations

import itertools
import threading
import time
from collections import deque

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState

from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, SimulationError
from ..resources import config
from ..sim.scene import build_scene
from ..sim.world import World
from ..sim.xarm_box import XArmBox
from ..sim.xarm_faults import inject
from ..sim.xarm_log import Received
from ..sim.xarm_protocol import CONTROL_PORT
from ..sim.xarm_server import XArmServer
from ..trials.layout import Layout, draw_layout, things_of
from ..trials.protocol import load_protocol
from .conversions import joint_message
from .managed import RECORD, ManagedNode, run
from .priority import go_first

TICK_S = 0.004  # the real box interpolates at 250 Hz
PUBLISH_EVERY = 5  # ticks between messages on sim/state: 50 Hz
LOG = QoSProfile(depth=5000, reliability=ReliabilityPolicy.RELIABLE)  # nothing may be missing, on a busy machine too


class SimRobot(ManagedNode):
    """A process that a controller node cannot tell from the control box, but for its address."""

    def __init__(self) -> None:
        super().__init__("sim_robot")
        self._lock = threading.Lock()
        self._worker = self.worker("physics")
        self._server: XArmServer | None = None
        self._late: deque[float] = deque(maxlen=1000)
        self._address = self.parameter("address", "127.0.0.2")
        self._name = self.parameter("protocol", "xarm7/fruit_to_plate")  # decides what lies there
        self.parameter("setting", "")  # of the protocol; its first one without it
        self._spread = self.parameter("spread_m", 0.0)  # of things from their places; 0: the protocol's
        self.parameter("seed", 0)
        self._state = self.create_publisher(JointState, "sim/state", RECORD)
        self._commands = self.create_publisher(JointState, "sim/commands", RECORD)
        self._requests = self.create_publisher(JointState, "sim/requests", LOG)
        self._logged = itertools.count()
        self.trigger("sim/reset", self._reset)
        self.parameter("fault", "")  # setting it makes a fault of sim/xarm_faults.py happen
        self.add_on_set_parameters_callback(self._on_parameters)

    def setup(self) -> None:
        self._arm = load_embodiment("xarm7", config("embodiments")).arms[0]
        self._protocol = load_protocol(self._name, config("trials")).widened(self._spread)
        self._world = World(build_scene("xarm7", things_of(self._protocol)))
        self._world.reset(self._layout())
        self._box = XArmBox(self._world.arms[0], time.monotonic(), on_received=self._publish_request)
        host, _, port = self._address.partition(":")
        self._server = XArmServer(self._box, host, control_port=int(port or CONTROL_PORT))

    def begin(self) -> None:
        self._worker.start(self._run)

    def end(self) -> None:
        self._worker.stop()

    def teardown(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    def status(self) -> dict[str, object]:
        late = [self._late.popleft() for _ in range(len(self._late))]
        return {"address": self._address, "worst_tick_delay_ms": f"{1e3 * max(late, default=0.0):.1f}"}

    def _run(self) -> None:
        """Real time: as many ticks as have become due, each of the same length."""
        due = time.monotonic()
        ticks = 0
        while self._worker.running:
            with self._lock:
                self._box.tick(due)
                self._world.step(TICK_S)
                state, velocity = self._world.state(), self._world.state_velocity()
            ticks += 1
            if ticks % PUBLISH_EVERY == 0:
                message = joint_message(self._world.state_names(), state, self.seconds_now())
                message.velocity = velocity.tolist()
                self._state.publish(message)
            due += TICK_S
            delay = time.monotonic() - due
            self._late.append(max(0.0, delay))
            if delay > 1.0:  # the machine slept: do not rush through the lost time
                due = time.monotonic()
            elif delay < 0:
                time.sleep(-delay)

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

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "fault" and parameter.value:
                if self._server is None:
                    return SetParametersResult(successful=False, reason="the box is off: configure the node first")
                try:
                    inject(parameter.value, self._box, self._server)
                except SimulationError as error:
                    return SetParametersResult(successful=False, reason=str(error))
                self._log(f"FAULT {parameter.value}", time.monotonic())
        return SetParametersResult(successful=True)

    def _reset(self) -> str:
        layout = self._layout()
        with self._lock:
            self._world.lay_out(layout)
        places = ", ".join(f"{name} ({x:.3f}, {y:.3f})" for name, (x, y, _) in layout.items())
        return f"seed {self.get_parameter('seed').value}: {places} m"

    def _layout(self) -> Layout:
        seed, name = self.get_parameter("seed").value, self.get_parameter("setting").value
        settings = self._protocol.settings
        if seed < 0:
            raise ConfigError(f"parameter 'seed' must be >= 0, got {seed}")
        if name and name not in settings:
            raise ConfigError(f"parameter 'setting' must be one of {', '.join(settings)}, got '{name}'")
        return draw_layout(self._protocol, settings[name or next(iter(settings))], seed)


def main() -> None:
    go_first()  # a real box has a computer of its own
    run(SimRobot)


if __name__ == "__main__":
    main()
