"""Plans told by the tools' poses, for controllers of either action space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..core.arm import Arm
from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment
from ..core.observation import ActionChunk, Floats, RobotState
from ..core.unified import encode_state, pose_values, values_pose

SOLVE_STEPS = 8  # of inverse kinematics a row, from the row before
Target = tuple[Floats, float]  # of an arm: (4, 4) pose of the tool in the robot's frame, m, and the gripper's opening


def tool_slots(arm: Arm, joints: Floats) -> Floats:
    """(J,) rad -> (6,) x y z roll pitch yaw of the tool, m and rad, as the end effector's slots tell it."""
    return np.array(list(pose_values(arm, arm.forward(joints)).values()))


def tool_chunk(
    embodiment: Embodiment, space: ActionSpace, joints: Floats, rows: Floats, times: Floats, stamp: float
) -> ActionChunk:
    """A plan of the first arm's tool in an action space; see `tools_chunk`.

    Args:
        joints: (J,) rad, where the arm is.
        rows: (T, 7) pose as `tool_slots`, and the gripper's opening.
        times: (T,) s after `stamp`.
        stamp: s.
    """
    arm = embodiment.arms[0]
    targets = [[(values_pose(arm, dict(zip(END_EFFECTOR, row[:6].tolist(), strict=True))), row[6])] for row in rows]
    return tools_chunk(embodiment, space, dict(zip(arm.joints, joints, strict=True)), targets, times, stamp)


def tools_chunk(
    embodiment: Embodiment,
    space: ActionSpace,
    joints: Mapping[str, float],
    rows: Sequence[Sequence[Target]],
    times: Floats,
    stamp: float,
) -> ActionChunk:
    """A plan of every arm's tool in an action space; joints are found by inverse kinematics.

    Args:
        joints: name -> rad, where the arms are.
        rows: T times a target for each arm.
        times: (T,) s after `stamp`.
        stamp: s.
    """
    at = {arm.name: np.array([joints[joint] for joint in arm.joints]) for arm in embodiment.arms}
    values = []
    for row in rows:
        table: dict[str, float] = {}
        for arm, (pose, opening) in zip(embodiment.arms, row, strict=True):
            own = np.linalg.inv(arm.mount) @ pose
            # No pull to the posture of rest: the elbow stays.
            at[arm.name], _ = arm.chain.step_toward(at[arm.name], own, arm.bounds, SOLVE_STEPS, rest_gain=0.0)
            table |= zip(arm.joints, at[arm.name].tolist(), strict=True)
            table[arm.gripper.joint] = arm.gripper.position(float(opening))
        eef = row[0][0] if embodiment.tells_tool else None
        values.append(encode_state(embodiment, space, RobotState(table, eef))[space.slots])
    return ActionChunk(stamp, space.names, np.array(values), times)
