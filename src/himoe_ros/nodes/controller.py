"""The controller node: takes action chunks, moves a robot within its limits, tells where it is and why."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from ..control.driver import Driver
from ..control.drivers import make_collision_guard, make_driver
from ..control.loop import ControlLoop, Tick
from ..control.states import Mode
from ..core.chunk_source import SourceWatch
from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, DriverError, GuardError, HimoeError
from ..core.fingerprint import fingerprint
from ..core.messages import message_chunk
from ..core.observation import ActionChunk
from ..core.safety import load_safety
from ..resources import config
from .conversions import joint_message, message_source, pose_message, status_message, timing_message
from .managed import COMMAND, LATCHED, RECORD, ManagedNode, run
from .priority import go_first, goes_first

WATCH_PERIOD_S = 0.1  # how often the source of chunks and the state are looked at
STATE_PERIOD_S = 1.0  # how often an unchanged state is told again
STOP_WITHIN_S = 1.0  # a stop by the limits takes a fraction of it


class Controller(ManagedNode):
    """Glue around ControlLoop: one thread ticks, the executor's thread delivers chunks and services."""

    def __init__(self) -> None:
        super().__init__("controller")
        self._lock = threading.Lock()
        self._worker = self.worker("control loop")
        self._driver: Driver | None = None
        self._loop: ControlLoop | None = None
        self._counts = {"chunks": 0, "refused": 0, "commands": 0}
        self._chunk_ages: deque[float] = deque(maxlen=1000)
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._space_name = self.parameter("action_space", "end_effector")
        self._address = self.parameter("robot_ip", "")
        self._patience = self.parameter("connect_within_s", 10.0)
        self._check_collisions = self.parameter("collision_check", True)
        self._park_on_exit = self.parameter("park_on_exit", False)
        self._park_within = self.parameter("park_within_s", 10.0)
        self._speed_scale = self.parameter("speed_scale", 1.0)
        self._joints = self.create_publisher(JointState, "joint_states", RECORD)
        self._pose = self.create_publisher(PoseStamped, "eef_pose", RECORD)
        self._action = self.create_publisher(JointState, "action", RECORD)
        self._state = self.create_publisher(DiagnosticStatus, "controller/state", LATCHED)
        self._timing = self.create_publisher(DiagnosticStatus, "controller/chunk_timing", COMMAND)
        self._accepted = 0.0  # s after its stamp, the chunk that waits for its first command
        self._told_state: tuple[object, ...] = ()
        self._told_at = self._read_at = self._chunk_at = -math.inf  # s of the steady clock
        self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        self.create_subscription(DiagnosticStatus, "chunk_source", self._on_source, LATCHED)
        self.every(WATCH_PERIOD_S, self._watch)
        self.add_on_set_parameters_callback(self._on_parameters)
        for name in ("arm", "disarm", "stop", "home", "park"):
            self.trigger(f"controller/{name}", getattr(self, f"_{name}"))

    def setup(self) -> None:
        self._embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        self._safety = load_safety(config("safety.yaml"))
        if not self._address:
            raise ConfigError("parameter 'robot_ip' is missing: give the address of the robot's controller")
        self._driver = make_driver(self._embodiment, self._address)
        self._connect(self._driver)
        space = self._embodiment.action_space(self._space_name)
        self._collision = make_collision_guard(self._embodiment, space) if self._check_collisions else None
        self._source = SourceWatch(fingerprint(self._embodiment), space.name)
        loop = ControlLoop(self._driver, self._embodiment, space, self._safety)
        loop.set_speed_scale(self._speed_scale)
        self._loop = loop

    def begin(self) -> None:
        self._worker.start(self._run)

    def end(self) -> None:
        """Come to rest, parked where that is asked for, before the commands end."""
        if self._loop is not None and self._worker.running:
            if self._park_on_exit and self._loop.sending:
                with self._lock:
                    self._loop.park()
                self._wait_for_rest(self._park_within)
            with self._lock:
                if self._loop.sending:
                    self._loop.disarm("the controller was deactivated")
            self._wait_for_rest(STOP_WITHIN_S)
        self._worker.stop()

    def teardown(self) -> None:
        self._loop = None
        if self._driver is not None:
            self._driver.close()
            self._driver = None

    def status(self) -> dict[str, object]:
        ages = " ".join(f"{1e3 * self._chunk_ages.popleft():.1f}" for _ in range(len(self._chunk_ages)))
        if self._loop is None:
            return {"mode": "unconfigured"}
        if self._loop.mode is Mode.FAULTED:
            self.note(self._loop.reason)
        told = {"speed_scale": self._speed_scale, "first_command_ms": ages, "real_time": goes_first()}
        return {**self._depends_on(), **self._counts, **told}

    def _depends_on(self) -> dict[str, object]:
        """The mode and its reason, and the age in s of everything that motion depends on."""
        now = time.monotonic()
        ages = {"robot": now - self._read_at, "chunk": now - self._chunk_at, "chunk source": self._source.age(now)}
        if (source := self._source.source) is not None:
            ages |= {stream: age + self._source.age(now) for stream, age in source.ages.items()}
        told = {f"age_s {name}": f"{age:.2f}" for name, age in ages.items()}
        return {"mode": self._loop.mode.value, "reason": self._loop.reason, **told}

    def _connect(self, driver: Driver) -> None:
        """Try for a while: the robot's controller may still be starting."""
        deadline = time.monotonic() + self._patience
        while True:
            try:
                driver.connect()
                return
            except DriverError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def _run(self) -> None:
        """The control loop's thread."""
        period = 1.0 / self._embodiment.control_rate_hz
        due = time.monotonic()
        while self._worker.running:
            with self._lock:
                now = self.seconds_now()
                tick = self._loop.tick(now, time.monotonic())
            self._publish(tick, now)
            due = max(due + period, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _publish(self, tick: Tick, now: float) -> None:
        if tick.reading is None:
            return
        self._read_at = time.monotonic()
        if tick.reading.warning:
            self.note(tick.reading.warning)
        self._joints.publish(joint_message(self._embodiment.joint_names, tick.reading.positions, now))
        if self._embodiment.tells_tool:
            arm = self._embodiment.arms[0]
            joints = np.asarray(tick.reading.positions[: len(arm.joints)])
            self._pose.publish(pose_message(arm.forward(joints), now, "base"))
        if tick.command is not None:
            self._counts["commands"] += 1
            self._action.publish(joint_message(self._embodiment.joint_names, tick.command, now))
        if tick.chunk_age is not None:
            self._chunk_ages.append(tick.chunk_age)
            parts = {"transport": self._accepted, "first command": tick.chunk_age - self._accepted}
            self._timing.publish(timing_message(self.get_fully_qualified_name(), now - tick.chunk_age, parts))

    def _on_chunk(self, message: JointTrajectory) -> None:
        if self._loop is None or not self._worker.running:
            return
        self._counts["chunks"] += 1
        try:
            chunk = message_chunk(message)
            self._check_way(chunk)
            with self._lock:
                now = self.seconds_now()
                self._loop.accept(chunk, now, time.monotonic())
                self._accepted = now - chunk.stamp
            self._chunk_at = time.monotonic()
        except HimoeError as error:
            self._counts["refused"] += 1
            self.complain(error)

    def _check_way(self, chunk: ActionChunk) -> None:
        """On the executor's thread, without the lock: no tick waits for it, nor it for one. `accept` looks again."""
        if self._collision is None:
            return
        now, joints = self.seconds_now(), self._loop.command[: len(self._embodiment.arms[0].joints)]
        chunk = self._loop.examine(chunk, now)
        self._collision.check(chunk, joints, now)

    def _on_source(self, message: DiagnosticStatus) -> None:
        if self._loop is not None:
            self._source.tell(message_source(message), time.monotonic())

    def _watch(self) -> None:
        """On the executor's thread: asking who publishes takes long at times, and the control loop does not wait."""
        if self._loop is None:
            return
        self._look_at_endpoints()
        if not self._loop.sending:
            self._source.release()
        elif cause := self._source.lost(time.monotonic()):
            self._source.release()
            with self._lock:
                self._loop.disarm(cause)
            self.complain(GuardError(f"disarmed: {cause}"))
        self._tell_state()

    def _look_at_endpoints(self) -> None:
        topic = self.resolve_topic_name("action_chunk")
        self._source.see([bytes(p.endpoint_gid).hex() for p in self.get_publishers_info_by_topic(topic)])

    def _tell_state(self) -> None:
        state, now = (self._loop.mode, self._loop.reason), time.monotonic()
        if state == self._told_state and now - self._told_at < STATE_PERIOD_S:
            return
        self._told_state, self._told_at = state, now
        mode, reason = state
        message = status_message(self.get_fully_qualified_name(), "", self._depends_on())
        message.level = DiagnosticStatus.ERROR if mode is Mode.FAULTED else DiagnosticStatus.OK
        message.message = reason
        self._state.publish(message)

    def _wait_for_rest(self, within: float) -> None:
        deadline = time.monotonic() + within
        while self._loop.sending and time.monotonic() < deadline:
            time.sleep(0.02)

    def _on_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """What the node reads when it starts stays; the speed may be scaled while nothing moves."""
        try:
            for parameter in parameters:
                if parameter.name != "speed_scale":
                    raise ConfigError(
                        f"parameter '{parameter.name}' is read when the node starts; restart it to change"
                    )
                if self._loop is not None:
                    with self._lock:
                        self._loop.set_speed_scale(parameter.value)
                self._speed_scale = parameter.value
        except HimoeError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _arm(self) -> str:
        loop = self._active()
        with self._lock:
            loop.reconnect()  # a source is ready only once it knows where the robot is
        self._look_at_endpoints()
        if problems := self._source.problems(time.monotonic()):
            raise GuardError(f"not armed: {'; '.join(problems)}")
        with self._lock:
            loop.arm()
        self._source.trust()
        return "armed: the robot holds its place and follows chunks"

    def _home(self) -> str:
        loop = self._active()
        self._source.release()  # whoever sends chunks has no part in this
        with self._lock:
            loop.home()
        return "going home; disarmed there"

    def _park(self) -> str:
        loop = self._active()
        self._source.release()
        with self._lock:
            loop.park()
        return "going to park; disarmed there"

    def _disarm(self) -> str:
        with self._lock:
            self._active().disarm("disarmed by an operator")
        return "disarmed: slows down, then nothing is sent"

    def _stop(self) -> str:
        with self._lock:
            self._active().stop("stopped by an operator")
        return "stopped: the robot refuses motion until armed"

    def _active(self) -> ControlLoop:
        if self._loop is None or not self._worker.running:
            raise ConfigError("the controller is not active; configure and activate it first")
        return self._loop


def main() -> None:
    go_first()
    run(Controller)


if __name__ == "__main__":
    main()
