"""The simulation's scripted expert at the place of a policy or a person: it sees true poses, as no robot does.

It looks ten times a second and plans as far as it then knows, as a person would; or it tells long plans as a model
does, with `steps`, by the same ways of execution and as late as one likes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ..core.committed import Committed, resampled
from ..core.embodiment import END_EFFECTOR
from ..core.errors import ConfigError, ObservationError
from ..core.execution import Execution, Planning, Scheduler
from ..core.messages import seconds
from ..core.observation import ActionChunk, Floats, RobotState
from ..core.safety import first_step, load_safety
from ..core.unified import decode_state, encode_state, scatter
from ..resources import config
from ..teleop.tool import tools_chunk
from ..trials.protocol import load_protocol
from ..trials.truth import Pose, truth_from_state
from .conversions import chunk_message
from .managed import COMMAND, LATCHED, run
from .teleop import FOLLOWS, Teleop

STEPS_HZ = 30.0  # of long plans
DELIVER_S = 0.01  # how often it is looked whether a long plan is due


@dataclass(frozen=True)
class _Made:
    """A long plan, and the time, s, at which it is told."""

    planning: Planning
    plan: ActionChunk
    due: float


class SimExpert(Teleop):
    """A new instruction begins a new episode, with a manner of its own."""

    def __init__(self) -> None:
        super().__init__("sim_expert", rate_hz=10.0)
        self._rng = np.random.default_rng(self.parameter("seed", 0))
        self._name = self.require("protocol", "a protocol of config/trials")
        self._steps = self.parameter("steps", 0)
        self._execution = Execution.named(self.parameter("execution", Execution.ASYNCHRONOUS.value))
        self._period = self.parameter("replan_period_s", 0.5)
        self._latency = self.parameter("added_latency_s", 0.0)
        self._instruction = ""
        self._world: JointState | None = None
        self._expert = None
        self._made: _Made | None = None
        if self._steps:
            self.every(DELIVER_S, self._deliver)

    def setup(self) -> None:
        super().setup()
        # MuJoCo loads its drawing library when imported, and the simulator's room does.
        from ..sim.expert import STEP_S  # noqa: PLC0415
        from .expert_task import OneHand, scripted  # noqa: PLC0415

        self._plan_step = STEP_S
        protocol = load_protocol(self._name, config("trials"))
        self._asked = {
            s.instruction: partial(scripted, self.embodiment, protocol, s, self._rng)
            for s in protocol.settings.values()
        }
        if self._steps and not all(isinstance(make(), OneHand) for make in self._asked.values()):
            raise ConfigError(f"{self._name}: the expert of two arms knows no long plans; leave out 'steps'")
        reach = first_step(load_safety(config("safety.yaml")), self.embodiment, self.space)
        self._scheduler = Scheduler(self.space, self._execution, self._period, reach)
        self.create_subscription(JointState, "sim/state", self._on_world, COMMAND)
        self.create_subscription(String, "instruction", self._on_instruction, LATCHED)

    def trouble(self) -> str:
        if self._world is None:
            return "nothing received yet from sim/state"
        if self._instruction not in self._asked:
            return f"expected an instruction out of {sorted(self._asked)}, got '{self._instruction}'"
        return super().trouble()

    def plan(self, now: float) -> ActionChunk | None:
        if problem := self.trouble():
            raise ObservationError(problem)
        message, joints = self._world, self.state().joints
        if self._expert is None:
            self._expert = self._asked[self._instruction]()
        stamp, arms = seconds(message.header.stamp), self.embodiment.arms
        things = truth_from_state(stamp, arms, message.name, message.position, message.velocity).things
        rows = self._expert.plan(things, joints)
        if self._steps:
            self._begin(things, joints, now)
            return None
        times = self._plan_step * np.arange(1, len(rows) + 1)
        return tools_chunk(self.embodiment, self.space, joints, rows, times, now)

    def _begin(self, things: dict[str, Pose], joints: dict[str, float], now: float) -> None:
        """Begin a long plan where one is due."""
        if self._made is not None or now < self._scheduler.due(now):
            return
        arm = self.embodiment.arms[0]
        pose = arm.forward(np.array([joints[joint] for joint in arm.joints]))
        where = encode_state(self.embodiment, self.space, RobotState(joints, pose))[self.space.slots]
        planning = self._scheduler.begin(now, where, now)
        if planning is not None:
            plan = self._foreseen(things, joints, planning.committed, now)
            self._made = _Made(planning, plan, now + self._latency)

    def _foreseen(
        self, things: dict[str, Pose], joints: dict[str, float], committed: Committed | None, now: float
    ) -> ActionChunk:
        times = np.arange(1, self._steps + 1) / STEPS_HZ
        coarse = self._plan_step * np.arange(int(np.ceil(times[-1] / self._plan_step - 1e-9)) + 1)
        certain = np.empty((0, 7))
        if committed is not None:
            told = now + coarse[1:][now + coarse[1:] <= committed.until]
            if len(told):
                certain = np.array([self._hand(row) for row in committed.steps(self.space, told)])
        rows = self._expert.foresee(things, joints, len(coarse) - 1, certain)
        targets = self._expert.targets(np.vstack([self._expert.hand(joints), rows]))
        plan = tools_chunk(self.embodiment, self.space, joints, targets, coarse, now)
        return ActionChunk(now, plan.names, resampled(plan, self.space, now + times), times)

    def _hand(self, row: Floats) -> Floats:
        """(N,) in the order of the action space -> (7,) tool and opening."""
        arm = self.embodiment.arms[0]
        state = decode_state(self.embodiment, self.space, scatter(self.space, row))
        if self.space.names[0] in END_EFFECTOR:
            return np.append(row[: len(END_EFFECTOR)], arm.gripper.opening(state.joints[arm.gripper.joint]))
        return self._expert.hand(state.joints)

    def _deliver(self) -> None:
        """Tell a long plan once it is due."""
        made, now = self._made, self.seconds_now()
        if made is None or now < made.due:
            return
        self._made = None
        if not self.human or self.mode not in FOLLOWS:
            self._scheduler.forget()
        elif (plan := self._scheduler.finish(made.planning, made.plan, now)) is not None:
            self._chunks.publish(chunk_message(plan))
            self._counts["chunks"] += 1

    def _on_world(self, message: JointState) -> None:
        self._world = message

    def _on_instruction(self, message: String) -> None:
        self._instruction, self._expert, self._made = message.data, None, None
        self._scheduler.forget()


def main() -> None:
    run(SimExpert)


if __name__ == "__main__":
    main()
