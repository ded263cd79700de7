"""How the simulated controller moves its set point: planned moves (mode 0) and the servo stream (mode 1)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.kinematics import KinematicsError, pose_error, pose_matrix, rotation_matrix
from .xarm_spec import ArmSpec

Floats = NDArray[np.float64]
Path = Callable[[float, Floats], Floats]

_LINE_METRES_PER_RADIAN = 0.2  # paces a turn on the spot like a line of this length
_LINE_TOLERANCE_M = 2e-3
_ARRIVED_RAD = 1e-9


class Move:
    """A planned move: a path run with a trapezoidal speed profile.

    The path maps (distance run, joints before) to joints (J,), rad; its distance is in any unit,
    with speed and acceleration in the same.
    """

    def __init__(self, length: float, speed: float, acceleration: float, path: Path) -> None:
        self._length = length
        self._speed = speed
        self._acceleration = acceleration
        self._path = path
        self._distance = 0.0
        self._rate = 0.0

    @property
    def finished(self) -> bool:
        return self._distance >= self._length

    @property
    def at_rest(self) -> bool:
        return self._rate == 0.0

    def advance(self, q: Floats, dt: float, brake: bool) -> Floats:
        """Run on for `dt` s from the joints `q` (J,), rad; with `brake`, slow down and then stay."""
        left = self._length - self._distance
        if brake:
            self._rate = max(0.0, self._rate - self._acceleration * dt)
        else:
            # After a step at this rate the way left is just enough to stop: v dt + v²/2a = left.
            fastest_that_can_stop = self._acceleration * (math.sqrt(dt * dt + 2.0 * left / self._acceleration) - dt)
            self._rate = min(self._rate + self._acceleration * dt, self._speed, fastest_that_can_stop)
        step = self._rate * dt
        self._distance = self._length if left - step < 1e-9 else self._distance + step
        return self._path(self._distance, q)


def joint_move(start: Floats, goal: Floats, speed: float, acceleration: float) -> Move:
    """A move straight in joint space; the joint with the longest way sets the pace.

    Args:
        start: (J,) rad.
        goal: (J,) rad.
        speed: rad/s, > 0.
        acceleration: rad/s², > 0.
    """
    way = goal - start
    length = float(np.max(np.abs(way)))

    def path(distance: float, _: Floats) -> Floats:
        return goal if distance >= length else start + way * (distance / length)

    return Move(length, speed, acceleration, path)


def line_move(spec: ArmSpec, start: Floats, goal: Floats, speed: float, acceleration: float) -> Move:
    """A move of the tool in a straight line, with the rotation turning evenly about one axis.

    Args:
        spec: the arm.
        start: (4, 4) tool pose now, m.
        goal: (4, 4) tool pose wanted, m.
        speed: m/s, > 0.
        acceleration: m/s², > 0.
    """
    way = pose_error(goal, start)
    length = max(math.hypot(*way[:3]), math.hypot(*way[3:]) * _LINE_METRES_PER_RADIAN)

    def path(distance: float, q: Floats) -> Floats:
        share = 1.0 if length == 0.0 else min(1.0, distance / length)
        pose = pose_matrix(start[:3, 3] + share * way[:3], rotation_matrix(share * way[3:]) @ start[:3, :3])
        joints, error = spec.chain.step_toward(q, pose, spec.bounds, iterations=3, rest_gain=0.002)
        if math.hypot(*error[:3]) > _LINE_TOLERANCE_M:
            raise KinematicsError(f"the line leaves the arm's reach at {np.round(pose[:3, 3], 3)} m")
        return joints

    return Move(length, speed, acceleration, path)


@dataclass(frozen=True)
class Overspeed:
    """A servo command that asks for too much.

    Attributes:
        joint: 1-based number of the joint that is too fast, 0 if it is the TCP.
        speed: what was asked for, rad/s, or m/s for the TCP.
    """

    joint: int
    speed: float


class ServoStream:
    """Servo mode: only the latest command counts, and the arm goes there at its full joint speed.

    A command is refused when the stream asks for too much: when the target stands further from where
    it stood one window ago than the limits allow in that time. A late command and its successor in
    quick succession therefore average out, and a jump does not.
    """

    def __init__(self, spec: ArmSpec, q: Floats, now: float) -> None:
        self._spec = spec
        self._target = q
        self._arrived = -math.inf
        self._history: deque[tuple[float, Floats, Floats]] = deque([(now, q, self._tool(q))])

    def accept(self, target: Floats, now: float, tcp_factor: float) -> Overspeed | None:
        """Take a target (J,), rad, within the joint limits, or say why not.

        Args:
            target: (J,) rad.
            now: s.
            tcp_factor: times the arm's TCP speed, the limit.
        """
        window = self._spec.servo_window
        while len(self._history) > 1 and self._history[1][0] <= now - window:
            self._history.popleft()
        _, joints, tool = self._history[0]
        position = self._tool(target)
        speeds = np.abs(target - joints) / window
        tcp_speed = math.dist(position, tool) / window
        fastest = int(np.argmax(speeds))
        if speeds[fastest] > self._spec.max_joint_speed:
            return Overspeed(fastest + 1, float(speeds[fastest]))
        if tcp_speed > tcp_factor * self._spec.max_tcp_speed:
            return Overspeed(0, tcp_speed)
        self._history.append((now, target, position))
        self._target = target
        self._arrived = now
        return None

    def moving(self, q: Floats, now: float) -> bool:
        """Whether the arm is under way from `q` (J,), rad, or the stream is alive."""
        return now - self._arrived < 0.1 or bool(np.max(np.abs(q - self._target)) > _ARRIVED_RAD)

    def advance(self, q: Floats, dt: float) -> Floats:
        """The set point (J,), rad, `dt` s later."""
        step = self._spec.max_joint_speed * dt
        return q + np.clip(self._target - q, -step, step)

    def _tool(self, q: Floats) -> Floats:
        return self._spec.chain.forward(q)[:3, 3]
