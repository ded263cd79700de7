"""Two hands that point away from their own base, as an arm without twist in its wrist has them."""

from __future__ import annotations

import numpy as np

from ..core.arm import Arm
from ..core.kinematics import pose_matrix
from ..core.observation import Floats
from .expert import STEPS

UP = np.array([0.0, 0.0, 1.0])
TURN_RAD = 0.09  # largest change of a hand's pitch in a step


def pitch_of(pose: Floats) -> float:
    """rad, by which the hand of a (4, 4) pose points downward."""
    return float(np.arcsin(np.clip(-pose[2, 2], -1.0, 1.0)))


def roll_of(arm: Arm, pose: Floats) -> float:
    """rad, by which the hand of a (4, 4) pose in the robot's frame is turned about the way it points."""
    level = hand_pose(arm, pose[:3, 3], pitch_of(pose))[:3, :3]
    turned = level.T @ pose[:3, :3]
    return float(np.arctan2(turned[1, 0], turned[0, 0]))


def hand_pose(arm: Arm, place: Floats, pitch: float, roll: float = 0.0) -> Floats:
    """(4, 4) m, in the robot's frame: a hand that points from its base over a place, and downward by its pitch; it is
    turned about that way by its roll, rad."""
    x, y = (place - arm.mount[:3, 3])[:2]
    reach = np.hypot(x, y)
    level, across = np.array([x / reach, y / reach, 0.0]), np.array([-y / reach, x / reach, 0.0])
    forward = np.cos(pitch) * level - np.sin(pitch) * UP
    upward = np.cross(across, forward)
    turned = [np.cos(roll) * upward + np.sin(roll) * across, np.cos(roll) * across - np.sin(roll) * upward, forward]
    return pose_matrix(place, np.column_stack(turned))


def strides(
    places: Floats, pitches: Floats, goals: Floats, turns: Floats, grips: Floats, longest: Floats, gain: float
) -> Floats:
    """Bounded steps of two hands to where they should be.

    Args:
        places, pitches: (2, 3) m and (2,) rad downward, of the hands now.
        goals, turns, grips: (2, 3) m, (2,) rad and (2,) openings, wanted.
        longest: (2,) m, of a step.
        gain: share of what is left that a step takes.

    Returns:
        (STEPS, 2, 5) place (3) m, pitch rad, opening of each hand at STEP_S, twice that, ...
    """
    rows = []
    for _ in range(STEPS):
        way = gain * (goals - places)
        places = places + way * np.minimum(1.0, longest / np.maximum(np.linalg.norm(way, axis=1), 1e-9))[:, None]
        pitches = pitches + np.clip(turns - pitches, -TURN_RAD, TURN_RAD)
        rows.append(np.column_stack([places, pitches, grips]))
    return np.array(rows)
