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
        warning: what the robot warns of, in words, or ""; it keeps going.
    """

    positions: Floats
    fault: str
    warning: str = ""


class Driver(Protocol):
    """A robot that takes joint positions. Every method raises DriverError in words a person can act on.

    No call but `connect` and `enable` takes longer than 1 s, whatever the robot does; after a lost
    connection `read` and `send` go on raising until `enable`.
    """

    def connect(self) -> None:
        """Reach the robot. Moves nothing."""

    def enable(self) -> None:
        """Connect again where the connection was lost, clear what a person's wish to arm may clear, and make
        ready to stream positions; the robot stays where it is. An error that needs more is refused in words.
        """

    def read(self) -> Reading:
        """Where the robot is now."""

    def send(self, positions: Floats) -> None:
        """Go to (N,) positions at once, in the order of `Embodiment.joint_names`."""

    def stop(self) -> None:
        """Stop moving and refuse commands until `enable`."""

    def close(self) -> None:
        """Let go of the robot, which stays where it is."""
