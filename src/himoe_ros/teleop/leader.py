"""Leader arms: any JointState, matched by name, scaled and offset, is a target for the follower's joints."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ConfigError, ObservationError
from ..core.observation import ActionChunk, Floats, RobotState
from ..core.reading import load_yaml, mapping, number, positive, text
from ..core.unified import encode_state, named_positions

STEP_S = 0.1  # of a plan, which has one; without a fresh one the robot holds soon after
MAX_AGE_S = 0.2  # of what a leader told last


@dataclass(frozen=True)
class Joint:
    """follower = scale * leader + offset, rad."""

    leader: str
    scale: float
    offset: float


@dataclass(frozen=True)
class LeaderConfig:
    """See config/teleop/aloha_leaders.yaml for every key.

    Attributes:
        embodiment: of the followers.
        align: rad, how close every joint must be before the robot may be armed.
        joints: topic -> follower's joint -> Joint; a gripper's joint among them, its range from open to closed.
    """

    embodiment: str
    align: float
    joints: Mapping[str, Mapping[str, Joint]]


def load_leader(path: Path, embodiment: Embodiment) -> LeaderConfig:
    """Read and check the file: every joint of the embodiment has one leader."""
    d = mapping(load_yaml(path), str(path), ("kind", "embodiment", "align_rad", "leaders"))
    if d["embodiment"] != embodiment.name:
        raise ConfigError(f"{path} is for {d['embodiment']}, the robot is {embodiment.name}")
    leaders = mapping(d["leaders"], f"{path}: leaders")
    joints = {topic: _joints(data, embodiment, f"{path}: leaders.{topic}") for topic, data in leaders.items()}
    led = sorted(name for table in joints.values() for name in table)
    if led != sorted(embodiment.joint_names):
        raise ConfigError(f"{path}: leaders must move each of {list(embodiment.joint_names)} once, got {led}")
    return LeaderConfig(embodiment.name, positive(d["align_rad"], f"{path}: align_rad"), joints)


class Leader:
    """What the leaders told last."""

    def __init__(self, config: LeaderConfig, embodiment: Embodiment, space: ActionSpace) -> None:
        self._config, self._embodiment, self._space = config, embodiment, space
        self._told: dict[str, tuple[float, dict[str, float]]] = {}

    def tell(self, topic: str, names: Sequence[str], positions: Sequence[float], now: float) -> None:
        """A JointState came; ObservationError where it lacks a joint, or a value is not finite."""
        table = self._config.joints[topic]
        led = named_positions(names, positions, [joint.leader for joint in table.values()])
        self._told[topic] = (now, {name: j.scale * led[j.leader] + j.offset for name, j in table.items()})

    def trouble(self, state: RobotState | None, now: float) -> str:
        """Why the robot may not follow now, in words, or ""."""
        if problem := self._silent(now):
            return problem
        if state is None:
            return "nothing received yet from joint_states"
        target = self._target()
        grippers = {arm.gripper.joint for arm in self._embodiment.arms}
        far = [
            f"{name} {target[name] - state.joints[name]:+.2f} rad"
            for name in self._embodiment.joint_names
            if name not in grippers and not abs(target[name] - state.joints[name]) <= self._config.align
        ]
        if far:
            return f"bring the leader within {self._config.align:g} rad of the robot: {', '.join(far)}"
        return ""

    def plan(self, now: float) -> ActionChunk:
        """A plan of one step to where the leaders are.

        Raises:
            ObservationError: a leader is silent.
        """
        if problem := self._silent(now):
            raise ObservationError(problem)
        return ActionChunk(now, self._space.names, self._encoded(self._target())[None], np.array([STEP_S]))

    def _encoded(self, joints: Mapping[str, float]) -> Floats:
        eef = self._embodiment.arms[0].tool(joints) if self._embodiment.tells_tool else None
        values = encode_state(self._embodiment, self._space, RobotState(joints, eef))[self._space.slots]
        grippers = [name in {a.gripper.name for a in self._embodiment.arms} for name in self._space.names]
        return np.where(grippers, np.clip(values, 0.0, 1.0), values)

    def _target(self) -> dict[str, float]:
        return {name: value for _, table in self._told.values() for name, value in table.items()}

    def _silent(self, now: float) -> str:
        for topic in self._config.joints:
            if topic not in self._told:
                return f"nothing received yet from leader '{topic}'"
            if (age := now - self._told[topic][0]) > MAX_AGE_S:
                return f"leader '{topic}' has been silent for {age:.2f} s, allowed {MAX_AGE_S:g} s"
        return ""


def _joints(data: Any, embodiment: Embodiment, where: str) -> dict[str, Joint]:
    d = mapping(data, where, ("joints", "grippers"))
    table = {name: _joint(j, f"{where}.joints.{name}") for name, j in mapping(d["joints"], f"{where}.joints").items()}
    grippers = {arm.gripper.name: arm.gripper for arm in embodiment.arms}
    for name, entry in mapping(d["grippers"], f"{where}.grippers").items():
        at = f"{where}.grippers.{name}"
        if name not in grippers:
            raise ConfigError(f"{at}: the robot's grippers are {list(grippers)}")
        g = mapping(entry, at, ("leader", "open", "closed"))
        opened, closed = number(g["open"], f"{at}.open"), number(g["closed"], f"{at}.closed")
        if opened == closed:
            raise ConfigError(f"{at}: open and closed must differ, both are {opened}")
        gripper = grippers[name]
        scale = (gripper.open - gripper.closed) / (opened - closed)
        table[gripper.joint] = Joint(text(g["leader"], f"{at}.leader"), scale, gripper.open - scale * opened)
    return table


def _joint(data: Any, where: str) -> Joint:
    d = mapping(data, where, ("leader",), ("scale", "offset_rad"))
    scale, offset = number(d.get("scale", 1.0), f"{where}.scale"), number(d.get("offset_rad", 0.0), f"{where}.offset")
    return Joint(text(d["leader"], f"{where}.leader"), scale, offset)
