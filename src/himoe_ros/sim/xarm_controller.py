"""The state machine of the xArm controller: states, errors, motion. No bytes, no clock: time is an argument.

It may be used from two threads: one calls `tick`, the other everything else, holding `lock`. Only `tick`
touches the plant.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..core.kinematics import KinematicsError, SerialChain, matrix_to_rpy, rotation_vector
from .xarm_gripper import Gripper
from .xarm_motion import Move, ServoStream
from .xarm_plant import Plant
from .xarm_protocol import Status
from .xarm_report import Reduced, Report
from .xarm_spec import XARM7, ArmSpec

Floats = NDArray[np.float64]

POSITION_MODE, SERVO_MODE = 0, 1
READY, PAUSED, STOPPED, RESET = 2, 3, 4, 5  # states; 1, moving, follows from the motion itself
MOVING = 1
EMERGENCY_STOP, KINEMATIC_ERROR, JOINT_LIMIT, JOINT_SPEED, SERVO_TCP_SPEED = 1, 21, 23, 24, 60  # error codes
_ALL_JOINTS = 8  # "every joint" where a request names one
_MAX_COMMANDS = 1024
_LONGEST_TICK = 0.1  # s; after a pause of the physics the arm must not leap


class Controller:
    """The controller of one arm and its gripper.

    It wakes as the real one does: stopped, motors off, in position mode.

    Args:
        plant: the arm.
        now: s, on the clock of every later call.
        spec: kinematics and limits of the arm.
    """

    def __init__(self, plant: Plant, now: float, spec: ArmSpec = XARM7) -> None:
        self.lock = threading.RLock()
        self.spec = spec
        self.mode = POSITION_MODE
        self.enabled = 0
        self.error = 0
        self.warning = 0
        self.parameters: dict[int, bytes] = {}  # kept for clients, without effect
        self.overspeed = (0, 0.0)  # joint or 0 for the TCP, and rad/s or m/s, of the last speed error
        self.tcp_offset: tuple[float, ...] = (0.0,) * 6
        self.load: tuple[float, ...] = (0.0,) * 4
        self.collision_sensitivity = 3
        self.servo_tcp_factor = spec.servo_tcp_factor
        self.reduced = Reduced(
            on=False,
            tcp_speed=1e3 * spec.max_tcp_speed,
            joint_speed=spec.max_joint_speed,
            boundary=(9999, -9999) * 3,
            joint_range=tuple(np.stack([spec.bounds.lower, spec.bounds.upper], axis=1).ravel().tolist()),
            fence=False,
            rebound=False,
        )
        self.gripper = Gripper(plant.gripper_opening)
        self._plant = plant
        self._now = now
        self._state = STOPPED
        self._lasting_error = 0  # cannot be cleaned
        self._stuck: dict[int, float] = {}  # joint 0-6 -> rad
        self._moves: deque[Callable[[Floats], Move]] = deque()
        self._move: Move | None = None
        self._measure()
        self.set_point = self.joints
        self._servo = ServoStream(spec, self.set_point, now)

    def tick(self, now: float) -> None:
        """Advance the motion to `now`, s, and command the plant. To be called at 100 Hz or faster."""
        with self.lock:
            dt = min(max(now - self._now, 0.0), _LONGEST_TICK)
            self._now = now
            self._measure()
            self._advance(dt)
            self.gripper.advance(self._opening, dt)
            target = self.set_point.copy()
            target[list(self._stuck)] = list(self._stuck.values())
            self._plant.command(target, self.gripper.opening)

    def _measure(self) -> None:
        self.joints = np.array(self._plant.joint_positions, dtype=float)
        self.velocities = np.array(self._plant.joint_velocities, dtype=float)
        self.torques = np.array(self._plant.joint_torques, dtype=float)
        self._opening = float(self._plant.gripper_opening)

    def _advance(self, dt: float) -> None:
        if not self._all_enabled:
            return
        if self.mode == SERVO_MODE:
            if self._state == READY:
                self.set_point = self._servo.advance(self.set_point, dt)
            return
        brake = self._state != READY
        try:
            if self._move is None and self._moves and not brake:
                self._move = self._moves.popleft()(self.set_point)
            if self._move is not None:
                self.set_point = self._move.advance(self.set_point, dt, brake)
        except KinematicsError:
            self.trip(KINEMATIC_ERROR)
            return
        if self._move is not None and (self._move.finished or (self._state in (STOPPED, RESET) and self._move.at_rest)):
            self._move = None

    @property
    def state(self) -> int:
        """1 moving, 2 ready, 3 paused, 4 stopped, 5 just reset."""
        if self._state != READY:
            return self._state
        if self.mode == SERVO_MODE:
            return MOVING if self._servo.moving(self.set_point, self._now) else READY
        return MOVING if self.commands else READY

    @property
    def commands(self) -> int:
        """Moves waiting or under way."""
        return len(self._moves) + (self._move is not None)

    @property
    def status(self) -> Status:
        """The status byte that every reply carries."""
        status = Status.OK
        if self.error:
            status |= Status.ERROR
        if self.warning:
            status |= Status.WARNING
        if self._state in (STOPPED, RESET):
            status |= Status.NOT_READY
        return status

    @property
    def _all_enabled(self) -> bool:
        return self.enabled == 0x7F

    def trip(self, error: int, lasting: bool = False) -> None:
        """Stop at once with a controller error, such as 1, the emergency button, or 31, a collision.

        A lasting error cannot be cleaned before `recover`.
        """
        with self.lock:
            self.error = error
            if lasting:
                self._lasting_error = error
            self._move = None
            self._moves.clear()
            self._state = STOPPED
            if error <= 17:  # buttons and motor faults cut the power; limits do not
                self.enabled = 0

    def clean_error(self) -> None:
        """Forget the error, unless its cause lasts. The arm stays stopped."""
        self.error = self._lasting_error

    def recover(self) -> None:
        """End the cause of a lasting error; the error stays until it is cleaned."""
        with self.lock:
            self._lasting_error = 0

    def stick(self, joint: int) -> None:
        """Joint 1-7 stays where it is, whatever it is told."""
        with self.lock:
            self._stuck[joint - 1] = float(self.joints[joint - 1])

    def unstick(self) -> None:
        """Every joint follows again."""
        with self.lock:
            self._stuck.clear()

    def clean_warning(self) -> None:
        """Forget the warning."""
        self.warning = 0

    def enable(self, joint: int, on: bool) -> bool:
        """Switch motor 1-7 on or off, or all with 8. The set point of a limp arm is where it stands.

        Returns:
            Whether there is such a joint.
        """
        if not 1 <= joint <= _ALL_JOINTS:
            return False
        if not self._all_enabled:
            self.set_point = self.joints
        mask = 0x7F if joint == _ALL_JOINTS else 1 << (joint - 1)
        self.enabled = self.enabled & ~mask if not on or self.error else self.enabled | mask
        if not self._all_enabled:
            self.set_state(STOPPED)
        return True

    def set_state(self, state: int) -> bool:
        """Obey 0 go, 3 pause, 4 stop or 6 stop gently; an arm with an error or limp motors stays stopped.

        Returns:
            Whether there is such a state.
        """
        if state == 0 and self._all_enabled and not self.error:
            if self._state != PAUSED:
                self._move = None
                self._servo = ServoStream(self.spec, self.set_point, self._now)
            self._state = READY
        elif state == 3 and self._state == READY:
            self._state = PAUSED
        elif state in (STOPPED, 6):
            self._moves.clear()
            self._state = STOPPED
        return state in (0, 3, STOPPED, 6)

    def set_mode(self, mode: int) -> bool:
        """Enter position (0) or servo (1) mode. As in the real box, only a new `set_state(0)` allows motion.

        Returns:
            Whether there is such a mode.
        """
        if mode not in (POSITION_MODE, SERVO_MODE):
            return False
        self.mode = mode
        self._move = None
        self._moves.clear()
        if self._state != STOPPED:
            self._state = RESET
        return True

    def within_limits(self, joints: Floats) -> bool:
        """Whether joints (7,), rad, keep the joint limits, to the SDK's own 0.1 degree."""
        slack = math.radians(0.1)
        return bool(
            np.all(joints >= self.spec.bounds.lower - slack) and np.all(joints <= self.spec.bounds.upper + slack)
        )

    def add_move(self, make: Callable[[Floats], Move]) -> bool:
        """Queue a move; `make` is called with the set point (7,), rad, when its turn comes.

        Returns:
            Whether there was room.
        """
        if self.commands >= _MAX_COMMANDS:
            return False
        self._moves.append(make)
        return True

    def servo(self, target: Floats, now: float) -> None:
        """Go to joints (7,), rad, at once; trips on a joint limit or on too fast a stream."""
        if not self.within_limits(target):
            self.trip(JOINT_LIMIT)
            return
        overspeed = self._servo.accept(target, now, self.servo_tcp_factor)
        if overspeed is not None:
            self.overspeed = (overspeed.joint, overspeed.speed)
            self.trip(JOINT_SPEED if overspeed.joint else SERVO_TCP_SPEED)

    def set_tool(self, offset: tuple[float, ...], tool: Floats) -> None:
        """Set the TCP offset, as sent (mm, rad) and as a pose (4, 4) in the flange's frame, m."""
        self.tcp_offset = offset
        self.spec = replace(self.spec, chain=SerialChain(self.spec.chain.dh, tool))
        self._servo = ServoStream(self.spec, self.set_point, self._now)

    def report(self) -> Report:
        """What the report ports tell now. Positions and speeds are measured, not commanded."""
        with self.lock:
            tool = self.spec.chain.forward(self.joints)
            tcp_velocity = self.spec.chain.jacobian(self.joints)[:3] @ self.velocities
            return Report(
                state=self.state,
                mode=self.mode,
                commands=self.commands,
                joints=self.joints,
                pose=wire_pose(tool),
                torques=self.torques,
                enabled=self.enabled,
                error=self.error,
                warning=self.warning,
                tcp_offset=self.tcp_offset,
                load=self.load,
                collision_sensitivity=self.collision_sensitivity,
                version=self.spec.firmware,
                tcp_limits=(1e3, 1.0, 1e3 * self.spec.max_tcp_acceleration, 0.1, 1e3 * self.spec.max_tcp_speed),
                joint_limits=(20.0, 0.01, self.spec.max_joint_acceleration, 1e-4, self.spec.max_joint_speed),
                tcp_speed=1e3 * math.hypot(*tcp_velocity),
                joint_speeds=self.velocities,
                axis_angle=rotation_vector(tool[:3, :3]),
                reduced=self.reduced,
            )


def wire_pose(pose: Floats) -> tuple[float, ...]:
    """x, y, z, mm, and roll, pitch, yaw, rad, of a pose (4, 4), m."""
    return (*(1e3 * pose[:3, 3]).tolist(), *matrix_to_rpy(pose[:3, :3]))
