"""A robot as the policy and the controller know it, read from `config/embodiments/*.yaml`.

The unified vector has 24 slots: 0-7 end effector (x, y, z, roll, pitch, yaw, gripper, spare),
8-15 the first arm's joints and gripper, 16-23 the second arm's (paper, section 4; the released
masks). An embodiment names which of them it fills, and with what.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from .errors import ConfigError
from .kinematics import JointBounds, SerialChain, rpy_to_matrix
from .observation import Floats

T = TypeVar("T")

SLOTS = 24
END_EFFECTOR = ("x", "y", "z", "roll", "pitch", "yaw")  # slots 0-5; the gripper follows in slot 6
ANGLES = frozenset(("roll", "pitch", "yaw"))


@dataclass(frozen=True)
class Gripper:
    """A one-joint gripper, told as an opening: 0 closed, 1 open.

    Attributes:
        name: its name as a slot.
        joint: its name in JointState.
        open, closed: position of that joint, rad or m.
    """

    name: str
    joint: str
    open: float
    closed: float

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
        chain: forward kinematics to the tool point; None if driven in joints only.
        reference: (3, 3) orientation in which roll, pitch and yaw are all zero.
    """

    name: str
    joints: tuple[str, ...]
    first_slot: int
    bounds: JointBounds
    max_velocity: float
    max_acceleration: float
    gripper: Gripper
    chain: SerialChain | None
    reference: Floats

    def forward(self, joints: Floats) -> Floats:
        """(J,) rad -> (4, 4) pose of the tool point in the arm's base frame, m."""
        if self.chain is None:
            raise ConfigError(f"arm '{self.name}' has no 'kinematics' in its embodiment file")
        return self.chain.forward(joints)


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


@dataclass(frozen=True)
class ActionSpace:
    """The slots one policy reads and commands, in slot order.

    Attributes:
        names: N slot names.
        slots: (N,) indices into the unified vector, increasing.
        delta: (N,) bool, True where the policy's action is relative to the current state.
        angular: (N,) bool, True where values are angles that may wrap.
        rate_hz: steps of a chunk per second.
    """

    name: str
    names: tuple[str, ...]
    slots: np.ndarray
    delta: np.ndarray
    angular: np.ndarray
    rate_hz: float

    @property
    def mask(self) -> np.ndarray:
        """(24,) float64, 1 where a slot is in use."""
        mask = np.zeros(SLOTS)
        mask[self.slots] = 1.0
        return mask


@dataclass(frozen=True)
class Camera:
    """A camera stream and the model's view that it feeds."""

    name: str
    view: str
    topic: str


@dataclass(frozen=True)
class Embodiment:
    """One robot: its arms, cameras, and the action spaces it can be driven in."""

    name: str
    driver: str
    arms: tuple[Arm, ...]
    cameras: tuple[Camera, ...]
    action_spaces: Mapping[str, ActionSpace]
    workspace: Workspace | None

    def action_space(self, name: str) -> ActionSpace:
        """The action space of that name, or ConfigError with the names there are."""
        return _entry(self.action_spaces, name, f"action space of embodiment '{self.name}'")

    @property
    def joint_names(self) -> tuple[str, ...]:
        """All joint names, grippers included, in slot order."""
        return tuple(n for arm in self.arms for n in (*arm.joints, arm.gripper.joint))


def load_embodiment(name: str, folder: Path) -> Embodiment:
    """Read `<folder>/<name>.yaml`; an unknown name lists the known ones."""
    known = {path.stem: path for path in folder.glob("*.yaml")}
    path = _entry(known, name, f"embodiment in {folder}")
    return parse_embodiment(yaml.safe_load(path.read_text()), str(path))


def parse_embodiment(data: Mapping[str, Any], where: str) -> Embodiment:
    """Build an Embodiment from parsed YAML.

    Args:
        data: the mapping; see config/embodiments/xarm7.yaml for every key with its unit.
        where: the file's name, for error messages.
    """
    arms = tuple(_arm(name, d, f"{where}: arms.{name}") for name, d in _get(data, "arms", where).items())
    cameras = tuple(
        Camera(name, _get(d, "view", f"{where}: cameras.{name}"), _get(d, "topic", f"{where}: cameras.{name}"))
        for name, d in _get(data, "cameras", where).items()
    )
    spaces = {
        name: _action_space(name, d, arms, f"{where}: action_spaces.{name}")
        for name, d in _get(data, "action_spaces", where).items()
    }
    box = data.get("workspace")
    return Embodiment(
        name=_get(data, "name", where),
        driver=_get(data, "driver", where),
        arms=arms,
        cameras=cameras,
        action_spaces=spaces,
        workspace=None if box is None else _workspace(box, f"{where}: workspace"),
    )


