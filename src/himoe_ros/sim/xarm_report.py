"""The frames that the xArm controller sends unasked on ports 30001 (normal), 30002 (rich) and 30003 (real).

A frame is its own length u32 and then the fields that `x3/report.py` of xarm-python-sdk 1.18.4 names;
integers are big-endian, floats little-endian, lengths mm, angles rad.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .xarm_protocol import pack_floats

Vector = Sequence[float] | NDArray[np.float64]

NORMAL_PORT = 30001
RICH_PORT = 30002
REAL_PORT = 30003


@dataclass(frozen=True)
class Reduced:
    """The limits of the reduced mode. Only the two speeds act in the simulation.

    Attributes:
        on: the mode is on.
        tcp_speed: mm/s.
        joint_speed: rad/s.
        boundary: x max, x min, y max, y min, z max, z min, mm.
        joint_range: lower and upper of each of 7 joints in turn, rad.
        fence: the boundary is on.
        rebound: the arm rebounds from a collision.
    """

    on: bool
    tcp_speed: float
    joint_speed: float
    boundary: tuple[int, ...]
    joint_range: tuple[float, ...]
    fence: bool
    rebound: bool

    def encode(self) -> bytes:
        """79 bytes, the same in a reply to GET_REDUCED_STATE and in a rich report."""
        speeds_and_range = pack_floats((self.tcp_speed, self.joint_speed, *self.joint_range))
        return struct.pack(">?6h", self.on, *self.boundary) + speeds_and_range + bytes([self.fence, self.rebound])


@dataclass(frozen=True)
class Report:
    """What the controller tells without being asked.

    Attributes:
        state: 1 moving, 2 ready, 3 paused, 4 stopped, 5 just reset.
        mode: 0 position, 1 servo.
        commands: moves waiting or under way.
        joints: (7,) rad.
        pose: x, y, z, mm, and roll, pitch, yaw, rad, of the tool in the base.
        torques: (7,) N m.
        enabled: a bit for each motor that is on, joint 1 in bit 0.
        error: controller error code, 0 for none.
        warning: controller warning code, 0 for none.
        tcp_offset: x, y, z, mm, and roll, pitch, yaw, rad, of the tool on the flange.
        load: mass, kg, and centre of mass, mm, of the tool.
        collision_sensitivity: 0-5.
        version: of the firmware.
        joint_limits: jerk rad/s³, acceleration min and max rad/s², speed min and max rad/s.
        tcp_limits: jerk mm/s³, acceleration min and max mm/s², speed min and max mm/s.
        tcp_speed: mm/s.
        joint_speeds: (7,) rad/s.
        axis_angle: rotation vector of the tool in the base, rad.
        reduced: limits of the reduced mode.
    """

    state: int
    mode: int
    commands: int
    joints: Vector
    pose: Vector
    torques: Vector
    enabled: int
    error: int
    warning: int
    tcp_offset: Vector
    load: Vector
    collision_sensitivity: int
    version: str
    joint_limits: Vector
    tcp_limits: Vector
    tcp_speed: float
    joint_speeds: Vector
    axis_angle: Vector
    reduced: Reduced


def _sized(body: bytes) -> bytes:
    return struct.pack(">I", 4 + len(body)) + body


def _motion(report: Report) -> bytes:
    head = struct.pack(">BH", report.mode << 4 | report.state, report.commands)
    return head + pack_floats((*report.joints, *report.pose, *report.torques))


def _condition(report: Report) -> bytes:
    head = bytes([report.enabled, report.enabled, report.error, report.warning])
    tail = bytes([report.collision_sensitivity, 1]) + pack_floats((0.0, 0.0, -1.0))
    return head + pack_floats((*report.tcp_offset, *report.load)) + tail


def encode_real(report: Report) -> bytes:
    """A frame of port 30003, 135 bytes: motion and an absent force sensor. It carries no error code."""
    return _sized(_motion(report) + bytes(48))


def encode_normal(report: Report) -> bytes:
    """A frame of port 30001, 145 bytes: motion and condition."""
    return _sized(_motion(report) + _condition(report))


def encode_rich(report: Report) -> bytes:
    """A frame of port 30002, 574 bytes: motion, condition, limits, speeds, and devices that the simulation lacks."""
    identity = bytes([7, 7, 1, 1, 1, 1]) + report.version.encode("ascii").ljust(30, b"\0")
    limits = pack_floats((*report.tcp_limits, *report.joint_limits, 2.3, 2.7))
    servos = bytes(16) + bytes([30] * 7)  # no servo errors; 30 degrees Celsius
    speeds = pack_floats((report.tcp_speed, *report.joint_speeds))
    world = bytes(4 + 24) + bytes(2 + 3 + 24)  # counter, world offset, reset flags, collision tool
    power = struct.pack(">7H", *[4800] * 7) + bytes(28)  # centivolt; no currents
    terminals = bytes(2 + 16 + 32)
    sensor = bytes(48 + 1)
    switches = bytes([report.reduced.on | report.reduced.fence << 1])
    tail = pack_floats(report.axis_angle) + switches + report.reduced.encode()
    body = _motion(report) + _condition(report) + identity + limits + servos + speeds + world + power + terminals
    return _sized(body + sensor + tail)
