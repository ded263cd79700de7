"""himoe_ros.sim.hands: a hand's pose and what is read of it."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.sim.hands import hand_pose, pitch_of, roll_of

ALOHA = load_embodiment("aloha", config("embodiments"))


@pytest.mark.parametrize("arm", ALOHA.arms, ids=lambda arm: arm.name)
@pytest.mark.parametrize("roll", [0.0, 0.7, np.pi / 2, -1.2])
def test_pitch_and_roll_of_a_pose_are_those_it_was_made_of(arm, roll):
    pose = hand_pose(arm, np.array([0.05, -0.08, 0.2]), 0.4, roll)
    assert pitch_of(pose) == pytest.approx(0.4) and roll_of(arm, pose) == pytest.approx(roll)
    np.testing.assert_allclose(pose[:3, :3].T @ pose[:3, :3], np.eye(3), atol=1e-12)
    assert np.linalg.det(pose[:3, :3]) == pytest.approx(1.0)
    assert pose[:3, 2] @ (pose[:3, 3] - arm.mount[:3, 3]) > 0, "it points away from its base"


def test_at_home_the_hands_are_not_turned():
    for arm in ALOHA.arms:
        assert roll_of(arm, arm.mount @ arm.chain.forward(arm.bounds.rest)) == pytest.approx(0.0, abs=1e-6)
