"""The controller node: takes action chunks, moves a robot within its limits, tells where it is."""

from __future__ import annotations

import threading
import time
from collections import deque

import numpy as np
from geometry_msgs.msg import PoseStamped
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from ..control.driver import Driver
from ..control.loop import ControlLoop, Mode, Tick
from ..core.embodiment import Embodiment, load_embodiment
from ..core.errors import ConfigError, DriverError, HimoeError
from ..core.safety import load_safety
from ..resources import config
from .conversions import joint_message, message_chunk, pose_message
from .managed import COMMAND, RECORD, ManagedNode, run
from .worker import Worker


def make_driver(embodiment: Embodiment, address: str) -> Driver:
    """The driver an embodiment names; imported only here, so a machine needs one vendor's SDK alone."""
    if embodiment.driver == "xarm7":
        from ..control.xarm7 import XArm7Driver  # noqa: PLC0415

        return XArm7Driver(address, embodiment)
    raise ConfigError(f"embodiment '{embodiment.name}' names driver '{embodiment.driver}'; there is: xarm7")


class Controller(ManagedNode):
    """Glue around ControlLoop: one thread ticks, the executor's thread delivers chunks and services."""

    def __init__(self) -> None:
        super().__init__("controller")
        self._lock = threading.Lock()
        self._worker = Worker("control loop")
        self._driver: Driver | None = None
        self._loop: ControlLoop | None = None
        self._counts = {"chunks": 0, "refused": 0, "commands": 0}
        self._chunk_ages: deque[float] = deque(maxlen=1000)
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._space_name = self.parameter("action_space", "end_effector")
        self._address = self.parameter("robot_ip", "")
        self._patience = self.parameter("connect_within_s", 10.0)
        self._joints = self.create_publisher(JointState, "joint_states", RECORD)
        self._pose = self.create_publisher(PoseStamped, "eef_pose", RECORD)
        self._action = self.create_publisher(JointState, "action", RECORD)
        self.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        self.trigger("controller/arm", self._arm)
        self.trigger("controller/disarm", self._disarm)
        self.trigger("controller/stop", self._stop)
        self.trigger("controller/home", self._home)

    def setup(self) -> None:
        self._embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        self._safety = load_safety(config("safety.yaml"))
        if not self._address:
            raise ConfigError("parameter 'robot_ip' is missing: give the address of the robot's controller")
        self._driver = make_driver(self._embodiment, self._address)
        self._connect(self._driver)
        space = self._embodiment.action_space(self._space_name)
        self._loop = ControlLoop(self._driver, self._embodiment, space, self._safety)

    def begin(self) -> None:
        self._worker.start(self._run)

    def end(self) -> None:
        self._worker.stop()
        if self._loop is not None and self._loop.mode is not Mode.DISARMED:
            self._loop.disarm("the controller was deactivated")

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
        return {"mode": self._loop.mode.value, "reason": self._loop.reason, **self._counts, "first_command_ms": ages}

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
        period = 1.0 / self._safety.control_rate_hz
        due = time.monotonic()
        while self._worker.running:
            with self._lock:
                now = self.seconds_now()
                tick = self._loop.tick(now, time.monotonic())
            self._publish(tick, now)
            due = max(due + period, time.monotonic() - period)
            time.sleep(max(0.0, due - time.monotonic()))

    def _publish(self, tick: Tick, now: float) -> None:
        if tick.reading is None:
            return
        if tick.reading.warning:
            self.note(tick.reading.warning)
        self._joints.publish(joint_message(self._embodiment.joint_names, tick.reading.positions, now))
        arm = self._embodiment.arms[0]
        if arm.chain is not None:
            joints = np.asarray(tick.reading.positions[: len(arm.joints)])
            self._pose.publish(pose_message(arm.chain.forward(joints), now, "base"))
        if tick.command is not None:
            self._counts["commands"] += 1
            self._action.publish(joint_message(self._embodiment.joint_names, tick.command, now))
        if tick.chunk_age is not None:
            self._chunk_ages.append(tick.chunk_age)

    def _on_chunk(self, message: JointTrajectory) -> None:
        if self._loop is None or not self._worker.running:
            return
        self._counts["chunks"] += 1
        try:
            chunk = message_chunk(message)
            with self._lock:
                self._loop.accept(chunk, self.seconds_now(), time.monotonic())
        except HimoeError as error:
            self._counts["refused"] += 1
            self.complain(error)

    def _arm(self) -> str:
        with self._lock:
            self._active().arm()
        return "armed: the robot holds its place and follows chunks"

    def _home(self) -> str:
        with self._lock:
            self._active().home()
        return "going home"

    def _disarm(self) -> str:
        with self._lock:
            self._active().disarm("disarmed by an operator")
        return "disarmed: nothing is sent"

    def _stop(self) -> str:
        with self._lock:
            self._active().stop("stopped by an operator")
        return "stopped: the robot refuses motion until armed"

    def _active(self) -> ControlLoop:
        if self._loop is None or not self._worker.running:
            raise ConfigError("the controller is not active; configure and activate it first")
        return self._loop


def main() -> None:
    run(Controller)


if __name__ == "__main__":
    main()
