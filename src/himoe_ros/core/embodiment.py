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

from .errors import ConfigError
from .kinematics import JointBounds, SerialChain, rpy_to_matrix
from .observation import Floats
from .reading import load_yaml, mapping, names, number, numbers, pairs, positive, text

T = TypeVar("T")

SLOTS = 24
END_EFFECTOR = ("x", "y", "z", "roll", "pitch", "yaw")  # slots 0-5; the gripper follows in slot 6
ARM_SLOTS = (8, 16)
SLOTS_PER_ARM = 8
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
    return parse_embodiment(load_yaml(path), str(path))


def parse_embodiment(data: Any, where: str) -> Embodiment:
    """Build an Embodiment from parsed YAML.

    Args:
        data: the mapping; see config/embodiments/xarm7.yaml for every key with its unit.
        where: the file's name, for error messages.
    """
    d = mapping(data, where, ("name", "driver", "arms", "action_spaces", "cameras"), ("workspace",))
    arms = tuple(
        sorted(
            (_arm(n, a, f"{where}: arms.{n}") for n, a in mapping(d["arms"], f"{where}: arms").items()),
            key=lambda arm: arm.first_slot,
        )
    )
    taken = [slot for arm in arms for slot in range(arm.first_slot, arm.first_slot + len(arm.joints) + 1)]
    slots = [n for arm in arms for n in (*arm.joints, arm.gripper.name)]
    called = [n for arm in arms for n in (*arm.joints, arm.gripper.joint)]
    for what, values in (("slots", taken), ("slot names", slots), ("joint names", called)):
        if len(set(values)) != len(values):
            raise ConfigError(f"{where}: arms must differ in their {what}, got {values}")
    cameras = mapping(d["cameras"], f"{where}: cameras")
    spaces = mapping(d["action_spaces"], f"{where}: action_spaces")
    return Embodiment(
        name=text(d["name"], f"{where}: name"),
        driver=text(d["driver"], f"{where}: driver"),
        arms=arms,
        cameras=tuple(_camera(n, c, f"{where}: cameras.{n}") for n, c in cameras.items()),
        action_spaces={n: _action_space(n, s, arms, f"{where}: action_spaces.{n}") for n, s in spaces.items()},
        workspace=_workspace(d["workspace"], f"{where}: workspace") if "workspace" in d else None,
    )


def _camera(name: str, data: Any, where: str) -> Camera:
    d = mapping(data, where, ("view", "topic"))
    return Camera(name, text(d["view"], f"{where}.view"), text(d["topic"], f"{where}.topic"))


def _arm(name: str, data: Any, where: str) -> Arm:
    keys = ("first_slot", "joints", "position_limits_rad", "max_velocity_rad_s", "max_acceleration_rad_s2")
    d = mapping(data, where, (*keys, "home_rad", "gripper"), ("kinematics",))
    joints = names(d["joints"], f"{where}.joints")
    lower, upper = pairs(d["position_limits_rad"], len(joints), f"{where}.position_limits_rad")
    home = numbers(d["home_rad"], (len(joints),), f"{where}.home_rad")
    if np.any(home < lower) or np.any(home > upper):
        raise ConfigError(f"{where}.home_rad must lie within position_limits_rad, got {home.tolist()}")
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
        gripper=_gripper(d["gripper"], f"{where}.gripper"),
        chain=chain,
        reference=reference,
    )


def _gripper(data: Any, where: str) -> Gripper:
    d = mapping(data, where, ("name", "joint", "open", "closed"))
    opened, closed = number(d["open"], f"{where}.open"), number(d["closed"], f"{where}.closed")
    if opened == closed:
        raise ConfigError(f"{where}: open and closed must differ, both are {opened}")
    return Gripper(text(d["name"], f"{where}.name"), text(d["joint"], f"{where}.joint"), opened, closed)


def _kinematics(data: Any, joints: int, where: str) -> tuple[SerialChain, Floats]:
    d = mapping(data, where, ("modified_dh", "tool_m", "reference_rpy_rad"))
    tool = np.eye(4)
    tool[:3, 3] = numbers(d["tool_m"], (3,), f"{where}.tool_m")
    chain = SerialChain(numbers(d["modified_dh"], (joints, 4), f"{where}.modified_dh"), tool)
    return chain, rpy_to_matrix(*numbers(d["reference_rpy_rad"], (3,), f"{where}.reference_rpy_rad").tolist())


def _workspace(data: Any, where: str) -> Workspace:
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


def _action_space(name: str, data: Any, arms: tuple[Arm, ...], where: str) -> ActionSpace:
    d = mapping(data, where, ("rate_hz", "delta", "absolute"))
    if name == "end_effector":
        if len(arms) != 1 or arms[0].chain is None:
            raise ConfigError(f"{where}: end_effector needs one arm with kinematics, there are {len(arms)} arms")
        table = dict(enumerate((*END_EFFECTOR, arms[0].gripper.name)))
    else:
        table = {s: n for arm in arms for s, n in enumerate((*arm.joints, arm.gripper.name), start=arm.first_slot)}
    if len(set(table.values())) != len(table):
        raise ConfigError(f"{where}: slot names must all differ, got {list(table.values())}; rename the gripper")
    delta, absolute = names(d["delta"], f"{where}.delta"), names(d["absolute"], f"{where}.absolute")
    if sorted((*delta, *absolute)) != sorted(table.values()):
        raise ConfigError(
            f"{where}: delta and absolute together must name each of {list(table.values())} once, "
            f"got {[*delta, *absolute]}"
        )
    used = tuple(table.values())
    return ActionSpace(
        name=name,
        names=used,
        slots=np.array(list(table)),
        delta=np.array([n in delta for n in used]),
        angular=np.array([n in ANGLES for n in used]),
        rate_hz=positive(d["rate_hz"], f"{where}.rate_hz"),
    )


def _entry(known: Mapping[str, T], name: str, what: str) -> T:
    if name not in known:
        raise ConfigError(f"'{name}' is no {what}; there are: {', '.join(sorted(known)) or 'none'}")
    return known[name]
