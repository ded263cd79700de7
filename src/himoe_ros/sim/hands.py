"""Hands that point away from their own base, as an arm without twist in its wrist has them."""

from __future__ import annotations

import numpy as np

from ..core.arm import Arm
from ..core.kinematics import pose_matrix
from ..core.observation import Floats

UP = np.array([0.0, 0.0, 1.0])


def pitch_of(pose: Floats) -> float:
    """rad, by which the hand of a (4, 4) pose points downward."""
    return float(np.arcsin(np.clip(-pose[2, 2], -1.0, 1.0)))


def hand_pose(arm: Arm, place: Floats, pitch: float) -> Floats:
    """(4, 4) m, in the robot's frame: a hand that points from its base over a place, and downward by its pitch."""
    x, y = (place - arm.mount[:3, 3])[:2]
    reach = np.hypot(x, y)
    level, across = np.array([x / reach, y / reach, 0.0]), np.array([-y / reach, x / reach, 0.0])
    forward = np.cos(pitch) * level - np.sin(pitch) * UP
    return pose_matrix(place, np.column_stack([np.cross(across, forward), across, forward]))
