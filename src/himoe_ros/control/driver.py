"""What the control loop needs of a robot; the same for every arm, real or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ..core.observation import Floats


@dataclass(frozen=True)
class Reading:
    """The robot at one instant; vectors follow `Embodiment.joint_names`, grippers included.

    Attributes:
        positions: (N,) rad (m for prismatic joints).
        fault: the robot's own error in words, or "" while it is well.
    """

    positions: Floats
    fault: str


class Driver(Protocol):
    """A robot that takes joint positions. Every method raises DriverError in words a person can act on."""

    def connect(self) -> None:
        """Reach the robot. Moves nothing."""

    def enable(self) -> None:
        """Clear old errors and make ready to stream positions; the robot stays where it is."""

    def read(self) -> Reading:
        """Where the robot is now."""

    def send(self, positions: Floats) -> None:
        """Go to (N,) positions at once, in the order of `Embodiment.joint_names`."""

    def stop(self) -> None:
        """Stop moving and refuse commands until `enable`."""

    def close(self) -> None:
        """Let go of the robot, which stays where it is."""
