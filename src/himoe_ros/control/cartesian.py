"""End-effector targets -> joint positions: a tool motion within its limits, and inverse kinematics along it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.embodiment import Arm, Workspace
from ..core.kinematics import SerialChain, pose_error, pose_matrix, rotation_matrix
from ..core.observation import Floats
from ..core.unified import values_pose

ITERATIONS = 2  # damped-least-squares steps a tick; from tick to tick the target moves millimetres


class CartesianTracker:
    """Carries one arm's tool toward targets no faster than the tool, or any joint, may go."""

    def __init__(self, arm: Arm, chain: SerialChain, workspace: Workspace) -> None:
        self._arm = arm
        self._chain = chain
        self._workspace = workspace
        self._velocity = np.zeros(6)  # of the tool, m/s and rad/s, base frame

    def rest(self) -> None:
        """The arm stands still: the next motion starts from zero speed."""
        self._velocity = np.zeros(6)

    def follow(self, slots: Mapping[str, float], joints: Floats, dt: float) -> Floats:
        """One tick toward the target.

        Args:
            slots: x, y, z in m; roll, pitch, yaw in rad relative to the arm's reference.
            joints: (J,) rad, commanded one tick ago.
            dt: s, > 0.

        Returns:
            (J,) rad.
        """
        limits = self._workspace
        pose = self._chain.forward(joints)
        error = pose_error(values_pose(self._arm, slots), pose)
        velocity = np.concatenate(
            [
                _approach(error[:3], self._velocity[:3], limits.max_speed, limits.max_acceleration, dt),
                _approach(error[3:], self._velocity[3:], limits.max_rotation, limits.max_rotation_acceleration, dt),
            ]
        )
        target = self._solve(joints, pose, velocity * dt)
        # Where a joint would be too fast, the tool goes the same way more slowly.
        slower = min(1.0, self._arm.max_velocity * dt / max(float(np.abs(target - joints).max()), 1e-12))
        if slower < 1.0:
            target = self._solve(joints, pose, slower * velocity * dt)
        self._velocity = pose_error(self._chain.forward(target), pose) / dt
        return target

    def _solve(self, joints: Floats, pose: Floats, step: Floats) -> Floats:
        wanted = pose_matrix(pose[:3, 3] + step[:3], rotation_matrix(step[3:]) @ pose[:3, :3])
        solution, _ = self._chain.step_toward(joints, wanted, self._arm.bounds, iterations=ITERATIONS)
        return solution


def _approach(error: Floats, velocity: Floats, max_speed: float, acceleration: float, dt: float) -> Floats:
    """(3,) velocity that leads along the error, can stop at its end, and changes no faster than allowed."""
    distance = float(np.linalg.norm(error))
    brake = acceleration * dt / 2
    speed = min(max_speed, distance / dt, (2 * acceleration * distance + brake**2) ** 0.5 - brake)
    change = error * (speed / max(distance, 1e-12)) - velocity
    return velocity + change * min(1.0, acceleration * dt / max(float(np.linalg.norm(change)), 1e-12))
