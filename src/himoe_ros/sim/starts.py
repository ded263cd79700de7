"""Where the arm stands when a simulated demonstration begins: mostly near home, now and then anywhere."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.arm import Arm
from ..core.kinematics import KinematicsError
from ..core.observation import Floats
from ..core.unified import values_pose

ODD = 0.3  # share of starts that are not near home
HOME_M, HOME_SPREAD_M, HOME_YAW_RAD = np.array([0.36, 0.0, 0.26]), np.array([0.04, 0.06, 0.04]), 0.15
ANYWHERE_M = np.array([[0.28, 0.55], [-0.22, 0.22], [0.14, 0.35]])
ABOVE_M = (0.06, 0.13)  # over a thing
ATTEMPTS = 20
POSTURE_RAD = np.array([0.15, 0.12, 0.12, 0.0, 0.12, 0.0])  # of an arm driven in joints, around home
ODD_FACTOR = 2.0


def sample_start(rng: np.random.Generator, arm: Arm, things: Sequence[Floats]) -> tuple[Floats, float]:
    """Draw where the tool is before a demonstration.

    Args:
        things: (3,) m each, tops of what lies on the table.

    Returns:
        (J,) rad, and the gripper's opening.

    Raises:
        KinematicsError: nothing drawn could be reached; the constants of this module then contradict the arm.
    """
    for _ in range(ATTEMPTS):
        opening = 1.0
        place = HOME_M + rng.uniform(-1, 1, 3) * HOME_SPREAD_M
        if rng.random() < ODD:
            opening = float(rng.choice([0.0, 1.0]))
            place = rng.uniform(*ANYWHERE_M.T)
            if rng.random() < 0.5:
                thing = things[rng.integers(len(things))]
                place = thing + np.array([*rng.normal(0.0, 0.02, 2), rng.uniform(*ABOVE_M)])
        turn = {"roll": 0.0, "pitch": 0.0, "yaw": rng.uniform(-HOME_YAW_RAD, HOME_YAW_RAD)}
        pose = values_pose(arm, dict(zip("xyz", place.tolist(), strict=True)) | turn)
        try:
            return arm.chain.inverse(pose, arm.bounds.rest, arm.bounds, restarts=0), opening
        except KinematicsError:
            continue
    raise KinematicsError(f"none of {ATTEMPTS} starts could be reached")


def sample_posture(rng: np.random.Generator, arm: Arm) -> tuple[Floats, float]:
    """Draw where an arm that is driven in joints stands before a demonstration: (J,) rad, and the gripper's opening."""
    odd = rng.random() < ODD
    bounds, spread = arm.bounds, POSTURE_RAD * (ODD_FACTOR if odd else 1.0)
    joints = bounds.rest + rng.uniform(-spread, spread)
    return np.clip(joints, bounds.lower, bounds.upper), float(rng.choice([0.0, 1.0])) if odd else 1.0
