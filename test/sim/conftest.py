"""Shared by the simulation tests: one compiled scene, and the expert over bare physics."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from himoe_ros.core.embodiment import END_EFFECTOR, load_embodiment
from himoe_ros.core.unified import values_pose
from himoe_ros.nodes.expert_task import expert_task
from himoe_ros.resources import config
from himoe_ros.sim.expert import STEP_S, Expert
from himoe_ros.sim.scene import Scene, build_scene
from himoe_ros.sim.world import World
from himoe_ros.teleop.tool import tool_slots
from himoe_ros.trials.judge import Judge
from himoe_ros.trials.layout import draw_layout, things_of
from himoe_ros.trials.protocol import Protocol, Setting, load_protocol
from himoe_ros.trials.truth import Truth, truth_from_state

ARM = load_embodiment("xarm7", config("embodiments")).arms[0]
FRUIT = load_protocol("xarm7/fruit_to_plate", config("trials"))
LAYOUT = draw_layout(FRUIT, FRUIT.settings["apple_blue"], 0)
LONGEST_S = 30.0


@pytest.fixture(scope="session")
def scene() -> Scene:
    return build_scene("xarm7", things_of(FRUIT))


@pytest.fixture(scope="session")
def model(scene: Scene) -> mujoco.MjModel:
    return scene.model


@pytest.fixture
def world(scene: Scene) -> World:
    return World(scene)


@pytest.fixture
def layout() -> dict[str, tuple[float, float, float]]:
    return LAYOUT


@pytest.fixture
def operate() -> Callable[[World, Protocol, Setting, Judge], None]:
    return _operate


def truth(world: World) -> Truth:
    return truth_from_state(world.time_s, [ARM], world.state_names(), world.state(), world.state_velocity())


def _operate(world: World, protocol: Protocol, setting: Setting, judge: Judge) -> None:
    """The expert does what the setting asks, shown to `judge` after every step."""
    named, target, task = expert_task(protocol, setting)
    (arm,) = world.arms
    expert, joints = Expert(np.random.default_rng(0), task), arm.joint_positions
    while not expert.done and world.time_s < LONGEST_S:
        judge.observe(truth(world))
        things = truth(world).things
        row = expert.plan(
            tool_slots(ARM, arm.joint_positions),
            arm.gripper_opening,
            things[named].place,
            things[named].yaw,
            things[target].place,
        )[0]
        pose = values_pose(ARM, dict(zip(END_EFFECTOR, row[:6].tolist(), strict=True)))
        start = joints
        joints, _ = ARM.chain.step_toward(joints, pose, ARM.bounds, 8)
        for share in np.linspace(0.2, 1.0, 5):
            arm.command(start + share * (joints - start), row[6])
            world.step(STEP_S / 5)
    for _ in range(10):
        world.step(STEP_S)
        judge.observe(truth(world))
