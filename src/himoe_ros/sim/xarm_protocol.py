"""The bytes of the UFACTORY xArm controller: requests and replies of port 502.

A request is a Modbus-TCP-like header (transaction u16, protocol u16, length u16, big-endian), a
function u8 and a payload. A reply repeats the header and the function and puts a status byte before
its payload. Floats are little-endian, integers big-endian, except where noted. Lengths are mm and
angles rad on the wire. Source: xarm-python-sdk 1.18.4, `core/wrapper`.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum, IntFlag

CONTROL_PORT = 502

STANDARD_MODBUS = 0  # the protocol numbers of the header
HEARTBEAT = 1
PRIVATE = 2
PRIVATE_WITH_HEARTBEAT = 3

_HEADER = struct.Struct(">HHH")
_MAX_LENGTH = 1024  # the longest request the SDK sends is a recorded trajectory's name or a DH table, under 200


class ProtocolError(ValueError):
    """Bytes that are not a request; the stream behind them cannot be trusted."""


class Function(IntEnum):
    """Numbers of the requests that the simulated controller knows."""

    GET_VERSION = 1
    GET_SERIAL = 2
    GET_REPORT_TORQUE_OR_CURRENT = 5
    GET_APPROXIMATE_MOTION = 7
    MOTION_ENABLE = 11
    SET_STATE = 12
    GET_STATE = 13
    GET_COMMAND_COUNT = 14
    GET_ERROR = 15
    CLEAN_ERROR = 16
    CLEAN_WARNING = 17
    SET_BRAKE = 18
    SET_MODE = 19
    MOVE_LINE = 21
    MOVE_JOINT = 23
    MOVE_JOINT_BLEND = 24
    MOVE_HOME = 25
    SERVO_JOINT = 29
    SERVO_CARTESIAN = 30
    SET_TCP_JERK = 31
    SET_TCP_MAX_ACCELERATION = 32
    SET_JOINT_JERK = 33
    SET_JOINT_MAX_ACCELERATION = 34
    SET_TCP_OFFSET = 35
    SET_TCP_LOAD = 36
    SET_COLLISION_SENSITIVITY = 37
    SET_TEACH_SENSITIVITY = 38
    CLEAN_CONFIGURATION = 39
    SAVE_CONFIGURATION = 40
    GET_TCP_POSE = 41
    GET_JOINTS = 42
    GET_IK = 43
    GET_FK = 44
    IS_JOINT_LIMIT = 45
    IS_TCP_LIMIT = 46
    SET_REDUCED_TCP_SPEED = 47
    SET_REDUCED_JOINT_SPEED = 48
    GET_REDUCED_MODE = 49
    SET_REDUCED_MODE = 50
    SET_GRAVITY_DIRECTION = 51
    SET_REDUCED_BOUNDARY = 52
    GET_REDUCED_STATE = 53
    GET_JOINT_TORQUES = 55
    SET_REDUCED_JOINT_RANGE = 58
    SET_FENCE = 59
    SET_COLLISION_REBOUND = 60
    SET_APPROXIMATE_MOTION = 66
    SET_REPORT_TORQUE_OR_CURRENT = 70
    SET_SELF_COLLISION_CHECK = 77
    SET_COLLISION_TOOL = 78
    SET_CARTESIAN_CONTINUOUS = 80
    MOVE_RELATIVE = 83
    GET_TCP_POSE_AXIS_ANGLE = 91
    SERVO_CARTESIAN_AXIS_ANGLE = 93
    TOOL_MODBUS_TIMEOUT = 123
    TOOL_RS485 = 124
    TOOL_ERROR = 125
    TOOL_WRITE_16 = 127
    TOOL_READ_16 = 128
    SET_COMMON_PARAMETER = 232
    GET_COMMON_PARAMETER = 233
    GET_COMMON_INFO = 234
    CHECK_FEEDBACK = 253
    SET_FEEDBACK_TYPE = 254


class Status(IntFlag):
    """The status byte of a reply. The SDK turns it into 10, 1, 2 and (for motion commands) 9, in this order."""

    OK = 0x00
    INVALID = 0x08
    NOT_READY = 0x10
    WARNING = 0x20
    ERROR = 0x40


@dataclass(frozen=True)
class Request:
    """One request of a client.

    Attributes:
        transaction: chosen by the client, repeated in the reply.
        protocol: 2 or 3 for the private protocol, 1 for a heartbeat, 0 for standard Modbus.
        function: see `Function`; the unit identifier in standard Modbus.
        payload: what follows the function.
    """

    transaction: int
    protocol: int
    function: int
    payload: bytes


def split_requests(buffer: bytes) -> tuple[list[Request], bytes]:
    """Cut a byte stream into requests.

    Args:
        buffer: what arrived and was not used yet.

    Returns:
        The complete requests, and the bytes of the one still incomplete.

    Raises:
        ProtocolError: the bytes are no request; the connection should be closed.
    """
    requests = []
    while len(buffer) >= _HEADER.size:
        transaction, protocol, length = _HEADER.unpack_from(buffer)
        if protocol > PRIVATE_WITH_HEARTBEAT or not 1 <= length <= _MAX_LENGTH:
            raise ProtocolError(
                f"expected protocol 0-3 and a length of 1-{_MAX_LENGTH}, got protocol {protocol} and length {length}"
            )
        end = _HEADER.size + length
        if len(buffer) < end:
            break
        requests.append(Request(transaction, protocol, buffer[6], buffer[7:end]))
        buffer = buffer[end:]
    return requests, buffer


def encode_request(request: Request) -> bytes:
    """The bytes of a request, as a client sends them."""
    header = _HEADER.pack(request.transaction, request.protocol, 1 + len(request.payload))
    return header + bytes([request.function]) + request.payload


def encode_reply(request: Request, status: Status, payload: bytes = b"") -> bytes:
    """The bytes that answer a request of the private protocol."""
    header = _HEADER.pack(request.transaction, request.protocol, 2 + len(payload))
    return header + bytes([request.function, status]) + payload


def encode_illegal_function(request: Request) -> bytes:
    """The standard Modbus exception "illegal function"; without an answer the SDK would wait for hours."""
    function = request.payload[0] if request.payload else 0
    return _HEADER.pack(request.transaction, request.protocol, 3) + bytes([request.function, function | 0x80, 0x01])


def pack_floats(values: Iterable[float]) -> bytes:
    """Little-endian float32, as in every payload."""
    numbers = tuple(values)
    return struct.pack(f"<{len(numbers)}f", *numbers)


def unpack_floats(payload: bytes, count: int, offset: int = 0) -> tuple[float, ...]:
    """Read `count` little-endian float32 of a payload.

    Raises:
        ProtocolError: the payload is shorter.
    """
    if len(payload) < offset + 4 * count:
        raise ProtocolError(f"expected a payload of at least {offset + 4 * count} bytes, got {len(payload)}")
    return struct.unpack_from(f"<{count}f", payload, offset)


Reply = tuple[Status, bytes]  # what a request's handler answers, before the framing
DONE: Reply = (Status.OK, b"")
# The SDK decodes a reply's payload before it looks at the status byte, and raises where it is short: hence the zeros.
INVALID: Reply = (Status.INVALID, bytes(128))
