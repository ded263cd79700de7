"""The simulation's scripted expert at the place of a policy or a person: it sees true poses, as no robot does.

It looks ten times a second and plans as far as it then knows, as a person would; or it tells long plans, with
`steps`, by the ways of execution that a model has, and as late as one likes.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ..core.errors import ConfigError, ObservationError
from ..core.execution import Execution, Scheduler
from ..core.messages import seconds
from ..core.observation import ActionChunk
from ..core.safety import first_step, load_safety
from ..resources import config
from ..teleop.tool import tools_chunk
from ..trials.protocol import load_protocol
from ..trials.truth import truth_from_state
from .conversions import chunk_message
from .managed import COMMAND, LATCHED, run
from .teleop import FOLLOWS, Teleop

DELIVER_S = 0.01  # how often it is looked whether a long plan is due


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
        self._expert = self._long = None

    def setup(self) -> None:
        super().setup()
        # MuJoCo loads its drawing library when imported, and the simulator's room does.
        from ..rollout.expert_task import OneHand, scripted  # noqa: PLC0415
        from ..rollout.long_plans import LongPlans  # noqa: PLC0415
        from ..sim.expert import STEP_S  # noqa: PLC0415

        self._plan_step = STEP_S
        protocol = load_protocol(self._name, config("trials"))
        self._asked = {
            s.instruction: partial(scripted, self.embodiment, protocol, s, self._rng)
            for s in protocol.settings.values()
        }
        if self._steps:
            if not all(isinstance(make(), OneHand) for make in self._asked.values()):
                raise ConfigError(f"{self._name}: the expert of two arms knows no long plans; leave out 'steps'")
            reach = first_step(load_safety(config("safety.yaml")), self.embodiment, self.space)
            scheduler = Scheduler(self.space, self._execution, self._period, reach)
            self._long = LongPlans(self.embodiment, self.space, scheduler, self._steps, self._latency)
            self.every(DELIVER_S, self._deliver)
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
        if self._long is not None:
            self._long.begin(self._expert, things, joints, now)
            return None
        rows = self._expert.plan(things, joints)
        times = self._plan_step * np.arange(1, len(rows) + 1)
        return tools_chunk(self.embodiment, self.space, joints, rows, times, now)

    def _deliver(self) -> None:
        """Tell a long plan once it is due."""
        if not self.human or self.mode not in FOLLOWS:
            self._long.forget()
        elif (plan := self._long.told(self.seconds_now())) is not None:
            self._chunks.publish(chunk_message(plan))
            self._counts["chunks"] += 1

    def _on_world(self, message: JointState) -> None:
        self._world = message

    def _on_instruction(self, message: String) -> None:
        self._instruction, self._expert = message.data, None
        if self._long is not None:
            self._long.forget()


def main() -> None:
    run(SimExpert)


if __name__ == "__main__":
    main()
