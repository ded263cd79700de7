"""What every node moved by a person shares: it publishes chunks as a policy does, and may stand before one.

With `over_policy` a policy's plans, on policy/action_chunk, pass through until the person takes over: so the controller
has one source of chunks, and does not notice the change but by a smooth turn of the motion. The policy behind is
watched as the controller would watch it: where it goes, changes or gets company, the robot is disarmed.
"""

from __future__ import annotations

import time
from collections import deque
from dataclasses import replace

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from ..control.states import FOLLOWING
from ..core.action_guard import check_chunk
from ..core.chunk_source import ChunkSource, SourceWatch
from ..core.embodiment import load_embodiment
from ..core.errors import GuardError, HimoeError, ObservationError
from ..core.fingerprint import fingerprint
from ..core.messages import message_chunk, seconds
from ..core.observation import ActionChunk, Floats, RobotState
from ..core.safety import load_safety
from ..core.unified import named_positions
from ..resources import config
from ..teleop.jog import Jog
from .conversions import chunk_message, message_source, source_message
from .managed import COMMAND, LATCHED, ManagedNode

FOLLOWS = frozenset(mode.value for mode in FOLLOWING)  # in which a controller takes chunks
VELOCITY_OVER_S = 0.05  # joint velocities are told over so long
SERVICE_WITHIN_S = 1.0  # nodes that have just started need a moment to find each other
WATCH_PERIOD_S = 0.1  # how often the policy behind is looked at
SERVICES = ("arm", "disarm", "stop", "home", "park")


