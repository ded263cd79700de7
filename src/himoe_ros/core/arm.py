"""An arm, its gripper, and the room it works in: the parts of an embodiment with physical limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ConfigError
from .kinematics import JointBounds, SerialChain, rpy_to_matrix
from .observation import Floats
from .reading import mapping, names, number, numbers, pairs, positive, text

ARM_SLOTS = (8, 16)
SLOTS_PER_ARM = 8


@dataclass(frozen=True)
class Gripper:
    """A one-joint gripper, told as an opening: 0 closed, 1 open.

    Attributes:
        name: its name as a slot.
        joint: its name in JointState.
        open, closed: position of that joint, rad or m.
        max_speed: of that joint, rad/s or m/s, > 0.
    """

    name: str
    joint: str
    open: float
    closed: float
    max_speed: float

    def opening(self, position: float) -> float:
        """Opening in [0, 1] when the joint is at `position` (not clipped)."""
        return (position - self.closed) / (self.open - self.closed)

    def position(self, opening: float) -> float:
        """Joint position at which the gripper has this opening."""
        return self.closed + opening * (self.open - self.closed)


@dataclass(frozen=True)
class Arm:
    """A serial arm with a gripper.

    Attributes:
        joints: J joint names, base to tip.
        first_slot: slot of the first joint; the gripper follows the last one.
        bounds: (J,) rad, position limits, and the posture to prefer (home).
        max_velocity: rad/s, for each joint, > 0.
        max_acceleration: rad/s^2, for each joint, > 0.
        max_jerk: rad/s^3, for each joint, > 0.
        park: (J,) rad, where to leave the arm.
        chain: forward kinematics to the tool point; None where unknown.
        mount: (4, 4) m, pose of the base in the robot's frame.
        reference: (3, 3) orientation in which roll, pitch and yaw are all zero.
    """

    name: str
    joints: tuple[str, ...]
    first_slot: int
    bounds: JointBounds
    max_velocity: float
    max_acceleration: float
    max_jerk: float
    park: Floats
    gripper: Gripper
    chain: SerialChain | None
    mount: Floats
    reference: Floats

    def forward(self, joints: Floats) -> Floats:
        """(J,) rad -> (4, 4) pose of the tool point in the robot's frame, m."""
        if self.chain is None:
            raise ConfigError(f"arm '{self.name}' has no 'kinematics' in its embodiment file")
        return self.mount @ self.chain.forward(joints)

    def tool(self, joints: Mapping[str, float]) -> Floats:
        """The same of joints by name, among which others may be."""
        return self.forward(np.array([joints[name] for name in self.joints]))


@dataclass(frozen=True)
class Workspace:
    """Where the tool point may go and how fast.

    Attributes:
        lower, upper: (3,) m, frame of the base.
        max_tilt: rad, largest |roll| and |pitch| relative to the arm's reference orientation.
        max_speed, max_acceleration: m/s and m/s^2, along end-effector plans.
        max_rotation, max_rotation_acceleration: rad/s and rad/s^2, along end-effector plans.
        max_tool_speed: m/s, of the tool point in any motion.
    """

    lower: Floats
    upper: Floats
    max_tilt: float
    max_speed: float
    max_acceleration: float
    max_rotation: float
    max_rotation_acceleration: float
    max_tool_speed: float


