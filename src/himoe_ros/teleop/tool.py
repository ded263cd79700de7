"""Plans told by the tool's pose, for controllers of either action space."""

from __future__ import annotations

import numpy as np

from ..core.arm import Arm
from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment
from ..core.observation import ActionChunk, Floats, RobotState
from ..core.unified import encode_state, pose_values, values_pose

SOLVE_STEPS = 8  # of inverse kinematics a row, from the row before


def tool_slots(arm: Arm, joints: Floats) -> Floats:
    """(J,) rad -> (6,) x y z roll pitch yaw of the tool, m and rad, as the end effector's slots tell it."""
    return np.array(list(pose_values(arm, arm.forward(joints)).values()))


def tool_chunk(
    embodiment: Embodiment, space: ActionSpace, joints: Floats, rows: Floats, times: Floats, stamp: float
) -> ActionChunk:
    """A plan of the first arm's tool in an action space; joints are found by inverse kinematics.

    Args:
        joints: (J,) rad, where the arm is.
        rows: (T, 7) pose as `tool_slots`, and the gripper's opening.
        times: (T,) s after `stamp`.
        stamp: s.
    """
    arm, values = embodiment.arms[0], []
    for row in rows:
        pose = values_pose(arm, dict(zip(END_EFFECTOR, row[:6].tolist(), strict=True)))
        joints, _ = arm.chain.step_toward(joints, pose, arm.bounds, SOLVE_STEPS, rest_gain=0.0)  # the elbow stays
        table = dict(zip(arm.joints, joints.tolist(), strict=True))
        table[arm.gripper.joint] = arm.gripper.position(float(row[6]))
        values.append(encode_state(embodiment, space, RobotState(table, pose))[space.slots])
    return ActionChunk(stamp, space.names, np.array(values), times)
