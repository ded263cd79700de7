"""What the simulated controller needs of an arm."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Plant(Protocol):
    """The arm behind the controller. Its motors follow the last command."""

    joint_positions: Floats  # (7,) rad
    joint_velocities: Floats  # (7,) rad/s
    joint_torques: Floats  # (7,) N m
    gripper_opening: float  # 0 closed to 1 open

    def command(self, joints: Floats, gripper_opening: float) -> None:
        """Set the targets: joints (7,), rad, and opening, 0-1."""