def _arm(name: str, d: Mapping[str, Any], where: str) -> Arm:
    joints = tuple(_get(d, "joints", where))
    limits = np.asarray(_get(d, "position_limits_rad", where), dtype=float)
    home = np.asarray(_get(d, "home_rad", where), dtype=float)
    n = len(joints)
    if len(set(joints)) != n:
        raise ConfigError(f"{where}: joints must all differ, got {list(joints)}")
    if limits.shape != (n, 2) or not np.all(limits[:, 0] < limits[:, 1]):
        raise ConfigError(f"{where}: position_limits_rad must be {n} pairs [lower, upper], one for each joint")
    if home.shape != (n,) or np.any(home < limits[:, 0]) or np.any(home > limits[:, 1]):
        raise ConfigError(f"{where}: home_rad must be {n} values within position_limits_rad, got {home.tolist()}")
    grip = Gripper(**_get(d, "gripper", where))
    if grip.open == grip.closed:
        raise ConfigError(f"{where}: gripper.open and gripper.closed must differ, both are {grip.open}")
    chain, reference = None, np.eye(3)
    if "kinematics" in d:
        k = d["kinematics"]
        tool = np.eye(4)
        tool[:3, 3] = _get(k, "tool_m", f"{where}.kinematics")
        chain = SerialChain(np.asarray(_get(k, "modified_dh", f"{where}.kinematics"), dtype=float), tool)
        reference = rpy_to_matrix(*_get(k, "reference_rpy_rad", f"{where}.kinematics"))
    return Arm(
        name=name,
        joints=joints,
        first_slot=_get(d, "first_slot", where),
        bounds=JointBounds(limits[:, 0], limits[:, 1], home),
        max_velocity=_positive(d, "max_velocity_rad_s", where),
        max_acceleration=_positive(d, "max_acceleration_rad_s2", where),
        gripper=grip,
        chain=chain,
        reference=reference,
    )


def _workspace(d: Mapping[str, Any], where: str) -> Workspace:
    box = np.array([_get(d, key, where) for key in ("x_m", "y_m", "z_m")], dtype=float)
    if box.shape != (3, 2) or not np.all(box[:, 0] < box[:, 1]):
        raise ConfigError(f"{where}: x_m, y_m and z_m must be pairs [lower, upper], got {box.tolist()}")
    return Workspace(
        box[:, 0],
        box[:, 1],
        max_tilt=_positive(d, "max_tilt_rad", where),
        max_speed=_positive(d, "max_speed_m_s", where),
        max_acceleration=_positive(d, "max_acceleration_m_s2", where),
        max_rotation=_positive(d, "max_rotation_rad_s", where),
        max_rotation_acceleration=_positive(d, "max_rotation_acceleration_rad_s2", where),
        max_tool_speed=_positive(d, "max_tool_speed_m_s", where),
    )


def _action_space(name: str, d: Mapping[str, Any], arms: tuple[Arm, ...], where: str) -> ActionSpace:
    delta = set(d.get("delta", ()))
    wanted = delta | set(d.get("absolute", ()))
    table = dict(enumerate(END_EFFECTOR)) if name == "end_effector" else {}
    for arm in arms:
        if name == "end_effector":
            table[len(END_EFFECTOR)] = arm.gripper.name
        else:
            table.update(enumerate((*arm.joints, arm.gripper.name), start=arm.first_slot))
    known = set(table.values())
    if not wanted or wanted - known:
        raise ConfigError(f"{where}: delta and absolute must name slots among {sorted(known)}, got {sorted(wanted)}")
    used = sorted((slot, slot_name) for slot, slot_name in table.items() if slot_name in wanted)
    names = tuple(slot_name for _, slot_name in used)
    return ActionSpace(
        name=name,
        names=names,
        slots=np.array([slot for slot, _ in used]),
        delta=np.array([n in delta for n in names]),
        angular=np.array([n in ANGLES for n in names]),
        rate_hz=_positive(d, "rate_hz", where),
    )


def _get(d: Mapping[str, Any], key: str, where: str) -> Any:
    if not isinstance(d, Mapping) or key not in d:
        have = sorted(d) if isinstance(d, Mapping) else type(d).__name__
        raise ConfigError(f"{where}: key '{key}' is missing; it has {have}")
    return d[key]


def _positive(d: Mapping[str, Any], key: str, where: str) -> float:
    value = _get(d, key, where)
    if not isinstance(value, int | float) or not value > 0:
        raise ConfigError(f"{where}: {key} must be a number > 0, got {value!r}")
    return float(value)


def _entry(known: Mapping[str, T], name: str, what: str) -> T:
    if name not in known:
        raise ConfigError(f"'{name}' is no {what}; there are: {', '.join(sorted(known)) or 'none'}")
    return known[name]
