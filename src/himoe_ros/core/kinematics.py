"""Kinematics of a serial chain of revolute joints, from its modified DH rows.

Joint i turns about the z axis of its frame, which stands in the frame before it as

    T_i(q) = Rx(alpha_i) Tx(a_i) Rz(q_i + theta_i) Tz(d_i)        (Craig, "modified" DH)

Each T_i is affine in cos and sin of its angle, so a whole chain costs two
trigonometric calls and J small matrix products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from .errors import HimoeError

Floats = NDArray[np.float64]

_NEXT = [1, 2, 0]
_PREVIOUS = [2, 0, 1]
_MIN_DAMPING = 1e-5  # keeps J Jᵀ invertible at a singular posture
_MAX_DAMPING = 0.05
_MAX_ERROR_M = 0.1  # a linear step is only valid nearby, so the error is cut to this length
_MAX_ERROR_RAD = 0.5


class KinematicsError(HimoeError):
    """A pose that the chain cannot reach."""


@dataclass(frozen=True)
class JointBounds:
    """Where the joints may be, and where they would rather be.

    Attributes:
        lower: (J,) rad.
        upper: (J,) rad.
        rest: (J,) rad, the posture that a redundant chain drifts to.
    """

    lower: Floats
    upper: Floats
    rest: Floats


@dataclass(frozen=True)
class SerialChain:
    """A chain of revolute joints with a tool on its last frame.

    Attributes:
        dh: (J, 4) rows of d (m), theta offset (rad), alpha (rad) and a (m); alpha and a belong
            to the link before the joint.
        tool: (4, 4) pose of the tool in the last joint's frame, m.
    """

    dh: Floats
    tool: Floats
    _constant: Floats = field(init=False, repr=False)
    _cosine: Floats = field(init=False, repr=False)
    _sine: Floats = field(init=False, repr=False)

    def __post_init__(self) -> None:
        dh = np.asarray(self.dh, dtype=float)
        tool = np.asarray(self.tool, dtype=float)
        if dh.ndim != 2 or dh.shape[1] != 4 or tool.shape != (4, 4):
            raise KinematicsError(
                f"a serial chain needs DH rows (J, 4) of d, theta, alpha, a and a tool pose (4, 4); "
                f"got {dh.shape} and {tool.shape}"
            )
        constant, cosine, sine = np.zeros((3, len(dh), 4, 4))
        for i, (d, theta, alpha, a) in enumerate(dh):
            ca, sa, ct, st = math.cos(alpha), math.sin(alpha), math.cos(theta), math.sin(theta)
            constant[i] = [[0, 0, 0, a], [0, 0, -sa, -sa * d], [0, 0, ca, ca * d], [0, 0, 0, 1]]
            cosine[i, :3, :2] = [[ct, -st], [st * ca, ct * ca], [st * sa, ct * sa]]
            sine[i, :3, :2] = [[-st, -ct], [ct * ca, -st * ca], [ct * sa, -st * sa]]
        values = {"dh": dh, "tool": tool, "_constant": constant, "_cosine": cosine, "_sine": sine}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    def frames(self, q: Floats) -> list[Floats]:
        """Poses of the joints' frames in the base, first joint first.

        Args:
            q: (J,) rad.

        Returns:
            J matrices (4, 4), m.
        """
        q = np.asarray(q, dtype=float)[:, None, None]
        links = self._constant + np.cos(q) * self._cosine + np.sin(q) * self._sine
        return list(accumulate(links, np.matmul))

    def forward(self, q: Floats) -> Floats:
        """Pose of the tool in the base frame.

        Args:
            q: (J,) rad.

        Returns:
            (4, 4), m.
        """
        return self.frames(q)[-1] @ self.tool

    def jacobian(self, q: Floats) -> Floats:
        """Geometric Jacobian of the tool point: [v; w] = J(q) qdot, in the base frame.

        Args:
            q: (J,) rad.

        Returns:
            (6, J), rows 0-2 in m/rad, rows 3-5 in rad/rad.
        """
        return self._jacobian(self.frames(q))

    def step_toward(
        self,
        q: Floats,
        target: Floats,
        bounds: JointBounds,
        iterations: int = 1,
        rest_gain: float = 0.02,
        enough: float = 0.0,
    ) -> tuple[Floats, Floats]:
        """Move the joints some damped-least-squares steps toward a tool pose.

        One step is dq = v + Jᵀ (J Jᵀ + λI)⁻¹ (e - J v), where e is the pose error and
        v = rest_gain (rest - q) the pull that survives in the null space. λ grows with the
        error, so that far steps are calm and near ones exact.

        Args:
            q: (J,) rad, start.
            target: (4, 4) wanted tool pose in the base frame, m.
            bounds: limits, which the result keeps, and the rest posture.
            iterations: steps to take, > 0.
            enough: m and rad; no further step is taken once every component of the error is smaller.
            rest_gain: share of the way to the rest posture that one step may take.

        Returns:
            (J,) rad, and the error that remains there: (6,), m and rad, base frame.
        """
        frames = self.frames(q)
        error = pose_error(target, frames[-1] @ self.tool)
        for _ in range(iterations):
            jacobian = self._jacobian(frames)
            near = _shorten(error)
            pull = rest_gain * (bounds.rest - q)
            damping = min(_MIN_DAMPING + float(near @ near), _MAX_DAMPING)
            normal = jacobian @ jacobian.T
            normal.flat[::7] += damping
            step = pull + jacobian.T @ np.linalg.solve(normal, near - jacobian @ pull)
            q = np.minimum(np.maximum(q + step, bounds.lower), bounds.upper)
            frames = self.frames(q)
            error = pose_error(target, frames[-1] @ self.tool)
            if enough and np.abs(error).max() < enough:
                break
        return q, error

    def inverse(
        self,
        target: Floats,
        seed: Floats,
        bounds: JointBounds,
        iterations: int = 60,
        restarts: int = 24,
        tolerance_m: float = 1e-5,
        tolerance_rad: float = 1e-4,
    ) -> Floats:
        """Joints that put the tool at a pose, found from the seed and, if that fails, from elsewhere.

        Args:
            target: (4, 4) wanted tool pose in the base frame, m.
            seed: (J,) rad, first guess; the solution is usually near it.
            bounds: limits, which the result keeps, and the rest posture.
            iterations: steps tried from each start.
            restarts: further starts: the rest posture, then fixed pseudo-random ones.
            tolerance_m: largest position error of a solution.
            tolerance_rad: largest rotation error of a solution.

        Returns:
            (J,) rad.

        Raises:
            KinematicsError: no start led to the pose.
        """
        random = np.random.default_rng(0)
        low, high = np.maximum(bounds.lower, bounds.rest - math.pi), np.minimum(bounds.upper, bounds.rest + math.pi)
        best = (math.inf, math.inf)
        q: Floats = np.clip(np.asarray(seed, dtype=float), bounds.lower, bounds.upper)
        for attempt in range(1 + restarts):
            error = pose_error(target, self.forward(q))
            for iteration in range(1 + iterations):
                reached = (math.hypot(*error[:3]), math.hypot(*error[3:]))
                if reached[0] <= tolerance_m and reached[1] <= tolerance_rad:
                    return q
                rest_gain = 0.02 if iteration < iterations // 2 else 0.0
                q, error = self.step_toward(q, target, bounds, rest_gain=rest_gain)
            best = min(best, reached)
            q = bounds.rest if attempt == 0 else random.uniform(low, high)
        raise KinematicsError(
            f"expected joints within {tolerance_m:g} m and {tolerance_rad:g} rad of the pose at "
            f"{np.round(target[:3, 3], 4)} m; the nearest found are {best[0]:.4f} m and {best[1]:.4f} rad away. "
            "Ask for a pose within reach and within the joint limits."
        )

    def _jacobian(self, frames: list[Floats]) -> Floats:
        stack = np.array(frames)
        axes = stack[:, :3, 2]
        arms = (frames[-1] @ self.tool)[:3, 3] - stack[:, :3, 3]
        jacobian = np.empty((6, len(frames)))
        jacobian[:3] = (axes[:, _NEXT] * arms[:, _PREVIOUS] - axes[:, _PREVIOUS] * arms[:, _NEXT]).T
        jacobian[3:] = axes.T
        return jacobian


def pose_error(target: Floats, pose: Floats) -> Floats:
    """The small motion, in the base frame, that takes `pose` to `target`.

    Args:
        target: (4, 4), m.
        pose: (4, 4), m.

    Returns:
        (6,): translation, m, and rotation vector, rad.
    """
    error = np.empty(6)
    error[:3] = target[:3, 3] - pose[:3, 3]
    error[3:] = rotation_vector(target[:3, :3] @ pose[:3, :3].T)
    return error


def pose_matrix(position: Floats, rotation: Floats) -> Floats:
    """(4, 4) pose, m, of a position (3,), m, and a rotation matrix (3, 3)."""
    pose = np.eye(4)
    pose[:3, :3] = rotation
    pose[:3, 3] = position
    return pose


def rpy_to_matrix(roll: float, pitch: float, yaw: float) -> Floats:
    """Rotation matrix (3, 3) of turns about the fixed x, y, z axes in that order, rad."""
    cr, sr, cp, sp, cy, sy = (f(angle) for angle in (roll, pitch, yaw) for f in (math.cos, math.sin))
    return np.array(
        [
            [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
            [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
            [-sp, cp * sr, cp * cr],
        ]
    )


def matrix_to_rpy(rotation: Floats) -> tuple[float, float, float]:
    """Turns (roll, pitch, yaw), rad, about the fixed x, y, z axes; yaw is 0 where only yaw - roll is defined."""
    r = np.asarray(rotation, dtype=float).tolist()
    level = math.hypot(r[0][0], r[1][0])
    pitch = math.atan2(-r[2][0], level)
    if level < 1e-9:
        return math.atan2(-r[1][2], r[1][1]), pitch, 0.0
    return math.atan2(r[2][1], r[2][2]), pitch, math.atan2(r[1][0], r[0][0])


def rotation_vector(rotation: Floats) -> Floats:
    """Axis times angle, (3,) rad in [0, pi], of a rotation matrix (3, 3); exact near 0 and near pi."""
    r = np.asarray(rotation, dtype=float).tolist()
    x, y, z = r[2][1] - r[1][2], r[0][2] - r[2][0], r[1][0] - r[0][1]
    sine = math.sqrt(x * x + y * y + z * z)  # twice the sine of the angle
    cosine = r[0][0] + r[1][1] + r[2][2] - 1.0  # twice the cosine
    if sine > 1e-5:
        scale = math.atan2(sine, cosine) / sine
        return np.array([x * scale, y * scale, z * scale])
    if cosine > 0:
        return np.array([x / 2, y / 2, z / 2])
    # Near pi the difference R - Rᵀ vanishes, but R + Rᵀ holds the axis up to its sign.
    symmetric = np.asarray(rotation) + np.asarray(rotation).T - cosine * np.eye(3)
    column = symmetric[:, int(np.argmax(np.diag(symmetric)))]
    axis = column / math.sqrt(column @ column)
    angle = math.copysign(math.atan2(sine, cosine), axis @ np.array([x, y, z]))
    return np.asarray(angle * axis)


def rotation_matrix(vector: Floats) -> Floats:
    """Rotation matrix (3, 3) of an axis times angle, (3,) rad."""
    x, y, z = (float(v) for v in vector)
    angle = math.sqrt(x * x + y * y + z * z)
    skew = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    if angle < 1e-9:
        return np.asarray(np.eye(3) + skew)
    turn = skew * (math.sin(angle) / angle) + skew @ skew * ((1.0 - math.cos(angle)) / angle**2)
    return np.asarray(np.eye(3) + turn)


def _shorten(error: Floats) -> Floats:
    """The same direction, no longer than what one linear step can honestly take."""
    metres, radians = math.hypot(*error[:3]), math.hypot(*error[3:])
    share = min(1.0, _MAX_ERROR_M / max(metres, 1e-12), _MAX_ERROR_RAD / max(radians, 1e-12))
    return np.asarray(share * error)
