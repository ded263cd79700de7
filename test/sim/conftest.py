"""Shared by the simulation tests: one compiled scene, and the expert over bare physics."""

from __future__ import annotations

from collections.abc import Callable

import mujoco
import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.rollout.expert_task import scripted
from himoe_ros.rollout.workplace import WorldDriver
from himoe_ros.sim.expert import STEP_S
from himoe_ros.sim.scene import Scene, build_scene
from himoe_ros.sim.world import World
from himoe_ros.teleop.tool import tools_chunk
from himoe_ros.trials.judge import Judge
from himoe_ros.trials.layout import draw_layout, things_of
from himoe_ros.trials.protocol import Protocol, Setting, load_protocol
from himoe_ros.trials.truth import Truth, truth_from_state

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


def _operate(world: World, protocol: Protocol, setting: Setting, judge: Judge) -> None:
    """The expert does what the setting asks, shown to `judge` after every step."""
    embodiment = load_embodiment(protocol.embodiment, config("embodiments"))
    space, arms = embodiment.action_space("joints"), embodiment.arms
    expert = scripted(embodiment, protocol, setting, np.random.default_rng(0))
    driver = WorldDriver(world.arms, embodiment)
    sent = [servos.joint_positions for servos in world.arms]

    def look() -> Truth:
        truth = truth_from_state(world.time_s, arms, world.state_names(), world.state(), world.state_velocity())
        judge.observe(truth)
        return truth

    while not expert.done and world.time_s < LONGEST_S:
        joints = dict(zip(embodiment.joint_names, driver.read().positions, strict=True))
        rows = expert.plan(look().things, joints)[:1]
        named = dict(
            zip(space.names, tools_chunk(embodiment, space, joints, rows, np.ones(1), 0.0).values[0], strict=True)
        )
        wanted = [np.array([named[joint] for joint in arm.joints]) for arm in arms]
        for share in np.linspace(0.2, 1.0, 5):
            for servos, arm, old, new in zip(world.arms, arms, sent, wanted, strict=True):
                servos.command(old + share * (new - old), named[arm.gripper.name])
            world.step(STEP_S / 5)
        sent = wanted
    for _ in range(10):
        world.step(STEP_S)
        look()
