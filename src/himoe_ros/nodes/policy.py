"""The policy node: cameras and robot state in, action chunks out."""

from __future__ import annotations

import functools
import threading
import time
from collections import deque
from collections.abc import Sequence

import torch
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float32MultiArray, String
from trajectory_msgs.msg import JointTrajectory

from ..core.chunk_source import ChunkSource
from ..core.clock_watch import ClockWatch
from ..core.embodiment import END_EFFECTOR, ActionSpace, load_embodiment
from ..core.errors import ConfigError, HimoeError, ObservationError
from ..core.execution import Execution, Scheduler
from ..core.fingerprint import fingerprint
from ..core.messages import pose_array, seconds
from ..core.observation import Observation
from ..core.safety import first_step, load_safety
from ..core.synchronizer import Synchronizer
from ..core.unified import encode_state, named_positions
from ..policy.device import chosen_device
from ..policy.local import load_policy, untrained_policy
from ..policy.policy import Policy
from ..policy.remote import SCHEMES, RemotePolicy
from ..policy.stopwatch import Stopwatch
from ..policy.wire import read_token
from ..resources import config, is_preset, policy_place
from .conversions import chunk_message, image_array, source_message, timing_message, unified_message
from .managed import COMMAND, LATCHED, RECORD, SENSOR, ManagedNode, run
from .priority import PLANS, go_first, take_turns

RETRY_S = 0.02  # while the robot comes to rest
LOOK_S = 0.02  # between two looks for a fresh observation, where no image comes
BUSY = 0.5  # share of the time that planning may take from others
ARRIVALS = 20  # images whose times of arrival are remembered


