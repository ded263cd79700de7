"""Late plans in simulated time: the arm keeps moving, and the task is done, in every way of execution."""

from __future__ import annotations

from statistics import mean

import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError
from himoe_ros.core.execution import Execution
from himoe_ros.resources import config
from himoe_ros.rollout.late_trials import Late, LateOutcome, LateTrials, largest_jerk

FRUIT, STEPS, PERIOD_S = "xarm7/fruit_to_plate", 50, 0.5
XARM7 = load_embodiment("xarm7", config("embodiments"))


def trial(execution: Execution, latency: float) -> LateOutcome:
    return LateTrials(Late(FRUIT, execution, latency, STEPS, PERIOD_S))("apple_blue", 1000)


@pytest.mark.parametrize("latency", [0.0, 0.3])
@pytest.mark.parametrize("execution", list(Execution))
def test_the_task_is_done_and_only_synchronous_execution_waits(execution, latency):
    done = trial(execution, latency)
    assert done.success and (done.refused, done.stopped) == (0, "")
    assert (done.holds > 0) == (done.held_s > 0.0) == (execution is Execution.SYNCHRONOUS)
    assert 0.1 < done.jerk < 1.05


def test_half_a_second_late_plans_cost_an_asynchronous_arm_less_time_than_a_synchronous_one():
    ways = {
        way: LateTrials(Late(FRUIT, way, 0.5, STEPS, PERIOD_S)) for way in Execution if way is not Execution.ENSEMBLE
    }
    took = {way: mean(trials("apple_blue", scene).seconds for scene in range(3)) for way, trials in ways.items()}
    assert max(took[way] for way in (Execution.ASYNCHRONOUS, Execution.RTC)) < took[Execution.SYNCHRONOUS]


def test_plans_that_a_robot_would_not_follow_are_not_tried():
    with pytest.raises(ConfigError, match=r"late by less than 1\.5 s, after which a robot follows none .* got 1\.6 s"):
        trial(Execution.ASYNCHRONOUS, 1.6)


def test_jerk_is_a_share_of_the_joints_limit():
    t = np.arange(20) / XARM7.control_rate_hz
    commands = np.zeros((20, len(XARM7.joint_names)))
    commands[:, 2] = 0.3 * XARM7.arms[0].max_jerk * t**3 / 6
    assert largest_jerk(XARM7, commands) == pytest.approx(0.3, rel=1e-4)


def test_an_expert_of_two_arms_has_no_long_plans():
    with pytest.raises(ConfigError, match="two arms knows no long plans"):
        LateTrials(Late("aloha/cup_handover", Execution.RTC, 0.0, STEPS, PERIOD_S, "joints"))("red", 0)
