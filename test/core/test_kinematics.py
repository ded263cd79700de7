"""himoe_ros.core.kinematics: forward, Jacobian, inverse and rotations of a serial chain."""

from __future__ import annotations

import math

import numpy as np
import pytest

from himoe_ros.core.kinematics import (
    JointBounds,
    KinematicsError,
    SerialChain,
    matrix_to_rpy,
    pose_error,
    pose_matrix,
    rotation_matrix,
    rotation_vector,
    rpy_to_matrix,
)
from himoe_ros.sim.xarm_spec import XARM7

CHAIN = XARM7.chain
BOUNDS = XARM7.bounds
LOW, HIGH = np.maximum(BOUNDS.lower, -math.pi), np.minimum(BOUNDS.upper, math.pi)


def random_joints(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(LOW, HIGH, (count, len(LOW)))


def test_zero_posture_is_the_vendors():
    # The xArm7's drawing: at zero the flange stands 206 mm ahead, 120.5 mm up, looking down.
    pose = CHAIN.forward(np.zeros(7))
    assert pose[:3, 3] == pytest.approx([0.206, 0.0, 0.1205], abs=1e-9)
    assert pose[:3, 2] == pytest.approx([0.0, 0.0, -1.0], abs=1e-9)


def test_jacobian_is_the_derivative_of_forward():
    tool = pose_matrix(np.array([0.02, -0.01, 0.17]), rpy_to_matrix(0.3, -0.2, 0.1))
    chain = SerialChain(CHAIN.dh, tool)
    step = 1e-6
    for q in random_joints(1, 20):
        columns = [
            pose_error(chain.forward(q + step * unit), chain.forward(q - step * unit)) / (2 * step)
            for unit in np.eye(7)
        ]
        assert chain.jacobian(q) == pytest.approx(np.array(columns).T, abs=1e-8)


def test_inverse_finds_200_random_poses_from_the_rest_posture():
    for q in random_joints(2, 200):
        target = CHAIN.forward(q)
        found = CHAIN.inverse(target, BOUNDS.rest, BOUNDS)
        error = pose_error(target, CHAIN.forward(found))
        assert np.linalg.norm(error[:3]) <= 1e-5 and np.linalg.norm(error[3:]) <= 1e-4
        assert np.all(found >= BOUNDS.lower) and np.all(found <= BOUNDS.upper)


def test_inverse_stays_near_a_good_seed():
    q = BOUNDS.rest + 0.1
    found = CHAIN.inverse(CHAIN.forward(q + 0.02), q, BOUNDS)
    assert np.max(np.abs(found - q)) < 0.2


def test_a_pose_out_of_reach_is_an_error_that_says_how_far():
    with pytest.raises(KinematicsError, match="expected joints within .* nearest found"):
        CHAIN.inverse(pose_matrix(np.array([2.0, 0.0, 0.3]), np.eye(3)), BOUNDS.rest, BOUNDS, restarts=1)


def test_steps_follow_a_moving_target_and_keep_the_limits():
    q = BOUNDS.rest
    start = CHAIN.forward(q)
    for k in range(1, 101):
        target = start.copy()
        target[:3, 3] += [0.001 * k, 0.001 * k, 0.0]
        q, error = CHAIN.step_toward(q, target, BOUNDS)
        assert np.linalg.norm(error[:3]) < 2e-4
    tight = JointBounds(BOUNDS.rest - 0.01, BOUNDS.rest + 0.01, BOUNDS.rest)
    q, error = CHAIN.step_toward(BOUNDS.rest, pose_matrix(np.array([0.0, 0.5, 0.5]), np.eye(3)), tight, iterations=20)
    assert np.all(np.abs(q - BOUNDS.rest) <= 0.01 + 1e-12)
    assert np.linalg.norm(error[:3]) > 0.1


def test_the_null_space_drifts_to_rest_without_moving_the_tool():
    q = CHAIN.inverse(CHAIN.forward(BOUNDS.rest), BOUNDS.rest + [0.3, 0, 0.3, 0, 0, 0, 0], BOUNDS)
    target, away = CHAIN.forward(q), np.linalg.norm(q - BOUNDS.rest)
    for _ in range(300):
        q, error = CHAIN.step_toward(q, target, BOUNDS)
    assert np.linalg.norm(error[:3]) < 1e-4
    assert np.linalg.norm(q - BOUNDS.rest) < 0.5 * away + 1e-3


@pytest.mark.parametrize("angle", [0.0, 1e-12, 1e-7, 1e-3, 1.0, 3.0, math.pi - 1e-4, math.pi - 1e-7, math.pi - 1e-12])
def test_rotation_vector_inverts_rotation_matrix_from_zero_to_pi(angle):
    for axis in np.vstack([np.eye(3), -np.eye(3), np.random.default_rng(3).normal(size=(20, 3))]):
        vector = angle * axis / np.linalg.norm(axis)
        back = rotation_vector(rotation_matrix(vector))
        if angle > math.pi - 1e-9 and back @ vector < 0:  # half turns about an axis and its opposite are one
            back = -back
        assert back == pytest.approx(vector, abs=1e-7)


def test_rotation_vector_of_exact_half_turns():
    for diagonal in ([1, -1, -1], [-1, 1, -1], [-1, -1, 1]):
        vector = rotation_vector(np.diag(diagonal).astype(float))
        assert np.linalg.norm(vector) == pytest.approx(math.pi)
        assert rotation_matrix(vector) == pytest.approx(np.diag(diagonal), abs=1e-12)


def test_rpy_are_fixed_axis_turns_and_round_trip():
    def turn(axis: int, angle: float) -> np.ndarray:
        return rotation_matrix(angle * np.eye(3)[axis])

    for roll, pitch, yaw in np.random.default_rng(4).uniform([-3.1, -1.57, -3.1], [3.1, 1.57, 3.1], (50, 3)):
        matrix = rpy_to_matrix(roll, pitch, yaw)
        assert matrix == pytest.approx(turn(2, yaw) @ turn(1, pitch) @ turn(0, roll), abs=1e-12)
        assert matrix_to_rpy(matrix) == pytest.approx((roll, pitch, yaw), abs=1e-9)
    for pitch in (math.pi / 2, -math.pi / 2):
        matrix = rpy_to_matrix(0.4, pitch, 0.1)
        assert rpy_to_matrix(*matrix_to_rpy(matrix)) == pytest.approx(matrix, abs=1e-9)


def test_malformed_rows_are_refused():
    with pytest.raises(KinematicsError, match=r"got \(7, 3\)"):
        SerialChain(np.zeros((7, 3)), np.eye(4))
