"""Shared by the simulation tests: one compiled scene, and an operator that knows the truth."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from himoe_ros.sim.fruit_to_plate import FruitToPlateJudge, Instruction
from himoe_ros.sim.world import HOME_RAD, World
from himoe_ros.sim.xarm7_scene import build_scene

TOOL_DOWN = np.diag([1.0, -1.0, -1.0])
TICK_S = 0.05
STEP_M = 0.02
GRASP_BELOW_CENTRE_M = 0.013
CARRY_HEIGHT_M = 0.16


@pytest.fixture(scope="session")
def scene() -> mujoco.MjModel:
    return build_scene()


@pytest.fixture
def world(scene: mujoco.MjModel) -> World:
    return World(scene)


@pytest.fixture
def operate() -> Callable[[World, Instruction, FruitToPlateJudge], None]:
    return _operate


def _operate(world: World, instruction: Instruction, judge: FruitToPlateJudge) -> None:
    """Pick the named fruit and place it on the named plate, shown to `judge` at every tick."""
    joints = world.joint_positions

    def tick(position: np.ndarray, gripper: float) -> None:
        nonlocal joints
        joints = _solve(world, position, joints)
        world.command(joints, gripper)
        world.step(TICK_S)
        judge.observe(world.truth())

    def move(goal: np.ndarray, gripper: float) -> None:
        start = world.tcp_pose[0]
        for fraction in np.linspace(0, 1, 2 + int(np.linalg.norm(goal - start) / STEP_M)):
            tick(start + fraction * (goal - start), gripper)

    def wait(gripper: float, ticks: int) -> None:
        place = world.tcp_pose[0]
        for _ in range(ticks):
            tick(place, gripper)

    truth = world.truth()
    judge.observe(truth)
    below = np.array([0.0, 0.0, -GRASP_BELOW_CENTRE_M])
    grasp = truth.positions[instruction.fruit] + below
    release = truth.positions[instruction.plate] + truth.positions[instruction.fruit] * [0, 0, 1]
    release = release + below + [0, 0, 0.010]
    up = np.array([1.0, 1.0, 0.0]), np.array([0.0, 0.0, CARRY_HEIGHT_M])
    move(grasp * up[0] + up[1], 1.0)
    move(grasp, 1.0)
    wait(0.0, 10)
    move(grasp * up[0] + up[1], 0.0)
    move(release * up[0] + up[1], 0.0)
    move(release, 0.0)
    wait(1.0, 8)
    move(release * up[0] + up[1], 1.0)
    wait(1.0, 12)


def _solve(world: World, position: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Damped least squares for the tool pointing down at `position` (3,) m. Returns (7,) rad."""
    model, data = world.model, mujoco.MjData(world.model)
    site = model.site("tcp").id
    joints = start.copy()
    for _ in range(20):
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        mujoco.mj_comPos(model, data)
        jacobian = np.zeros((6, model.nv))
        mujoco.mj_jacSite(model, data, jacobian[:3], jacobian[3:], site)
        rotation = data.site_xmat[site].reshape(3, 3)
        turn = 0.5 * np.cross(rotation.T, TOOL_DOWN.T).sum(axis=0)
        error = np.concatenate([position - data.site_xpos[site], turn])
        if np.abs(error).max() < 1e-4:
            break
        arm = jacobian[:, :7]
        pull = np.linalg.solve(arm @ arm.T + 1e-4 * np.eye(6), error - arm @ (0.05 * (HOME_RAD - joints)))
        joints = joints + arm.T @ pull + 0.05 * (HOME_RAD - joints)
    return joints
