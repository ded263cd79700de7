"""End-effector targets -> joint positions: a speed-limited pose, followed by inverse kinematics."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.embodiment import Arm, Workspace
from ..core.errors import ConfigError
from ..core.kinematics import pose_error, pose_matrix, rotation_matrix
from ..core.observation import Floats
from ..core.unified import values_pose

ITERATIONS = 2  # damped-least-squares steps a tick; from tick to tick the target moves millimetres


class CartesianTracker:
    """Carries one arm's tool along targets within the workspace's speed limits."""

    def __init__(self, arm: Arm, workspace: Workspace) -> None:
        if arm.chain is None:
            raise ConfigError(f"arm '{arm.name}' has no 'kinematics', so it cannot follow tool poses")
        self._arm = arm
        self._chain = arm.chain
        self._workspace = workspace
        self._joints = arm.bounds.rest
        self.pose = self._chain.forward(self._joints)

    def start_at(self, joints: Floats) -> None:
        """Take (J,) rad as where the arm is being sent."""
        self._joints = joints.copy()
        self.pose = self._chain.forward(joints)

    def follow(self, slots: Mapping[str, float], dt: float) -> Floats:
        """One tick toward the target.

        Args:
            slots: x, y, z in m; roll, pitch, yaw in rad relative to the arm's reference.
            dt: s, > 0.

        Returns:
            (J,) rad.
        """
        error = pose_error(values_pose(self._arm, slots), self.pose)
        move, turn = np.linalg.norm(error[:3]), np.linalg.norm(error[3:])
        # Both parts are scaled alike, so that the tool follows the straight way.
        share = min(
            1.0,
            self._workspace.max_speed * dt / max(move, 1e-9),
            self._workspace.max_rotation * dt / max(turn, 1e-9),
        )
        self.pose = pose_matrix(
            self.pose[:3, 3] + share * error[:3], rotation_matrix(share * error[3:]) @ self.pose[:3, :3]
        )
        self._joints, _ = self._chain.step_toward(self._joints, self.pose, self._arm.bounds, iterations=ITERATIONS)
        return self._joints