class PolicyNode(ManagedNode):
    """Glue around a Policy: the executor's thread fills the synchronizer, another runs the model."""

    def __init__(self) -> None:
        super().__init__("policy")
        self._lock = threading.Condition()  # notified of images
        self._worker = self.worker("policy")
        self._policy: Policy | None = None
        self._instruction = ""
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._space_name = self.parameter("action_space", "end_effector")
        self._name = self.parameter("policy", "himoe_small")
        self._seed = self.parameter("seed", 0)
        self._period = self.parameter("replan_period_s", 0.5)
        self._execution = Execution.named(self.parameter("execution", Execution.ASYNCHRONOUS.value))
        self._added_latency = self.parameter("added_latency_s", 0.0)
        self._threads = self.parameter("torch_threads", 1)
        self._device = self.parameter("device", "")
        self._expert_weights = self.parameter("expert_weights", "")
        self._token_file = self.parameter("policy_token_file", "")
        self._unified = self.create_publisher(Float32MultiArray, "unified_state", COMMAND)
        self._chunks = self.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._source = self.create_publisher(DiagnosticStatus, "chunk_source", LATCHED)
        self._timing = self.create_publisher(DiagnosticStatus, "chunk_timing", COMMAND)
        self._arrivals: deque[tuple[float, float]] = deque(maxlen=ARRIVALS)  # of the reference camera's images
        self._planning_trouble = ""
        self._counts = {"chunks": 0}
        self._scheduler: Scheduler | None = None
        self.add_on_set_parameters_callback(self._on_parameters)
        self.every(1.0, self._tell)

    def setup(self) -> None:
        torch.set_num_threads(self._threads)
        self._embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        space = self._embodiment.action_space(self._space_name)
        self._policy = self._make_policy(space)
        self._policy.warm_up()
        self.get_logger().info(f"policy ready: {self._policy.description}")
        cameras = {camera.name: camera for camera in self._embodiment.cameras}
        needs_eef = space.names[0] in END_EFFECTOR
        safety = load_safety(config("safety.yaml"))
        reach = first_step(safety, self._embodiment, space)
        self._scheduler = Scheduler(space, self._execution, self._period, reach)
        self._synchronizer = Synchronizer(list(cameras), needs_eef, safety.sensors)
        self._patience = safety.sensors.max_age_s
        self._clock_watch = ClockWatch(safety.clock_tolerance_s)
        self._fingerprint = fingerprint(self._embodiment)
        self._counts |= {f"images {name}": 0 for name in cameras}
        self._inputs = [
            self.create_subscription(Image, camera.topic, functools.partial(self._on_image, name), SENSOR)
            for name, camera in cameras.items()
        ]
        self._inputs.append(self.create_subscription(JointState, "joint_states", self._on_joints, RECORD))
        if needs_eef:
            self._inputs.append(self.create_subscription(PoseStamped, "eef_pose", self._on_pose, RECORD))
        self._inputs.append(self.create_subscription(String, "instruction", self._on_instruction, LATCHED))

    def begin(self) -> None:
        self._worker.start(self._run)

    def end(self) -> None:
        self._worker.stop()

    def teardown(self) -> None:
        if isinstance(self._policy, RemotePolicy):
            self._policy.close()
        self._policy = None
        for subscription in self.__dict__.pop("_inputs", []):
            self.destroy_subscription(subscription)

    def status(self) -> dict[str, object]:
        description = self._policy.description if self._policy else "unconfigured"
        told = {"policy": description, "instruction": self._instruction, "execution": self._execution.value}
        if self._scheduler is not None:
            told["latency_s"] = f"{self._scheduler.latency:.3f}"
        return {**told, **self._counts}

    def _make_policy(self, space: ActionSpace) -> Policy:
        """One of ours, a policy folder or Hugging Face name, or a server's; a preset's name means untrained weights."""
        if self._name.startswith(SCHEMES):
            return RemotePolicy(self._name, self._embodiment, space, read_token(self._token_file))
        where = chosen_device(self._device), self._expert_weights
        if is_preset(self._name):
            return untrained_policy(self._name, config("models"), self._embodiment, space, self._seed, *where)
        return load_policy(policy_place(self._name), self._embodiment, space, *where)

    def _run(self) -> None:
        scheduler = self._scheduler
        take_turns()
        while self._worker.running:
            if scheduler.execution is not self._execution:
                scheduler.switch(self._execution)
            wait = self._period
            try:
                began = self._plan(self._policy)
                self._planning_trouble = ""
                now = self.seconds_now()
                wait = min(wait, max(0.0, scheduler.due(now) - now)) if began else RETRY_S
            except ObservationError as error:
                self.complain(error)
            except HimoeError as error:
                self._planning_trouble = str(error)
                self.complain(error)
            time.sleep(wait)

    def _plan(self, policy: Policy) -> bool:
        """Make and publish a plan; False where that has to wait for the robot to come to rest."""
        observation, arrived = self._fresh_observation()
        scheduler, now, watch = self._scheduler, self.seconds_now(), Stopwatch(time.monotonic)
        values = encode_state(self._embodiment, policy.space, observation.state)
        self._unified.publish(unified_message(values, policy.space.mask))
        if not observation.instruction:
            raise ObservationError("no instruction yet: publish one on 'instruction'")
        planning = scheduler.begin(observation.stamp, values[policy.space.slots], now)
        if planning is None:
            return False
        watch.mark("observation")
        used = time.thread_time()
        plan = policy.act(observation, planning.committed)
        used = time.thread_time() - used
        watch.mark("policy")
        time.sleep(self._added_latency)
        watch.mark("added")
        if (plan := scheduler.finish(planning, plan, self.seconds_now())) is not None:
            self._chunks.publish(chunk_message(plan))
            watch.mark("publication")
            self._counts["chunks"] += 1
            parts = {"image": arrived - observation.stamp, "waiting": now - arrived}
            parts |= {"observation": watch.took["observation"], **policy.took}
            parts |= {name: watch.took[name] for name in ("added", "publication")}
            self._timing.publish(timing_message(self.get_fully_qualified_name(), observation.stamp, parts))
        # A robot waits for this thread, but others want the core, too.
        go_first(PLANS) if used < BUSY * self._period else take_turns()
        return True

    def _fresh_observation(self) -> tuple[Observation, float]:
        """The next observation to come, and when its first image came: one that has waited shows where the robot was.

        Without a next one within the age that one may have, the last one, or why there is none.
        """
        last, deadline = None, time.monotonic() + self._patience
        with self._lock:
            while True:
                late = time.monotonic() > deadline or not self._worker.running
                try:
                    self._follow_clock()
                    now = self.seconds_now()
                    observation = self._synchronizer.observation(now, self._instruction)
                    if late or (last is not None and observation.stamp > last):
                        return observation, dict(self._arrivals).get(observation.stamp, now)
                    last = observation.stamp
                except ObservationError:
                    if late or last is None:
                        raise
                self._lock.wait(LOOK_S)

    def _follow_clock(self) -> None:
        """What was received by a clock that then jumped or stood still says nothing about now."""
        if trouble := self._clock_watch.look(self.seconds_now(), time.monotonic()):
            self._synchronizer.clear()
            self._scheduler.forget()
            raise ObservationError(f"{trouble}; everything received before is dropped")

    def _tell(self) -> None:
        """Tell the controller who plans here, for which robot, and whether it could plan now."""
        if self._policy is None or not self._worker.running:
            return
        now = self.seconds_now()
        with self._lock:
            ages = self._synchronizer.ages(now)
            trouble = self._clock_watch.trouble or self._planning_trouble
            try:
                self._synchronizer.observation(now, self._instruction)
            except ObservationError as error:
                trouble = trouble or str(error)
        source = ChunkSource(self._fingerprint, self._policy.space.name, self._policy.description, trouble, ages)
        self._source.publish(source_message(self.get_fully_qualified_name(), source))

    def _on_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        """The way of execution may be changed at any time."""
        try:
            for parameter in parameters:
                if parameter.name == "execution":
                    self._execution = Execution.named(parameter.value)
        except ConfigError as error:
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_image(self, camera: str, message: Image) -> None:
        self._counts[f"images {camera}"] += 1
        try:
            image = image_array(message)
            with self._lock:
                stamp, now = seconds(message.header.stamp), self.seconds_now()
                self._synchronizer.push_image(camera, stamp, image, now)
                self._lock.notify_all()
                if camera == self._embodiment.cameras[0].name:
                    self._arrivals.append((stamp, now))
        except ObservationError as error:
            self.complain(ObservationError(f"camera '{camera}': {error}"))

    def _on_joints(self, message: JointState) -> None:
        try:
            positions = named_positions(message.name, message.position, self._embodiment.joint_names)
            with self._lock:
                self._synchronizer.push_joints(seconds(message.header.stamp), positions, self.seconds_now())
        except ObservationError as error:
            self.complain(error)

    def _on_pose(self, message: PoseStamped) -> None:
        try:
            pose = pose_array(message)
            with self._lock:
                self._synchronizer.push_eef(seconds(message.header.stamp), pose, self.seconds_now())
        except ObservationError as error:
            self.complain(error)

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data


def main() -> None:
    go_first(PLANS)
    run(PolicyNode)


if __name__ == "__main__":
    main()
