"""Robot values <-> the unified vector of 24 values and 24 mask bits, always by name.

Units in the vector: m, rad, gripper opening in [0, 1]. A slot outside the action space is
masked: it is never read, and never sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from .arm import Arm
from .embodiment import END_EFFECTOR, SLOTS, ActionSpace, Embodiment
from .errors import GuardError, ObservationError
from .kinematics import matrix_to_rpy, pose_matrix, rpy_to_matrix
from .observation import Floats, RobotState


def named_positions(names: Sequence[str], positions: Sequence[float], wanted: Sequence[str]) -> dict[str, float]:
    """Pick the wanted joints out of a JointState, whatever their order; extra joints are ignored.

    Args:
        names, positions: as they came, positions in rad or m.
        wanted: joint names that must be there.

    Raises:
        ObservationError: a name is missing or twice, lengths differ, or a wanted value is not finite.
    """
    if len(names) != len(positions):
        raise ObservationError(f"a joint state has {len(names)} names but {len(positions)} positions")
    table = dict(zip(names, positions, strict=True))
    missing = [n for n in wanted if n not in table]
    if missing:
        raise ObservationError(f"joint state lacks {missing}; expected {list(wanted)}, got {list(names)}")
    if len(table) != len(names):
        twice = sorted({n for n in names if list(names).count(n) > 1})
        raise ObservationError(f"joint state names {twice} more than once")
    picked = {n: float(table[n]) for n in wanted}
    bad = {n: v for n, v in picked.items() if not np.isfinite(v)}
    if bad:
        raise ObservationError(f"joint positions must be finite, got {bad}")
    return picked


def encode_state(embodiment: Embodiment, space: ActionSpace, state: RobotState) -> Floats:
    """Robot state -> unified values.

    Returns:
        (24,) float64; 0 in masked slots. The mask is `space.mask`.
    """
    named: dict[str, float] = {}
    for arm in embodiment.arms:
        named[arm.gripper.name] = arm.gripper.opening(_joint(state, arm.gripper.joint))
        for joint in arm.joints:
            if joint in space.names:
                named[joint] = _joint(state, joint)
    if space.names[0] in END_EFFECTOR:
        if state.eef is None:
            raise ObservationError(f"action space '{space.name}' needs the end-effector pose, and none came")
        named |= pose_values(embodiment.arms[0], state.eef)
    return scatter(space, [named[n] for n in space.names])


def decode_state(embodiment: Embodiment, space: ActionSpace, values: Floats) -> RobotState:
    """Unified values -> robot state: the inverse of `encode_state` on the slots in use."""
    named = gather(space, values)
    joints: dict[str, float] = {}
    for arm in embodiment.arms:
        joints |= {j: named[j] for j in arm.joints if j in named}
        joints[arm.gripper.joint] = arm.gripper.position(named[arm.gripper.name])
    eef = values_pose(embodiment.arms[0], named) if "x" in named else None
    return RobotState(joints, eef)


def scatter(space: ActionSpace, row: Sequence[float] | Floats) -> Floats:
    """(N,) values in the order of `space.names` -> (24,), zero in masked slots."""
    values = np.zeros(SLOTS)
    values[space.slots] = row
    return values


def gather(space: ActionSpace, values: Floats) -> dict[str, float]:
    """(24,) -> slot name -> value, of the slots in use only."""
    if values.shape != (SLOTS,):
        raise GuardError(f"a unified vector has shape ({SLOTS},), got {values.shape}")
    return {name: float(values[slot]) for name, slot in zip(space.names, space.slots, strict=True)}


def pose_values(arm: Arm, pose: Floats) -> dict[str, float]:
    """(4, 4) pose -> x, y, z in m and roll, pitch, yaw in rad relative to the arm's reference orientation."""
    rpy = matrix_to_rpy(pose[:3, :3] @ arm.reference.T)
    return dict(zip(END_EFFECTOR, (*pose[:3, 3].tolist(), *rpy), strict=True))


def values_pose(arm: Arm, named: Mapping[str, float]) -> Floats:
    """The inverse of `pose_values`."""
    x, y, z, roll, pitch, yaw = (named[n] for n in END_EFFECTOR)
    return pose_matrix(np.array([x, y, z]), rpy_to_matrix(roll, pitch, yaw) @ arm.reference)


def wrap_angle(angle: Floats) -> Floats:
    """Angles -> the same angles in (-pi, pi]."""
    return np.pi - np.mod(np.pi - angle, 2 * np.pi)


def slot_difference(space: ActionSpace, target: Floats, origin: Floats) -> Floats:
    """target - origin, (..., N) in the order of `space.names`, the short way round in angular slots."""
    step = target - origin
    step[..., space.angular] = wrap_angle(step[..., space.angular])
    return step


def difference(space: ActionSpace, target: Floats, origin: Floats) -> Floats:
    """target - origin, (..., 24), the short way round in angular slots."""
    step = target - origin
    angular = space.slots[space.angular]
    step[..., angular] = wrap_angle(step[..., angular])
    return step


def _joint(state: RobotState, name: str) -> float:
    if name not in state.joints:
        raise ObservationError(f"the robot state lacks joint '{name}'; it has {sorted(state.joints)}")
    return state.joints[name]
