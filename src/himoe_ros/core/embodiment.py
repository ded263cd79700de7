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

from .arm import Arm, Workspace, parse_arm, parse_workspace
from .capsules import CollisionModel, parse_collision
from .errors import ConfigError
from .reading import load_yaml, mapping, names, positive, text

T = TypeVar("T")

SLOTS = 24
END_EFFECTOR = ("x", "y", "z", "roll", "pitch", "yaw")  # slots 0-5; the gripper follows in slot 6
ANGLES = frozenset(("roll", "pitch", "yaw"))


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

    @property
    def on_wrist(self) -> bool:
        """Whether it moves with a hand."""
        return "wrist" in self.view


@dataclass(frozen=True)
class Embodiment:
    """One robot: its arms, cameras, and the action spaces it can be driven in.

    Attributes:
        control_rate_hz: commands a second that its driver is sent.
    """

    name: str
    driver: str
    control_rate_hz: float
    arms: tuple[Arm, ...]
    cameras: tuple[Camera, ...]
    action_spaces: Mapping[str, ActionSpace]
    workspace: Workspace | None
    collision: CollisionModel | None

    def action_space(self, name: str) -> ActionSpace:
        """The action space of that name, or ConfigError with the names there are."""
        return _entry(self.action_spaces, name, f"action space of embodiment '{self.name}'")

    @property
    def tells_tool(self) -> bool:
        """Whether the tool's pose is part of what a policy may see."""
        return any(space.names[0] in END_EFFECTOR for space in self.action_spaces.values())

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
    needed = ("name", "driver", "control_rate_hz", "arms", "action_spaces", "cameras")
    d = mapping(data, where, needed, ("workspace", "collision"))
    arms = tuple(
        sorted(
            (parse_arm(n, a, f"{where}: arms.{n}") for n, a in mapping(d["arms"], f"{where}: arms").items()),
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
        control_rate_hz=positive(d["control_rate_hz"], f"{where}: control_rate_hz"),
        arms=arms,
        cameras=tuple(_camera(n, c, f"{where}: cameras.{n}") for n, c in cameras.items()),
        action_spaces={n: _action_space(n, s, arms, f"{where}: action_spaces.{n}") for n, s in spaces.items()},
        workspace=parse_workspace(d["workspace"], f"{where}: workspace") if "workspace" in d else None,
        collision=parse_collision(d["collision"], arms[0].joints, f"{where}: collision") if "collision" in d else None,
    )


def _camera(name: str, data: Any, where: str) -> Camera:
    d = mapping(data, where, ("view", "topic"))
    return Camera(name, text(d["view"], f"{where}.view"), text(d["topic"], f"{where}.topic"))


def _action_space(name: str, data: Any, arms: tuple[Arm, ...], where: str) -> ActionSpace:
    d = mapping(data, where, ("rate_hz", "delta", "absolute"))
    if name == "end_effector":
        if len(arms) != 1 or arms[0].chain is None:
            raise ConfigError(f"{where}: end_effector needs one arm with kinematics, there are {len(arms)} arms")
        if not np.array_equal(arms[0].mount, np.eye(4)):
            raise ConfigError(f"{where}: end_effector is told in the frame of the arm's base; leave out its mount")
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
