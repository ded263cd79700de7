"""Late plans in simulated time: the arm keeps moving, and the task is done, in every way of execution."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import pytest

from himoe_ros.control.loop import ControlLoop
from himoe_ros.control.states import Mode
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.execution import Execution, Scheduler
from himoe_ros.core.safety import first_step, load_safety
from himoe_ros.nodes.expert_task import scripted
from himoe_ros.nodes.long_plans import LongPlans
from himoe_ros.resources import config
from himoe_ros.rollout.workplace import WorldDriver
from himoe_ros.sim.scene import build_scene
from himoe_ros.sim.world import World
from himoe_ros.trials.judges import judge_of
from himoe_ros.trials.layout import draw_layout, things_of
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.truth import Truth, truth_from_state

FRUIT = load_protocol("xarm7/fruit_to_plate", config("trials"))
SETTING = FRUIT.settings["apple_blue"]
XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM, SPACE, SAFETY = XARM7.arms[0], XARM7.action_space("end_effector"), load_safety(config("safety.yaml"))
STEPS, PERIOD_S, TICK_S, LOOK_EVERY, LONGEST_S = 50, 0.5, 0.01, 10, 20.0


@dataclass
class Episode:
    success: bool
    seconds: float
    holds: int
    commands: np.ndarray


@pytest.fixture(scope="module")
def world() -> World:
    return World(build_scene("xarm7", things_of(FRUIT)))


def episode(world: World, execution: Execution, latency: float) -> Episode:
    world.reset(draw_layout(FRUIT, SETTING, 1000))
    driver = WorldDriver(world.arms, XARM7)
    loop = ControlLoop(driver, XARM7, SPACE, SAFETY)
    loop.arm()
    plans = LongPlans(
        XARM7, SPACE, Scheduler(SPACE, execution, PERIOD_S, first_step(SAFETY, XARM7, SPACE)), STEPS, latency
    )
    expert, judge = scripted(XARM7, FRUIT, SETTING, np.random.default_rng(0)), judge_of(FRUIT, SETTING)
    commands, modes = [], []

    def look(now: float) -> Truth:
        return truth_from_state(now, XARM7.arms, world.state_names(), world.state(), world.state_velocity())

    for tick in range(round(LONGEST_S / TICK_S)):
        now = 1000.0 + tick * TICK_S
        if judge.observe(look(now)).success:
            break
        if tick % LOOK_EVERY == 0:
            joints = dict(zip(XARM7.joint_names, driver.read().positions.tolist(), strict=True))
            plans.begin(expert, look(now).things, joints, now)
        if (plan := plans.told(now)) is not None:
            loop.accept(plan, now, now)
        commands.append(loop.tick(now, now).command)
        modes.append(loop.mode)
        world.step(TICK_S)
    holds = sum(m is Mode.HOLDING and before is not Mode.HOLDING for before, m in itertools.pairwise(modes))
    return Episode(judge.verdict.success, tick * TICK_S, holds, np.array([c for c in commands if c is not None]))


@pytest.mark.parametrize("latency", [0.0, 0.3])
@pytest.mark.parametrize("execution", list(Execution))
def test_the_task_is_done_and_only_synchronous_execution_waits(world, execution, latency):
    done = episode(world, execution, latency)
    assert done.success
    assert (done.holds > 0) == (execution is Execution.SYNCHRONOUS)
    jerk = np.diff(done.commands[:, : len(ARM.joints)], n=3, axis=0) / TICK_S**3
    assert np.abs(jerk).max() < 1.05 * ARM.max_jerk


def test_half_a_second_late_plans_cost_an_asynchronous_arm_less_time_than_a_synchronous_one(world):
    late = {way: episode(world, way, 0.5) for way in (Execution.SYNCHRONOUS, Execution.ASYNCHRONOUS, Execution.RTC)}
    assert all(done.success for done in late.values())
    assert (
        max(late[way].seconds for way in (Execution.ASYNCHRONOUS, Execution.RTC)) < late[Execution.SYNCHRONOUS].seconds
    )
