"""Jerk-limited joint motion toward a moving target, one tick at a time.

Every accepted state carries its way out: the quickest stop from there, checked against position limits
and tool speed. A tick that would lead to a state without one follows the last way out instead, so a
joint never has to brake harder than it can, and a failed computation only slows the arm down.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ruckig import ControlInterface, InputParameter, Ruckig, RuckigError, Synchronization, Trajectory

from ..core.action_guard import require_finite
from ..core.arm import Arm
from ..core.observation import Floats

FASTEST_TARGET = 0.95  # share of a velocity limit at which a target may move; the rest is for catching up
PLANNED_TOOL_SPEED, STOPPING_TOOL_SPEED = 0.85, 0.95  # shares of the limit, while planning and on the way out
AHEAD_S = (0.02, 0.05, 0.08, 0.12, 0.16, 0.2)  # s after a tick at which its plan's tool speed is looked at
BRAKING_S = (0.0, 0.015, 0.03, 0.045, 0.06)  # s into a stop; it is fastest before its acceleration is gone
NOISE = 1e-9  # rad, of floating-point sums
STILL_S = 1e-4  # s; a stop that takes no longer is none


@dataclass(frozen=True)
class JointState:
    """Position (J,) rad, velocity (J,) rad/s and acceleration (J,) rad/s^2 of one arm's joints."""

    position: Floats
    velocity: Floats
    acceleration: Floats


