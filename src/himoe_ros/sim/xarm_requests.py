"""The requests of port 502 that ask or set something: state, errors, pose, limits, gripper."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.kinematics import KinematicsError, pose_matrix, rotation_matrix, rotation_vector, rpy_to_matrix
from .xarm_controller import Controller, wire_pose
from .xarm_protocol import DONE, INVALID, Function, Reply, Status, pack_floats, unpack_floats

Floats = NDArray[np.float64]
Handler = Callable[[Controller, bytes, float], Reply]

_TOOL_BAUD_ADDRESS = 0x0A0B
_TOOL_BAUD_INDEX = 11  # 2 Mbit/s in the SDK's table, what the gripper needs
_IK_RESTARTS = 4  # a pose without solution then costs some 15 ms
_TCP_SPEED_FACTOR = 1  # numbers of common parameters and infos: the SDK's set_linear_spd_limit_factor
_JOINT_SPEED_INFO = 104  # get_c24_error_info
_TCP_SPEED_INFO = 105  # get_c60_error_info

# Settings without a meaning in simulation, taken so that a client's setup runs through.
_ACCEPTED = (
    Function.SET_BRAKE,
    Function.SET_TCP_JERK,
    Function.SET_TCP_MAX_ACCELERATION,
    Function.SET_JOINT_JERK,
    Function.SET_JOINT_MAX_ACCELERATION,
    Function.SET_TEACH_SENSITIVITY,
    Function.CLEAN_CONFIGURATION,
    Function.SAVE_CONFIGURATION,
    Function.SET_GRAVITY_DIRECTION,
    Function.SET_APPROXIMATE_MOTION,
    Function.SET_REPORT_TORQUE_OR_CURRENT,
    Function.SET_SELF_COLLISION_CHECK,
    Function.SET_COLLISION_TOOL,
    Function.SET_CARTESIAN_CONTINUOUS,
    Function.TOOL_MODBUS_TIMEOUT,
    Function.TOOL_WRITE_16,
    Function.SET_FEEDBACK_TYPE,
    Function.CHECK_FEEDBACK,
)


def euler_pose(values: tuple[float, ...]) -> Floats:
    """Pose (4, 4), m, of x, y, z, mm, and roll, pitch, yaw, rad."""
    return pose_matrix(np.array(values[:3]) / 1e3, rpy_to_matrix(*values[3:6]))


def axis_angle_pose(values: tuple[float, ...]) -> Floats:
    """Pose (4, 4), m, of x, y, z, mm, and a rotation vector, rad."""
    return pose_matrix(np.array(values[:3]) / 1e3, rotation_matrix(np.array(values[3:6])))


def _answer(get: Callable[[Controller], bytes]) -> Handler:
    return lambda box, _payload, _now: (Status.OK, get(box))


def _command(do: Callable[[Controller, bytes], Any]) -> Handler:
    """A request that is refused only where `do` returns False."""
    return lambda box, payload, _now: INVALID if do(box, payload) is False else DONE


def _reduce(**parse: Callable[[bytes], Any]) -> Handler:
    def change(box: Controller, payload: bytes) -> None:
        box.reduced = replace(box.reduced, **{name: read(payload) for name, read in parse.items()})

    return _command(change)


def _boundary(payload: bytes) -> tuple[int, ...]:
    """x max, x min, ... in mm; sent in 32 bits, but reported in 16."""
    return tuple(min(max(value, -32768), 32767) for value in struct.unpack_from("<6i", payload))


def _text(*words: str) -> bytes:
    return b"".join(word.encode("ascii") + b"\0" for word in words).ljust(40, b"\0")


def _joints(box: Controller, payload: bytes, _now: float) -> Reply:
    """Positions, and where the client asks for 2 or 3 vectors, velocities and torques."""
    vectors = (payload[0] & 0x0F) if payload else 1
    values = np.concatenate((box.joints, box.velocities, box.torques)[:vectors])
    return Status.OK, pack_floats(values.tolist())


def _axis_angle(box: Controller) -> bytes:
    pose = box.spec.chain.forward(box.joints)
    return pack_floats((1e3 * pose[:3, 3]).tolist() + rotation_vector(pose[:3, :3]).tolist())


def _inverse(box: Controller, payload: bytes) -> Floats | None:
    values = unpack_floats(payload, 6)
    if not np.all(np.isfinite(values)):
        return None
    try:
        return box.spec.chain.inverse(euler_pose(values), box.joints, box.spec.bounds, restarts=_IK_RESTARTS)
    except KinematicsError:
        return None


def _get_ik(box: Controller, payload: bytes, _now: float) -> Reply:
    joints = _inverse(box, payload)
    return INVALID if joints is None else (Status.OK, pack_floats(joints.tolist()))


def _get_fk(box: Controller, payload: bytes, _now: float) -> Reply:
    joints = np.array(unpack_floats(payload, 7))
    if not np.all(np.isfinite(joints)):
        return INVALID
    return Status.OK, pack_floats(wire_pose(box.spec.chain.forward(joints)))


def _is_joint_limit(box: Controller, payload: bytes, _now: float) -> Reply:
    return Status.OK, bytes([not box.within_limits(np.array(unpack_floats(payload, 7)))])


def _is_tcp_limit(box: Controller, payload: bytes, _now: float) -> Reply:
    return Status.OK, bytes([_inverse(box, payload) is None])


def _set_tcp_offset(box: Controller, payload: bytes) -> bool:
    offset = unpack_floats(payload, 6)
    if not np.all(np.isfinite(offset)):
        return False
    box.set_tool(offset, euler_pose(offset))
    return True


def _set_tcp_load(box: Controller, payload: bytes) -> None:
    box.load = unpack_floats(payload, 4)


def _set_collision_sensitivity(box: Controller, payload: bytes) -> bool:
    if payload[0] > 5:  # the SDK closes its report connection when it is told more
        return False
    box.collision_sensitivity = payload[0]
    return True


def _rs485(box: Controller, payload: bytes, _now: float) -> Reply:
    answer = box.gripper.handle(payload)
    return INVALID if answer is None else (Status.OK, answer)


def _read_tool(_box: Controller, payload: bytes, _now: float) -> Reply:
    address = payload[1] << 8 | payload[2]
    return Status.OK, struct.pack(">i", _TOOL_BAUD_INDEX if address == _TOOL_BAUD_ADDRESS else 0)


def _set_parameter(box: Controller, payload: bytes) -> None:
    box.parameters[payload[0]] = payload[1:]
    if payload[0] == _TCP_SPEED_FACTOR:
        (box.servo_tcp_factor,) = unpack_floats(payload, 1, 1)


def _get_parameter(box: Controller, payload: bytes, _now: float) -> Reply:
    if payload[0] == _TCP_SPEED_FACTOR:
        return Status.OK, pack_floats((box.servo_tcp_factor,))
    return Status.OK, box.parameters.get(payload[0], bytes(4))


def _get_info(box: Controller, payload: bytes, _now: float) -> Reply:
    joint, speed = box.overspeed
    if payload[0] == _JOINT_SPEED_INFO:
        return Status.OK, bytes([joint]) + pack_floats((speed if joint else 0.0,))
    if payload[0] == _TCP_SPEED_INFO:
        limit = 1e3 * box.servo_tcp_factor * box.spec.max_tcp_speed
        return Status.OK, pack_floats((limit, 0.0 if joint else 1e3 * speed))
    return INVALID


# Pure calculations, long for the lock that the physics also needs.
UNLOCKED = frozenset({Function.GET_IK, Function.GET_FK, Function.IS_TCP_LIMIT})

HANDLERS: dict[int, Handler] = {
    **dict.fromkeys(_ACCEPTED, _command(lambda _box, _payload: None)),
    Function.GET_VERSION: _answer(lambda box: _text(box.spec.identity)),
    Function.GET_SERIAL: _answer(lambda box: _text(*box.spec.serials)),
    Function.GET_REPORT_TORQUE_OR_CURRENT: _answer(lambda _: b"\0"),
    Function.GET_APPROXIMATE_MOTION: _answer(lambda _: b"\0"),
    Function.MOTION_ENABLE: _command(lambda box, payload: box.enable(payload[0], payload[1] != 0)),
    Function.SET_STATE: _command(lambda box, payload: box.set_state(payload[0])),
    Function.GET_STATE: _answer(lambda box: bytes([box.state])),
    Function.GET_COMMAND_COUNT: _answer(lambda box: struct.pack(">H", box.commands)),
    Function.GET_ERROR: _answer(lambda box: bytes([box.error, box.warning])),
    Function.CLEAN_ERROR: _command(lambda box, _: box.clean_error()),
    Function.CLEAN_WARNING: _command(lambda box, _: box.clean_warning()),
    Function.SET_MODE: _command(lambda box, payload: box.set_mode(payload[0])),
    Function.SET_TCP_OFFSET: _command(_set_tcp_offset),
    Function.SET_TCP_LOAD: _command(_set_tcp_load),
    Function.SET_COLLISION_SENSITIVITY: _command(_set_collision_sensitivity),
    Function.GET_TCP_POSE: _answer(lambda box: pack_floats(wire_pose(box.spec.chain.forward(box.joints)))),
    Function.GET_TCP_POSE_AXIS_ANGLE: _answer(_axis_angle),
    Function.GET_JOINTS: _joints,
    Function.GET_JOINT_TORQUES: _answer(lambda box: pack_floats(box.torques.tolist())),
    Function.GET_IK: _get_ik,
    Function.GET_FK: _get_fk,
    Function.IS_JOINT_LIMIT: _is_joint_limit,
    Function.IS_TCP_LIMIT: _is_tcp_limit,
    Function.SET_REDUCED_TCP_SPEED: _reduce(tcp_speed=lambda p: unpack_floats(p, 1)[0]),
    Function.SET_REDUCED_JOINT_SPEED: _reduce(joint_speed=lambda p: unpack_floats(p, 1)[0]),
    Function.SET_REDUCED_BOUNDARY: _reduce(boundary=_boundary),
    Function.SET_REDUCED_JOINT_RANGE: _reduce(joint_range=lambda p: unpack_floats(p, 14)),
    Function.SET_REDUCED_MODE: _reduce(on=lambda p: p[0] != 0),
    Function.SET_FENCE: _reduce(fence=lambda p: p[0] != 0),
    Function.SET_COLLISION_REBOUND: _reduce(rebound=lambda p: p[0] != 0),
    Function.GET_REDUCED_MODE: _answer(lambda box: bytes([box.reduced.on])),
    Function.GET_REDUCED_STATE: _answer(lambda box: box.reduced.encode()),
    Function.TOOL_RS485: _rs485,
    Function.TOOL_ERROR: _answer(lambda box: bytes([0, box.gripper.error])),
    Function.TOOL_READ_16: _read_tool,
    Function.SET_COMMON_PARAMETER: _command(_set_parameter),
    Function.GET_COMMON_PARAMETER: _get_parameter,
    Function.GET_COMMON_INFO: _get_info,
}
