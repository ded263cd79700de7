"""The policy node, which writes down every observation that it plans from (parameter `observations`: a folder)."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np

from himoe_ros.core.committed import Committed
from himoe_ros.core.embodiment import ActionSpace
from himoe_ros.core.observation import ActionChunk, Observation
from himoe_ros.core.unified import encode_state
from himoe_ros.nodes.managed import run
from himoe_ros.nodes.policy import PolicyNode
from himoe_ros.policy.policy import Policy


class TellingPolicyNode(PolicyNode):
    def __init__(self) -> None:
        super().__init__()
        self._observations = Path(self.require("observations", "a folder"))

    def _make_policy(self, space: ActionSpace) -> Policy:
        policy = super()._make_policy(space)
        answer, numbers = policy.act, itertools.count()

        def act(observation: Observation, committed: Committed | None = None) -> ActionChunk:
            if observation.instruction != "warm up":
                values = encode_state(self._embodiment, space, observation.state)
                told = {"stamp": observation.stamp, "values": values, "mask": space.mask, **observation.images}
                name = f"{round(observation.stamp * 1e6)}_{next(numbers):06d}"
                with (self._observations / name).open("wb") as file:
                    np.savez(file, **told)
                (self._observations / name).rename(self._observations / f"{name}.npz")  # nobody reads half a file
            return answer(observation, committed)

        policy.act = act
        return policy


if __name__ == "__main__":
    run(TellingPolicyNode)
