"""What the simulated robots share: MuJoCo physics in real time, things laid out as protocols say, faults on demand."""

from __future__ import annotations

import threading
import time
from collections import deque

from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from ..core.errors import ConfigError, SimulationError
from ..resources import config
from ..sim.scene import build_scene
from ..sim.world import World
from ..trials.layout import Layout, draw_layout, things_of
from ..trials.protocol import load_protocol
from .conversions import joint_message
from .managed import RECORD, ManagedNode

TICK_S = 0.004  # a real controller interpolates at 250 Hz
PUBLISH_EVERY = 5  # ticks between messages on sim/state: 50 Hz


class SimWorkplace(ManagedNode):
    """A robot at its table. Subclasses put the robot's own interface before its arms."""

    def __init__(self, robot: str, protocol: str) -> None:
        """
        Args:
            robot: name of the embodiment.
            protocol: that is used where no other is named.
        """
        super().__init__("sim_robot")
        self._robot = robot
        self._lock = threading.Lock()
        self._worker = self.worker("physics")
        self._late: deque[float] = deque(maxlen=1000)
        self._name = self.parameter("protocol", protocol)  # decides what lies there
        self.parameter("setting", "")  # of the protocol; its first one without it
        self._spread = self.parameter("spread_m", 0.0)  # of things from their places; 0: the protocol's
        self.parameter("seed", 0)
        self._state = self.create_publisher(JointState, "sim/state", RECORD)
        self.trigger("sim/reset", self._reset)
        self.trigger("sim/free", self._free)
        self.parameter("fault", "")  # setting it makes a fault happen; see `inject`
        self.add_on_set_parameters_callback(self._on_parameters)

    def before(self, now: float) -> None:
        """What the robot's controller does before the physics go on; `now` in s of the machine's steady clock."""

    def after(self, ticks: int) -> None:
        """What it tells after so many ticks."""

    def inject(self, fault: str) -> None:
        """Make a fault happen.

        Raises:
            SimulationError: there is no such fault; the message lists those there are.
        """
        raise SimulationError(f"the simulated {self._robot} has no faults, got '{fault}'")

    def make_world(self) -> World:
        """The physics."""
        return World(build_scene(self._robot, things_of(self._protocol)))

    def setup(self) -> None:
        self._protocol = load_protocol(self._name, config("trials")).widened(self._spread)
        if self._protocol.embodiment != self._robot:
            raise ConfigError(f"parameter 'protocol' must be one of the {self._robot}, got '{self._name}'")
        self._world = self.make_world()
        self._world.reset(self._layout())

    def begin(self) -> None:
        self._worker.start(self._run)

    def end(self) -> None:
        self._worker.stop()

    def status(self) -> dict[str, object]:
        late = [self._late.popleft() for _ in range(len(self._late))]
        return {"worst_tick_delay_ms": f"{1e3 * max(late, default=0.0):.1f}"}

    def _run(self) -> None:
        """Real time: as many ticks as have become due, each of the same length."""
        due = time.monotonic()
        ticks = 0
        while self._worker.running:
            with self._lock:
                self.before(due)
                self._world.step(TICK_S)
                state, velocity = self._world.state(), self._world.state_velocity()
            ticks += 1
            self.after(ticks)
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

    def _on_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "fault" and parameter.value:
                try:
                    self.inject(parameter.value)
                except SimulationError as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _reset(self) -> str:
        layout = self._layout()
        with self._lock:
            self._world.lay_out(layout)
        places = ", ".join(f"{name} ({x:.3f}, {y:.3f})" for name, (x, y, _) in layout.items())
        return f"seed {self.get_parameter('seed').value}: {places} m"

    def _free(self) -> str:
        with self._lock:
            self._world.free()
        return "every arm is where its servos pull it"

    def _layout(self) -> Layout:
        seed, name = self.get_parameter("seed").value, self.get_parameter("setting").value
        settings = self._protocol.settings
        if seed < 0:
            raise ConfigError(f"parameter 'seed' must be >= 0, got {seed}")
        if name and name not in settings:
            raise ConfigError(f"parameter 'setting' must be one of {', '.join(settings)}, got '{name}'")
        return draw_layout(self._protocol, settings[name or next(iter(settings))], seed)