class Teleop(ManagedNode):
    """Glue that all devices share. Everything runs on the executor's thread."""

    def __init__(self, name: str, rate_hz: float) -> None:
        super().__init__(name)
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._space_name = self.parameter("action_space", "end_effector")
        self._over_policy = self.parameter("over_policy", False)
        self._rate = self.parameter("rate_hz", rate_hz)
        self.human = not self._over_policy
        self.mode = "unknown"  # the controller's
        self._recent: deque[tuple[float, RobotState]] = deque()
        self._behind: SourceWatch | None = None  # of the policy
        self._passed: JointTrajectory | None = None  # the policy's newest plan that was passed on
        self._ready = False
        self._told_trouble = ""
        self._counts = {"chunks": 0, "passed on": 0}
        self._chunks = self.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._source = self.create_publisher(DiagnosticStatus, "chunk_source", LATCHED)
        self._intervention = self.create_publisher(Bool, "intervention", LATCHED)
        self._controller = {name: self.create_client(Trigger, f"controller/{name}") for name in SERVICES}
        self.create_subscription(JointState, "joint_states", self._on_joints, COMMAND)
        self.create_subscription(DiagnosticStatus, "controller/state", self._on_state, LATCHED)
        self.trigger("teleop/take", self.take)
        self.every(1.0, self._tell)
        if self._over_policy:
            self.every(WATCH_PERIOD_S, self._watch_policy)
        self.every(1.0 / self._rate, self._work)

    def plan(self, now: float) -> ActionChunk | None:
        """What the person wants now; None for nothing. A HimoeError tells why it cannot be."""
        raise NotImplementedError

    def trouble(self) -> str:
        """Why the robot may not follow the person now, in words, or ""."""
        return "" if self.state() is not None else "nothing received yet from joint_states"

    def read_device(self) -> None:
        """Called before every plan, also while the policy drives."""

    def setup(self) -> None:
        self.embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        self.space = self.embodiment.action_space(self._space_name)
        self._fingerprint = fingerprint(self.embodiment)
        self._max_age = load_safety(config("safety.yaml")).sensors.max_age_s
        if self._over_policy:
            self._behind = SourceWatch(self._fingerprint, self.space.name)
            self._inputs = [
                self.create_subscription(JointTrajectory, "policy/action_chunk", self._on_policy, COMMAND),
                self.create_subscription(DiagnosticStatus, "policy/chunk_source", self._on_policy_source, LATCHED),
            ]

    def begin(self) -> None:
        self._ready = True
        if self._over_policy:
            self._intervention.publish(Bool(data=self.human))
        self._tell()

    def end(self) -> None:
        self._ready = False

    def teardown(self) -> None:
        for subscription in self.__dict__.pop("_inputs", []):
            self.destroy_subscription(subscription)

    def status(self) -> dict[str, object]:
        return {"drives": "a person" if self.human else "the policy", **self._counts}

    def take(self) -> str:
        """The person takes over from the policy, or gives back to one that is well."""
        if not self._over_policy:
            raise HimoeError("there is no policy to take over from; start this node with over_policy:=true")
        if self.human and (problems := self._behind.problems(time.monotonic())):
            raise GuardError(f"the policy cannot take the robot back: {'; '.join(problems)}")
        self.human = not self.human
        self._intervention.publish(Bool(data=self.human))
        self._tell()
        return "a person drives" if self.human else "the policy drives"

    def passed_opening(self, now: float) -> float | None:
        """To what the policy's last plan sends the first arm's gripper now; None where none was passed on."""
        if self._passed is None:
            return None
        try:
            plan = check_chunk(message_chunk(self._passed), self.space)
        except GuardError:  # nor did the controller follow it
            return None
        openings = plan.values[:, self.space.names.index(self.embodiment.arms[0].gripper.name)]
        return float(np.interp(now - plan.stamp, plan.times, openings).clip(0.0, 1.0))

    def order(self, name: str) -> None:
        """Call one of the controller's services; its answer is told."""
        client = self._controller[name]
        if not client.wait_for_service(timeout_sec=SERVICE_WITHIN_S):
            return self.answer(f"controller/{name} is not there: is the controller running?")
        client.call_async(Trigger.Request()).add_done_callback(lambda future: self.answer(future.result().message))
        return None

    def answer(self, text: str) -> None:
        """Tell the person what became of an order."""
        self.get_logger().info(text)

    def state(self) -> RobotState | None:
        """Where the robot is; None where that is not known, or not any more."""
        if not self._recent or self.seconds_now() - self._recent[-1][0] > self._max_age:
            return None
        return self._recent[-1][1]

    def velocity(self) -> Floats:
        """(J,) rad/s, of the first arm's joints, over the last VELOCITY_OVER_S."""
        (begin, first), (end, last) = self._recent[0], self._recent[-1]
        joints = self.embodiment.arms[0].joints
        if end - begin < 1e-3:
            return np.zeros(len(joints))
        return np.array([(last.joints[j] - first.joints[j]) / (end - begin) for j in joints])

    def _work(self) -> None:
        if not self._ready:
            return
        try:
            self.read_device()
            chunk = self.plan(self.seconds_now()) if self.human else None
            if chunk is not None and self.mode in FOLLOWS:
                self._chunks.publish(chunk_message(chunk))
                self._counts["chunks"] += 1
        except HimoeError as error:
            self.complain(error)
        if self.human and self.trouble() != self._told_trouble:
            self._tell()

    def _tell(self) -> None:
        """About who drives: the person, or the policy behind."""
        if not self._ready:
            return
        device, self._told_trouble = self.get_name(), self.trouble()
        source = ChunkSource(self._fingerprint, self.space.name, device, self._told_trouble, {})
        if not self.human:
            behind = self._behind.source or source
            trouble = "; ".join(self._behind.problems(time.monotonic()))
            source = replace(behind, policy=f"{behind.policy}, with {device} before it", trouble=trouble)
        self._source.publish(source_message(self.get_fully_qualified_name(), source))

    def _watch_policy(self) -> None:
        if self._behind is None:
            return
        topic = self.resolve_topic_name("policy/action_chunk")
        self._behind.see([bytes(p.endpoint_gid).hex() for p in self.get_publishers_info_by_topic(topic)])
        if self.human or self.mode not in FOLLOWS:
            self._behind.release()
            return
        now = time.monotonic()
        causes = [self._behind.lost(now)] if self._behind.trusted else self._behind.problems(now)
        if not any(causes):
            if not self._behind.trusted:
                self._behind.trust()
            return
        self._behind.release()
        self.order("disarm")
        self.complain(GuardError(f"disarmed: {'; '.join(causes)}"))

    def _on_policy(self, message: JointTrajectory) -> None:
        if self._ready and not self.human and self._behind.trusted:
            self._chunks.publish(message)
            self._passed = message
            self._counts["passed on"] += 1

    def _on_policy_source(self, message: DiagnosticStatus) -> None:
        self._behind.tell(message_source(message), time.monotonic())

    def _on_state(self, message: DiagnosticStatus) -> None:
        self.mode = {v.key: v.value for v in message.values}["mode"]

    def _on_joints(self, message: JointState) -> None:
        if not self._ready:
            return
        stamp = seconds(message.header.stamp)
        try:
            positions = named_positions(message.name, message.position, self.embodiment.joint_names)
        except ObservationError as error:
            self.complain(error)
            return
        if self._recent and stamp <= self._recent[-1][0]:
            self._recent.clear()  # the clock has jumped
        self._recent.append((stamp, RobotState(positions)))
        while self._recent[0][0] < stamp - VELOCITY_OVER_S:
            self._recent.popleft()


class JogTeleop(Teleop):
    """A device that moves the tool's target, a Jog."""

    def __init__(self, name: str, rate_hz: float) -> None:
        super().__init__(name, rate_hz)
        self.jog: Jog | None = None
        self._driving = False

    def setup(self) -> None:
        super().setup()
        self.jog = Jog(self.embodiment, self.space)

    def obey(self, order: str) -> None:
        """What a key or button asks for beside motion."""
        if order == "gripper":
            self.jog.toggle_gripper()
        elif order == "take":
            self.answer(self.take())
        else:
            self.order(order)

    def hand(self) -> None:
        """Move the jog's target as the device asks."""
        raise NotImplementedError

    def plan(self, now: float) -> ActionChunk | None:
        """Begins anew where the robot is whenever it did not follow this device before."""
        state = self.state()
        if state is None:
            raise ObservationError(self.trouble())
        if not self._driving or self.mode != "running":
            opening = self.jog.opening if self._driving else self.passed_opening(now)
            self.jog.anchor(state, self.velocity())
            if opening is not None and self.mode in FOLLOWS:
                self.jog.opening = opening
            self._driving = True
        else:
            self.jog.follow(state)
        self.hand()
        return self.jog.plan(now)

    def take(self) -> str:
        self._driving = False
        return super().take()
