"""The policy node with a model that, while the parameter `starve` is true, asks for more memory than there is."""

from __future__ import annotations

import torch
from rclpy.parameter import Parameter

from himoe_ros.core.embodiment import ActionSpace
from himoe_ros.nodes.managed import run
from himoe_ros.nodes.policy import PolicyNode
from himoe_ros.policy.policy import Policy


class StarvingPolicyNode(PolicyNode):
    def __init__(self) -> None:
        super().__init__()
        self.parameter("starve", False)
        self.parameter("starved", 0)  # how often memory has run out

    def _make_policy(self, space: ActionSpace) -> Policy:
        policy = super()._make_policy(space)
        answer = policy._model.sample_actions

        def sample(*arguments) -> torch.Tensor:
            if self.get_parameter("starve").value:
                count = self.get_parameter("starved").value + 1
                self.set_parameters([Parameter("starved", value=count)])
                torch.empty(1 << 50)  # no machine has it: the allocator raises what it would for a large model
            return answer(*arguments)

        policy._model.sample_actions = sample
        return policy


if __name__ == "__main__":
    run(StarvingPolicyNode)