class JointSmoother:
    """Moves one arm's commanded joints; knows nothing of clocks, plans or robots."""

    def __init__(self, arm: Arm, max_tool_speed: float) -> None:
        """
        Args:
            arm: its position, velocity, acceleration and jerk limits.
            max_tool_speed: m/s, of the tool point in any motion; inf for no limit.
        """
        self._arm = arm
        self._max_tool_speed = max_tool_speed
        self._joints = len(arm.joints)
        self._planner = Ruckig(self._joints)
        self._going = self._request(ControlInterface.Position, Synchronization.Phase)
        self._stopping = self._request(ControlInterface.Velocity, Synchronization.No)
        self._plan, self._way_out, self._spare = (Trajectory(self._joints) for _ in range(3))
        self._along = 0.0  # s, how far the state is along the way out
        self._toward: tuple[bytes, bytes] | None = None  # place and limits of a plan being carried out ...
        self._elapsed = 0.0  # ... for so long, s
        self.reset(arm.bounds.rest)

    def reset(self, position: Floats) -> None:
        """Be at rest at (J,) rad."""
        require_finite(position, "joint positions")
        self.state = JointState(position.copy(), np.zeros(self._joints), np.zeros(self._joints))
        self._stop_from(self.state, self._way_out)
        self._along, self._toward = 0.0, None

    @property
    def at_rest(self) -> bool:
        """True where nothing moves any more."""
        return self._way_out.duration - self._along < STILL_S

    def stop(self, dt: float) -> None:
        """One tick of slowing down as fast as allowed."""
        self.state = self._braked(dt)
        self._along += dt
        self._toward = None

    def follow(self, target: Floats, rate: Floats, max_velocity: Floats, dt: float) -> None:
        """One tick toward a target that moves.

        Args:
            target: (J,) rad, where to be after this tick; clipped to the position limits.
            rate: (J,) rad/s, how the target moves then.
            max_velocity: (J,) rad/s, > 0; the arm's own limit holds too.
            dt: s since the last tick, >= 0.

        Raises:
            GuardError: a value is not finite. Nothing may be sent then.
        """
        require_finite(target, "joint target")
        require_finite(rate, "rate of the joint target")
        limits = np.minimum(max_velocity, self._arm.max_velocity)
        jacobian = self._tool_jacobian()
        goal, rate = self._reachable(target, rate, limits, jacobian)
        wanted = self._planned(goal, rate, limits, jacobian, dt)
        if wanted is None or not self._accepted(wanted, jacobian, dt):
            self.stop(dt)

    def _reachable(
        self, target: Floats, rate: Floats, limits: Floats, jacobian: Floats | None
    ) -> tuple[Floats, Floats]:
        """A target within the limits, moving no faster than can be followed and stopped before them."""
        arm, bounds = self._arm, self._arm.bounds
        goal = np.clip(target, bounds.lower, bounds.upper)
        share = FASTEST_TARGET / max(float((np.abs(rate) / limits).max()), 1e-12)
        if jacobian is not None:
            allowed = FASTEST_TARGET * PLANNED_TOOL_SPEED * self._max_tool_speed
            share = min(share, allowed / max(float(np.linalg.norm(jacobian @ rate)), 1e-12))
        rate = rate * min(1.0, share)
        speed = np.abs(rate)
        stop = goal + rate / 2 * (speed / arm.max_acceleration + arm.max_acceleration / arm.max_jerk)
        inside = (goal == target) & (stop > bounds.lower) & (stop < bounds.upper)
        return goal, np.where(inside, rate, 0.0)

    def _planned(
        self, goal: Floats, rate: Floats, limits: Floats, jacobian: Floats | None, dt: float
    ) -> JointState | None:
        """The state after this tick on the quickest way to the target; None where none is found.

        A plan to a place at rest is carried on: planned anew from rounded states it would not stay straight.
        """
        toward = None if rate.any() else (goal.tobytes(), limits.tobytes())
        if toward is not None and toward == self._toward:
            self._elapsed += dt
        elif self._plan_to(goal, rate, limits, dt):
            self._toward, self._elapsed = toward, dt
        else:
            return None
        if jacobian is not None:
            ahead = np.array([self._plan.at_time(self._elapsed + t)[1] for t in AHEAD_S]) + rate
            fastest = float(np.linalg.norm(ahead @ jacobian.T, axis=1).max())
            allowed = PLANNED_TOOL_SPEED * self._max_tool_speed
            # The same way more slowly: lower limits for each joint, not a command cut afterwards.
            if fastest > allowed:
                slower = np.maximum(np.abs(ahead).max(axis=0) * (allowed / fastest), np.abs(rate) / FASTEST_TARGET)
                if not self._plan_to(goal, rate, np.maximum(slower, 1e-3), dt):
                    return None
                self._toward, self._elapsed = None, dt
        position, velocity, acceleration = (np.array(part) for part in self._plan.at_time(self._elapsed))
        return JointState(position + goal, velocity + rate, acceleration)

    def _plan_to(self, goal: Floats, rate: Floats, limits: Floats, dt: float) -> bool:
        """Plan in the frame that moves with the target: there it stands still, and can be met without lag."""
        request, state = self._going, self.state
        request.current_position = (state.position - goal + rate * dt).tolist()
        request.current_velocity = (state.velocity - rate).tolist()
        request.current_acceleration = state.acceleration.tolist()
        request.max_velocity = (limits - rate).tolist()
        request.min_velocity = (-limits - rate).tolist()
        return self._solved(request, self._plan)

    def _accepted(self, wanted: JointState, jacobian: Floats | None, dt: float) -> bool:
        """Go to the wanted state if there is a way out of it; joints that have none brake already."""
        bounds, last, braked = self._arm.bounds, self.state.position, self._braked(dt)
        lower, upper = np.minimum(bounds.lower, last) - NOISE, np.maximum(bounds.upper, last) + NOISE
        for _ in range(2):
            if not self._stop_from(wanted, self._spare):
                return False
            reach = np.array([(extreme.min, extreme.max) for extreme in self._spare.position_extrema])
            out = (reach[:, 0] < lower) | (reach[:, 1] > upper)
            if not out.any():
                break
            wanted = JointState(
                np.where(out, braked.position, wanted.position),
                np.where(out, braked.velocity, wanted.velocity),
                np.where(out, braked.acceleration, wanted.acceleration),
            )
            self._toward = None
        else:
            return False
        if jacobian is not None:
            velocities = np.array([self._spare.at_time(t)[1] for t in BRAKING_S])
            if np.linalg.norm(velocities @ jacobian.T, axis=1).max() > STOPPING_TOOL_SPEED * self._max_tool_speed:
                return False
        self._way_out, self._spare = self._spare, self._way_out
        self.state, self._along = wanted, 0.0
        return True

    def _braked(self, dt: float) -> JointState:
        """The state after one tick more on the way out."""
        return JointState(*(np.array(part) for part in self._way_out.at_time(self._along + dt)))

    def _stop_from(self, state: JointState, way: Trajectory) -> bool:
        request = self._stopping
        request.current_position = state.position.tolist()
        request.current_velocity = state.velocity.tolist()
        request.current_acceleration = state.acceleration.tolist()
        return self._solved(request, way)

    def _solved(self, request: InputParameter, way: Trajectory) -> bool:
        try:
            return int(self._planner.calculate(request, way)) >= 0
        except RuckigError:  # limits that a state beyond them cannot keep, or no root found
            return False

    def _tool_jacobian(self) -> Floats | None:
        """(3, J) m/rad, of the tool point where the joints are; None where its speed has no limit."""
        return None if self._max_tool_speed == np.inf else self._arm.chain.jacobian(self.state.position)[:3]

    def _request(self, interface: ControlInterface, synchronization: Synchronization) -> InputParameter:
        """What stays the same: motions end together, on a straight line where they can; stops as soon as they can."""
        request = InputParameter(self._joints)
        request.control_interface, request.synchronization = interface, synchronization
        request.max_acceleration = [self._arm.max_acceleration] * self._joints
        request.max_jerk = [self._arm.max_jerk] * self._joints
        return request
