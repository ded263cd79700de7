"""End-effector targets -> joint targets: a tool motion within its limits, and inverse kinematics along it."""

from __future__ import annotations

import numpy as np

from ..core.arm import Arm, Workspace
from ..core.embodiment import END_EFFECTOR
from ..core.kinematics import SerialChain, pose_error, pose_matrix, rotation_matrix
from ..core.observation import Floats
from ..core.unified import values_pose

ITERATIONS = 2  # damped-least-squares steps a tick; from tick to tick the target moves millimetres
REST_RATE = 1.0  # 1/s, how fast a redundant arm drifts to its rest posture
FASTEST_JOINT = 0.9  # share of a joint's velocity limit that the way may ask for
NEAR_RAD, FAR_RAD = 0.1, 0.2  # the way waits for joints that lag behind: from, and entirely


class CartesianTracker:
    """Leads one arm's tool along a way that its joints can follow.

    The way is a joint posture of its own, ahead of the commanded one by what smoothing still lacks. Near a
    singular posture a joint would have to be faster than it may: there the tool goes the same way more slowly.
    """

    def __init__(self, arm: Arm, chain: SerialChain, workspace: Workspace) -> None:
        self._arm = arm
        self._chain = chain
        self._workspace = workspace
        self._joints: Floats | None = None  # the way's posture, rad; None while the tool is led nowhere
        self._velocity = np.zeros(6)  # of the tool, m/s and rad/s, base frame

    def release(self) -> None:
        """Lead nowhere; the next motion starts from where the arm then is."""
        self._joints = None

    def follow(
        self, values: Floats, rates: Floats, joints: Floats, velocity: Floats, speed_scale: float, dt: float
    ) -> tuple[Floats, Floats]:
        """One tick toward a tool pose that moves.

        Args:
            values: (6,) x, y, z in m; roll, pitch, yaw in rad relative to the arm's reference.
            rates: (6,) the same per second.
            joints, velocity: (J,) rad and rad/s, commanded one tick ago.
            speed_scale: share of the speed limits to use.
            dt: s since the last tick, >= 0.

        Returns:
            (J,) rad where to be after this tick, and (J,) rad/s how that place moves.
        """
        if self._joints is None:
            self._joints = joints
            self._velocity = self._chain.jacobian(joints) @ velocity
        if dt <= 0:
            return self._joints, np.zeros_like(joints)
        lag = float(np.abs(self._joints - joints).max())
        if lag >= FAR_RAD:
            self._velocity = np.zeros(6)
            return self._joints, np.zeros_like(joints)
        share = speed_scale * min(1.0, (FAR_RAD - lag) / (FAR_RAD - NEAR_RAD))
        pose = self._chain.forward(self._joints)
        wanted, before = self._pose(values), self._pose(values - rates * dt)
        error, drift = pose_error(wanted, pose), pose_error(wanted, before) / dt
        limits = self._workspace
        velocity = np.concatenate(
            [
                _approach(
                    error[:3], drift[:3], self._velocity[:3], share * limits.max_speed, limits.max_acceleration, dt
                ),
                _approach(
                    error[3:],
                    drift[3:],
                    self._velocity[3:],
                    share * limits.max_rotation,
                    limits.max_rotation_acceleration,
                    dt,
                ),
            ]
        )
        fastest = FASTEST_JOINT * speed_scale * self._arm.max_velocity * dt
        target = self._solve(self._joints, pose, velocity * dt, dt)
        slower = min(1.0, fastest / max(float(np.abs(target - self._joints).max()), 1e-12))
        if slower < 1.0:
            target = self._solve(self._joints, pose, slower * velocity * dt, slower * dt)
            target = self._joints + np.clip(target - self._joints, -fastest, fastest)
        rate = (target - self._joints) / dt
        self._velocity = pose_error(self._chain.forward(target), pose) / dt
        self._joints = target
        return target, rate

    def _pose(self, values: Floats) -> Floats:
        return values_pose(self._arm, dict(zip(END_EFFECTOR, values.tolist(), strict=True)))

    def _solve(self, joints: Floats, pose: Floats, step: Floats, dt: float) -> Floats:
        wanted = pose_matrix(pose[:3, 3] + step[:3], rotation_matrix(step[3:]) @ pose[:3, :3])
        gain = REST_RATE * dt / ITERATIONS
        solution, _ = self._chain.step_toward(joints, wanted, self._arm.bounds, iterations=ITERATIONS, rest_gain=gain)
        return solution


def _approach(
    error: Floats, drift: Floats, velocity: Floats, max_speed: float, acceleration: float, dt: float
) -> Floats:
    """(3,) velocity that meets a target moving with `drift`, and changes no faster than allowed.

    Seen from the target: speed such that a stop there is still possible, v = sqrt(2 a d).

    Args:
        error: (3,) from here to where the target is after this tick.
        drift, velocity: (3,) of the target, and ours one tick ago.
    """
    drift = drift * min(1.0, max_speed / max(float(np.linalg.norm(drift)), 1e-12))
    left = error - drift * dt
    distance = float(np.linalg.norm(left))
    brake = acceleration * dt / 2
    speed = min(max_speed, distance / dt, (2 * acceleration * distance + brake**2) ** 0.5 - brake)
    wanted = drift + left * (speed / max(distance, 1e-12))
    wanted = wanted * min(1.0, max_speed / max(float(np.linalg.norm(wanted)), 1e-12))
    change = wanted - velocity
    return velocity + change * min(1.0, acceleration * dt / max(float(np.linalg.norm(change)), 1e-12))