def parse_arm(name: str, data: Any, where: str) -> Arm:
    keys = ("first_slot", "joints", "position_limits_rad", "max_velocity_rad_s", "max_acceleration_rad_s2")
    d = mapping(data, where, (*keys, "max_jerk_rad_s3", "home_rad", "gripper"), ("park_rad", "kinematics", "mount"))
    joints = names(d["joints"], f"{where}.joints")
    lower, upper = pairs(d["position_limits_rad"], len(joints), f"{where}.position_limits_rad")
    home, park = (
        numbers(d.get(key, d["home_rad"]), (len(joints),), f"{where}.{key}") for key in ("home_rad", "park_rad")
    )
    for key, posture in (("home_rad", home), ("park_rad", park)):
        if np.any(posture < lower) or np.any(posture > upper):
            raise ConfigError(f"{where}.{key} must lie within position_limits_rad, got {posture.tolist()}")
    first_slot = d["first_slot"]
    if type(first_slot) is not int or first_slot not in ARM_SLOTS or len(joints) >= SLOTS_PER_ARM:
        raise ConfigError(
            f"{where}: an arm has fewer than {SLOTS_PER_ARM} joints and its first_slot is one of {list(ARM_SLOTS)}; "
            f"got {len(joints)} joints from slot {first_slot!r}"
        )
    chain, reference = (
        _kinematics(d["kinematics"], len(joints), f"{where}.kinematics") if "kinematics" in d else (None, np.eye(3))
    )
    return Arm(
        name=name,
        joints=joints,
        first_slot=first_slot,
        bounds=JointBounds(lower, upper, home),
        max_velocity=positive(d["max_velocity_rad_s"], f"{where}.max_velocity_rad_s"),
        max_acceleration=positive(d["max_acceleration_rad_s2"], f"{where}.max_acceleration_rad_s2"),
        max_jerk=positive(d["max_jerk_rad_s3"], f"{where}.max_jerk_rad_s3"),
        park=park,
        gripper=_gripper(d["gripper"], f"{where}.gripper"),
        chain=chain,
        mount=_mount(d["mount"], f"{where}.mount") if "mount" in d else np.eye(4),
        reference=reference,
    )


def _gripper(data: Any, where: str) -> Gripper:
    d = mapping(data, where, ("name", "joint", "open", "closed", "max_speed"))
    opened, closed = number(d["open"], f"{where}.open"), number(d["closed"], f"{where}.closed")
    if opened == closed:
        raise ConfigError(f"{where}: open and closed must differ, both are {opened}")
    return Gripper(
        text(d["name"], f"{where}.name"),
        text(d["joint"], f"{where}.joint"),
        opened,
        closed,
        positive(d["max_speed"], f"{where}.max_speed"),
    )


def _kinematics(data: Any, joints: int, where: str) -> tuple[SerialChain, Floats]:
    d = mapping(data, where, ("modified_dh", "tool_m", "reference_rpy_rad"))
    tool = np.eye(4)
    tool[:3, 3] = numbers(d["tool_m"], (3,), f"{where}.tool_m")
    chain = SerialChain(numbers(d["modified_dh"], (joints, 4), f"{where}.modified_dh"), tool)
    return chain, rpy_to_matrix(*numbers(d["reference_rpy_rad"], (3,), f"{where}.reference_rpy_rad").tolist())


def _mount(data: Any, where: str) -> Floats:
    d = mapping(data, where, ("xyz_m", "yaw_rad"))
    mount = np.eye(4)
    mount[:3, :3] = rpy_to_matrix(0.0, 0.0, number(d["yaw_rad"], f"{where}.yaw_rad"))
    mount[:3, 3] = numbers(d["xyz_m"], (3,), f"{where}.xyz_m")
    return mount


def parse_workspace(data: Any, where: str) -> Workspace:
    limits = {
        "max_tilt": "max_tilt_rad",
        "max_speed": "max_speed_m_s",
        "max_acceleration": "max_acceleration_m_s2",
        "max_rotation": "max_rotation_rad_s",
        "max_rotation_acceleration": "max_rotation_acceleration_rad_s2",
        "max_tool_speed": "max_tool_speed_m_s",
    }
    d = mapping(data, where, ("x_m", "y_m", "z_m", *limits.values()))
    lower, upper = pairs([d["x_m"], d["y_m"], d["z_m"]], 3, f"{where}: x_m, y_m, z_m")
    return Workspace(lower, upper, **{field: positive(d[key], f"{where}.{key}") for field, key in limits.items()})
