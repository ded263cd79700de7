"""The simulated xArm7: MuJoCo physics in real time behind the controller box's own TCP protocol."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

import numpy as np
from sensor_msgs.msg import JointState

from ..core.embodiment import load_embodiment
from ..core.errors import HimoeError
from ..resources import config
from ..sim.world import World
from ..sim.xarm7_scene import build_scene
from ..sim.xarm_box import XArmBox
from ..sim.xarm_protocol import CONTROL_PORT, Reply
from ..sim.xarm_server import XArmServer
from .conversions import joint_message
from .managed import RECORD, ManagedNode, run
from .worker import Worker

SERVO_J = 29  # function number of a servo command in the protocol
TICK_S = 0.004  # the real box interpolates at 250 Hz
PUBLISH_EVERY = 5  # ticks between messages on sim/state: 50 Hz


class ObservedBox(XArmBox):
    """A box that also tells each servo command as it arrives: the truth about what a controller sends."""

    def __init__(self, plant: World, now: float, on_servo: Callable[[np.ndarray], None]) -> None:
        super().__init__(plant, now)
        self._on_servo = on_servo

    def handle(self, function: int, payload: bytes, now: float) -> Reply:
        if function == SERVO_J and len(payload) >= 28:
            self._on_servo(np.frombuffer(payload[:28], "<f4").astype(np.float64))
        return super().handle(function, payload, now)


class SimRobot(ManagedNode):
    """A process that a controller node cannot tell from the control box, but for its address."""

    def __init__(self) -> None:
        super().__init__("sim_robot")
        self._lock = threading.Lock()
        self._worker = Worker("physics")
        self._server: XArmServer | None = None
        self._late: deque[float] = deque(maxlen=1000)
        self._address = self.parameter("address", "127.0.0.2")
        self.parameter("seed", 0)
        self._state = self.create_publisher(JointState, "sim/state", RECORD)
        self._commands = self.create_publisher(JointState, "sim/commands", RECORD)
        self.trigger("sim/reset", self._reset)

    def setup(self) -> None:
        self._arm = load_embodiment("xarm7", config("embodiments")).arms[0]
        self._world = World(build_scene())
        self._world.reset(self._seed())
        self._box = ObservedBox(self._world, time.monotonic(), self._publish_command)
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

    def _publish_command(self, joints: np.ndarray) -> None:
        self._commands.publish(joint_message(self._arm.joints, joints, self.seconds_now()))

    def _reset(self) -> str:
        with self._lock:
            layout = self._world.place_objects(self._seed())
        places = ", ".join(f"{name} ({x:.3f}, {y:.3f})" for name, (x, y, _) in layout.items())
        return f"seed {self._seed()}: {places} m"

    def _seed(self) -> int:
        seed = self.get_parameter("seed").value
        if seed < 0:
            raise HimoeError(f"parameter 'seed' must be >= 0, got {seed}")
        return seed


def main() -> None:
    run(SimRobot)


if __name__ == "__main__":
    main()
