"""The requests of port 502 that move the arm: planned moves (mode 0) and servo commands (mode 1).

A refusal is told by the status byte: an error makes the SDK return 1, a stopped arm 9, a wrong mode 10.
In planned moves an infinite number means "leave this one as it is".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from .xarm_controller import (
    JOINT_LIMIT,
    KINEMATIC_ERROR,
    POSITION_MODE,
    RESET,
    SERVO_MODE,
    STOPPED,
    Controller,
    wire_pose,
)
from .xarm_motion import Move, joint_move, line_move
from .xarm_protocol import INVALID, Function, Reply, Status, unpack_floats
from .xarm_requests import Handler, axis_angle_pose, euler_pose

Floats = NDArray[np.float64]

_SLOWEST = 1e-4  # rad/s, m/s and their accelerations
_SERVO_TOLERANCE_M = 2e-3
_QUIET: Reply = (Status.OK, bytes(3))  # the third byte is the error that an "only check" request found


def _in_mode(mode: int, handler: Handler) -> Handler:
    """Let a request through only where the arm may move and the mode is right."""

    def guarded(box: Controller, payload: bytes, now: float) -> Reply:
        if box.state in (STOPPED, RESET):
            return _QUIET
        if box.mode != mode:
            return INVALID
        return handler(box, payload, now)

    return guarded


def _flag(payload: bytes, offset: int) -> int:
    """A byte that only some requests carry."""
    return payload[offset] if len(payload) > offset else 0


def _limited(value: float, limit: float) -> float:
    return min(max(value, _SLOWEST), limit)


def _move_joints(box: Controller, goal: Floats, pace: Sequence[float], relative: bool, check: int) -> Reply:
    """Queue a move to, or with `relative` by, `goal` (7,), rad; the pace is rad/s and rad/s²."""
    speed, acceleration = pace
    wanted = np.isfinite(goal)
    if np.any(np.isnan(goal)) or not (math.isfinite(speed) and math.isfinite(acceleration)):
        return INVALID
    if not relative and not box.within_limits(np.where(wanted, goal, box.spec.bounds.rest)):
        if check:
            return Status.OK, bytes([0, 0, JOINT_LIMIT])
        box.trip(JOINT_LIMIT)
        return _QUIET
    if check:
        return _QUIET
    fastest = box.reduced.joint_speed if box.reduced.on else box.spec.max_joint_speed

    def make(start: Floats) -> Move:
        end = start + goal if relative else np.where(wanted, goal, start)
        end = np.clip(end, box.spec.bounds.lower, box.spec.bounds.upper)
        return joint_move(start, end, _limited(speed, fastest), _limited(acceleration, box.spec.max_joint_acceleration))

    return _QUIET if box.add_move(make) else INVALID


def _move_line(box: Controller, goal_of: Callable[[Floats], Floats], pace: Sequence[float], check: int) -> Reply:
    """Queue a line to `goal_of(pose at its start)`, poses (4, 4), m; the pace is mm/s and mm/s²."""
    speed, acceleration = 1e-3 * pace[0], 1e-3 * pace[1]
    if check:
        return _QUIET
    fastest = 1e-3 * box.reduced.tcp_speed if box.reduced.on else box.spec.max_tcp_speed

    def make(start: Floats) -> Move:
        pose = box.spec.chain.forward(start)
        limit = box.spec.max_tcp_acceleration
        return line_move(box.spec, pose, goal_of(pose), _limited(speed, fastest), _limited(acceleration, limit))

    return _QUIET if box.add_move(make) else INVALID


def _joint_request(box: Controller, payload: bytes, _now: float) -> Reply:
    values = unpack_floats(payload, 9)
    return _move_joints(box, np.array(values[:7]), values[7:], relative=False, check=_flag(payload, 40))


def _home_request(box: Controller, payload: bytes, _now: float) -> Reply:
    return _move_joints(box, np.zeros(7), unpack_floats(payload, 2), relative=False, check=_flag(payload, 12))


def _line_request(box: Controller, payload: bytes, _now: float) -> Reply:
    values = unpack_floats(payload, 8)
    in_tool_frame, axis_angle, check = (_flag(payload, offset) for offset in (40, 41, 42))
    read = axis_angle_pose if axis_angle else euler_pose
    if any(math.isnan(value) for value in values):
        return INVALID

    def goal_of(start: Floats) -> Floats:
        if in_tool_frame:
            return start @ read(values)
        kept = zip(values[:6], wire_pose(start), strict=True)
        return read(tuple(value if math.isfinite(value) else here for value, here in kept))

    return _move_line(box, goal_of, values[6:8], check=check)


def _relative_request(box: Controller, payload: bytes, _now: float) -> Reply:
    values = unpack_floats(payload, 9)
    in_joints, axis_angle, check = (_flag(payload, offset) for offset in (44, 45, 46))
    if not np.all(np.isfinite(values)):
        return INVALID
    if in_joints:
        return _move_joints(box, np.array(values[:7]), values[7:], relative=True, check=check)

    def goal_of(start: Floats) -> Floats:
        if axis_angle:
            goal = axis_angle_pose(values)
            goal[:3, :3] = goal[:3, :3] @ start[:3, :3]
            goal[:3, 3] += start[:3, 3]
            return goal
        return euler_pose(tuple(np.add(wire_pose(start), values[:6])))

    return _move_line(box, goal_of, values[7:], check=check)


def _servo_joint(box: Controller, payload: bytes, now: float) -> Reply:
    target = np.array(unpack_floats(payload, 7))
    if not np.all(np.isfinite(target)):
        return INVALID
    box.servo(target, now)
    return _QUIET


def _servo_pose(box: Controller, goal: Floats, now: float) -> Reply:
    target, error = box.spec.chain.step_toward(box.set_point, goal, box.spec.bounds, iterations=4, rest_gain=0.002)
    if math.hypot(*error[:3]) > _SERVO_TOLERANCE_M:
        box.trip(KINEMATIC_ERROR)
    else:
        box.servo(target, now)
    return _QUIET


def _servo_cartesian(box: Controller, payload: bytes, now: float) -> Reply:
    values = unpack_floats(payload, 9)
    if not np.all(np.isfinite(values)):
        return INVALID
    goal = euler_pose(values)
    in_tool_frame = values[8] != 0.0
    return _servo_pose(box, box.spec.chain.forward(box.set_point) @ goal if in_tool_frame else goal, now)


def _servo_axis_angle(box: Controller, payload: bytes, now: float) -> Reply:
    values = unpack_floats(payload, 8)
    in_tool_frame, relative = _flag(payload, 32), _flag(payload, 36)
    if not np.all(np.isfinite(values)):
        return INVALID
    goal = axis_angle_pose(values)
    here = box.spec.chain.forward(box.set_point)
    if in_tool_frame:
        goal = here @ goal
    elif relative:
        goal[:3, :3] = goal[:3, :3] @ here[:3, :3]
        goal[:3, 3] += here[:3, 3]
    return _servo_pose(box, goal, now)


MOTION_HANDLERS: dict[int, Handler] = {
    Function.MOVE_JOINT: _in_mode(POSITION_MODE, _joint_request),
    Function.MOVE_JOINT_BLEND: _in_mode(POSITION_MODE, _joint_request),
    Function.MOVE_HOME: _in_mode(POSITION_MODE, _home_request),
    Function.MOVE_LINE: _in_mode(POSITION_MODE, _line_request),
    Function.MOVE_RELATIVE: _in_mode(POSITION_MODE, _relative_request),
    Function.SERVO_JOINT: _in_mode(SERVO_MODE, _servo_joint),
    Function.SERVO_CARTESIAN: _in_mode(SERVO_MODE, _servo_cartesian),
    Function.SERVO_CARTESIAN_AXIS_ANGLE: _in_mode(SERVO_MODE, _servo_axis_angle),
}
