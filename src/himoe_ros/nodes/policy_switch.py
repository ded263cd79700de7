"""Lets one of several policies drive: the controller has one source of plans, and the others rest meanwhile."""

from __future__ import annotations

import functools

from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.publisher import Publisher
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from ..core.errors import ConfigError
from .managed import COMMAND, LATCHED, ManagedNode, run


class PolicySwitch(ManagedNode):
    """Passes on, as they come, plans of the policy that `trials/policy` names; only that one hears the instruction."""

    def __init__(self) -> None:
        super().__init__("policy_switch")
        self._labels = self.require("labels", "the policies' labels, commas between").split(",")
        self._driving, self._instruction = "", ""
        self._told: dict[str, bytes] = {}  # label -> what it last told about itself
        self._chunks = self.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._source = self.create_publisher(DiagnosticStatus, "chunk_source", LATCHED)
        self._instructions: dict[str, Publisher] = {}

    def setup(self) -> None:
        for label in self._labels:
            own = f"policies/{label}"
            self._instructions[label] = self.create_publisher(String, f"{own}/instruction", LATCHED)
            on_chunk, on_source = (functools.partial(f, label) for f in (self._on_chunk, self._on_source))
            self.create_subscription(JointTrajectory, f"{own}/action_chunk", on_chunk, COMMAND, raw=True)
            self.create_subscription(DiagnosticStatus, f"{own}/chunk_source", on_source, LATCHED, raw=True)
        self.create_subscription(String, "trials/policy", self._on_policy, LATCHED)
        self.create_subscription(String, "instruction", self._on_instruction, LATCHED)

    def status(self) -> dict[str, object]:
        return {"drives": self._driving}

    def _on_policy(self, message: String) -> None:
        if message.data not in self._labels:
            self.complain(ConfigError(f"expected one of the policies {self._labels}, got '{message.data}'"))
            return
        self._driving = message.data
        self._tell_instruction()
        if self._driving in self._told:
            self._source.publish(self._told[self._driving])

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data
        self._tell_instruction()

    def _tell_instruction(self) -> None:
        for label, publisher in self._instructions.items():
            publisher.publish(String(data=self._instruction if label == self._driving else ""))

    def _on_chunk(self, label: str, data: bytes) -> None:
        if label == self._driving:
            self._chunks.publish(data)

    def _on_source(self, label: str, data: bytes) -> None:
        self._told[label] = data
        if label == self._driving:
            self._source.publish(data)


def main() -> None:
    run(PolicySwitch)


if __name__ == "__main__":
    main()
