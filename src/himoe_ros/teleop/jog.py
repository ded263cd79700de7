"""Jogging: an operator moves a target for the tool, and short plans lead there."""

from __future__ import annotations

import numpy as np

from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ConfigError
from ..core.observation import ActionChunk, Floats, RobotState
from .tool import tool_chunk, tool_slots

STEPS_S = np.array([0.1, 0.2, 0.3])  # of a plan; without a fresh one the robot holds after the last
MAX_YAW_RAD = 2.6  # further, and with the lead, yaw would wrap
LEAD_M, LEAD_RAD = 0.06, 0.3  # the target stays so close to the robot, so that it stops soon after the hand does
GLIDE_S = 0.2  # from full speed to rest; a hand that takes over a moving robot begins where it will be after it


class Jog:
    """The target of one arm's tool, in the slots of its end effector: x y z (m), roll pitch yaw (rad), opening."""

    def __init__(self, embodiment: Embodiment, space: ActionSpace) -> None:
        """
        Args:
            embodiment: of one arm with kinematics.
            space: of the plans; joints are found by inverse kinematics.

        Raises:
            ConfigError: the robot has no end effector to jog.
        """
        if len(embodiment.arms) != 1 or embodiment.arms[0].chain is None or embodiment.workspace is None:
            raise ConfigError(
                f"jogging needs one arm with 'kinematics' and a 'workspace', which {embodiment.name} does not have; "
                "use a leader arm"
            )
        self._embodiment, self._space, self._arm = embodiment, space, embodiment.arms[0]
        box = embodiment.workspace
        self._lower = np.array([*box.lower, -box.max_tilt, -box.max_tilt, -MAX_YAW_RAD])
        self._upper = np.array([*box.upper, box.max_tilt, box.max_tilt, MAX_YAW_RAD])
        self._fastest = np.repeat([box.max_speed, box.max_rotation], 3)
        self._braking = self._fastest / GLIDE_S  # (6,) m/s^2 and rad/s^2
        self._lead = np.repeat([LEAD_M, LEAD_RAD], 3)
        self._rates = np.zeros(6)
        self._joints: Floats | None = None  # (J,) rad, where the arm is
        self.target: Floats | None = None  # (6,) m, rad; None before `anchor`
        self.opening = 1.0

    def anchor(self, state: RobotState, velocity: Floats) -> None:
        """Begin where the robot is.

        Args:
            state: of the robot.
            velocity: (J,) rad/s, of the arm's joints.
        """
        joints = self._positions(state)
        self._joints, self._rates = joints, np.zeros(6)
        self.target = tool_slots(self._arm, joints + GLIDE_S * velocity)
        self.opening = float(np.clip(self._arm.gripper.opening(state.joints[self._arm.gripper.joint]), 0.0, 1.0))
        self.step(np.zeros(6))

    def follow(self, state: RobotState) -> None:
        """The robot is there now: the target keeps close to it."""
        self._joints = self._positions(state)
        self.step(np.zeros(6))

    def step(self, by: Floats) -> None:
        """Move the target by (6,) m and rad, within the workspace and no further ahead than a stop allows."""
        if self.target is None or self._joints is None:
            return
        here = tool_slots(self._arm, self._joints)
        wanted = np.clip(self.target + by, np.minimum(self._lower, here), np.maximum(self._upper, here))
        self.target = np.clip(wanted, here - self._lead, here + self._lead)

    def drive(self, share: Floats, dt: float) -> None:
        """Move the target for `dt` s at (6,) shares in [-1, 1] of the workspace's speed limits.

        Its speed follows the hand as fast as GLIDE_S allows, so that the robot need not turn back when it is let go.
        """
        before, change = self._rates, np.clip(share, -1.0, 1.0) * self._fastest - self._rates
        self._rates = before + np.clip(change, -self._braking * dt, self._braking * dt)
        self.step((before + self._rates) / 2 * dt)

    def toggle_gripper(self) -> None:
        """Close it where it is more open than closed, else open it."""
        self.opening = 0.0 if self.opening > 0.5 else 1.0

    def plan(self, now: float) -> ActionChunk | None:
        """A short plan to where the target is when the hand lets go now; None before `anchor`."""
        if self.target is None or self._joints is None:
            return None
        until = np.minimum(STEPS_S[:, None], np.abs(self._rates) / self._braking)
        glide = until * (self._rates - np.sign(self._rates) * self._braking * until / 2)
        poses = np.clip(self.target + glide, self._lower, self._upper)
        rows = np.column_stack([poses, np.full(len(poses), self.opening)])
        return tool_chunk(self._embodiment, self._space, self._joints, rows, STEPS_S, now)

    def _positions(self, state: RobotState) -> Floats:
        return np.array([state.joints[joint] for joint in self._arm.joints])
