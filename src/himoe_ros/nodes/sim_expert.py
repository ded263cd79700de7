"""The simulation's scripted expert at the place of a policy or a person: it sees true poses, as no robot does."""

from __future__ import annotations

from functools import partial

import numpy as np
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from ..core.errors import ObservationError
from ..core.messages import seconds
from ..core.observation import ActionChunk
from ..resources import config
from ..teleop.tool import tools_chunk
from ..trials.protocol import load_protocol
from ..trials.truth import truth_from_state
from .managed import COMMAND, LATCHED, run
from .teleop import Teleop


class SimExpert(Teleop):
    """A new instruction begins a new episode, with a manner of its own."""

    def __init__(self) -> None:
        super().__init__("sim_expert", rate_hz=10.0)
        self._rng = np.random.default_rng(self.parameter("seed", 0))
        self._name = self.require("protocol", "a protocol of config/trials")
        self._instruction = ""
        self._world: JointState | None = None
        self._expert = None

    def setup(self) -> None:
        super().setup()
        # MuJoCo loads its drawing library when imported, and the simulator's room does.
        from ..sim.expert import STEP_S  # noqa: PLC0415
        from .expert_task import scripted  # noqa: PLC0415

        self._plan_step = STEP_S
        protocol = load_protocol(self._name, config("trials"))
        self._asked = {
            s.instruction: partial(scripted, self.embodiment, protocol, s, self._rng)
            for s in protocol.settings.values()
        }
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
        times = self._plan_step * np.arange(1, len(rows) + 1)
        return tools_chunk(self.embodiment, self.space, joints, rows, times, now)

    def _on_world(self, message: JointState) -> None:
        self._world = message

    def _on_instruction(self, message: String) -> None:
        self._instruction, self._expert = message.data, None


def main() -> None:
    run(SimExpert)


if __name__ == "__main__":
    main()
