"""Trials in simulated time: a plan that does the task succeeds, one that does not is over in time, and both repeat."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.control.driver import Reading
from himoe_ros.core.committed import Committed
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.execution import MARGIN_S, Execution
from himoe_ros.core.observation import ActionChunk, Observation
from himoe_ros.core.safety import load_safety
from himoe_ros.resources import config
from himoe_ros.rollout.expert_task import scripted
from himoe_ros.rollout.trials import REPLAN_S, Rollouts, scenes
from himoe_ros.teleop.tool import tools_chunk
from himoe_ros.trials.protocol import load_protocol

XARM7 = load_embodiment("xarm7", config("embodiments"))
FRUIT = load_protocol("xarm7/fruit_to_plate", config("trials"))
SETTING = FRUIT.settings["apple_blue"]
SPACE = XARM7.action_space("joints")


@pytest.fixture(scope="module")
def rollouts():
    made = Rollouts(FRUIT, XARM7, SPACE, load_safety(config("safety.yaml")), 64)
    yield made
    made.close()


class Expert:
    """A policy that knows where things are, and plans no farther than it looks anew."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._workplace = rollouts._workplace
        self._scripted = scripted(XARM7, FRUIT, SETTING, np.random.default_rng(0))
        self.seen: list[Observation] = []

    def reseed(self, seed: int) -> None:
        """Nothing is left to chance."""

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        self.seen.append(observation)
        joints = dict(observation.state.joints)
        rows = self._scripted.plan(self._workplace.truth().things, joints)
        times = REPLAN_S / len(rows) * np.arange(1, len(rows) + 1)
        return tools_chunk(XARM7, SPACE, joints, rows, times, observation.stamp)


class Still:
    """A policy that stays where it is, or wants to be elsewhere at once."""

    def __init__(self, away: float = 0.0) -> None:
        self.away = away

    def reseed(self, seed: int) -> None:
        """Nothing is left to chance."""

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        joints = observation.state.joints
        here = np.array([joints[n] for n in SPACE.names[:-1]] + [1.0])
        here[0] += self.away
        return ActionChunk(observation.stamp, SPACE.names, np.tile(here, (12, 1)), 0.1 * np.arange(1, 13))


def test_a_plan_that_does_the_task_succeeds_and_again_in_the_same_way(rollouts):
    first, second = (rollouts.run(Expert(rollouts), SETTING.name, scene=5) for _ in range(2))
    assert first.verdict.success and dict(first.verdict.stages) == {"pick": True, "place": True}
    assert first == second, "the same scene and policy, the same trial"
    assert 5 < first.seconds < FRUIT.time_limit and first.refused == 0


def test_a_policy_sees_what_the_robot_and_its_cameras_tell(rollouts):
    expert = Expert(rollouts)
    rollouts.run(expert, SETTING.name, scene=5)
    one, later = expert.seen[0], expert.seen[8]
    assert one.instruction == SETTING.instruction and set(one.images) == {"base", "left_wrist"}
    assert one.images["base"].shape == (64, 64, 3) and one.images["base"].std() > 10
    assert one.state.eef[:3, 3] == pytest.approx(XARM7.arms[0].tool(one.state.joints)[:3, 3])
    assert later.stamp - one.stamp == pytest.approx(8 * (REPLAN_S - MARGIN_S)), (
        "a plan of its length is renewed before it ends"
    )
    assert np.abs(one.images["left_wrist"].astype(int) - later.images["left_wrist"]).mean() > 3, "the arm has moved"


def test_who_does_nothing_has_failed_when_the_time_is_over(rollouts):
    hurried = replace(FRUIT, time_limit=2.0)
    rollouts._protocol, kept = hurried, rollouts._protocol
    try:
        outcomes = [rollouts.run(Still(), *one) for one in scenes(FRUIT, each=1, seed=3)]
    finally:
        rollouts._protocol = kept
    assert [o.setting for o in outcomes] == list(FRUIT.settings) and [o.scene for o in outcomes] == [3, 4, 5, 6]
    assert outcomes[0].row["place"] is False and outcomes[0].row["wrong_object"] == ""
    for outcome in outcomes:
        assert not outcome.verdict.success and outcome.seconds == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize(("latency", "moved"), [(0.0, True), (0.2, True), (0.4, False)])
def test_a_late_plan_moves_the_arm_later(latency, moved):
    hurried = replace(FRUIT, time_limit=0.4)
    late = Rollouts(hurried, XARM7, SPACE, load_safety(config("safety.yaml")), 64, latency)
    try:
        assert late.run(Still(away=0.1), SETTING.name, scene=5).refused == 0
        assert (late._workplace.joints()["joint1"] > 0.002) == moved
    finally:
        late.close()


@pytest.mark.parametrize(("execution", "apart"), [(Execution.ASYNCHRONOUS, 0.5), (Execution.SYNCHRONOUS, 0.88)])
def test_the_next_plan_is_begun_as_the_way_of_execution_says(execution, apart):
    """Synchronous: once the last one, which came 0.3 s late, has been followed for 0.5 s and the arm rests."""
    seen = []

    class Watching(Still):
        def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
            seen.append(observation.stamp)
            return super().act(observation)

    hurried = replace(FRUIT, time_limit=3.0)
    rollouts = Rollouts(hurried, XARM7, SPACE, load_safety(config("safety.yaml")), 64, 0.3, REPLAN_S, execution)
    try:
        rollouts.run(Watching(away=0.05), SETTING.name, scene=5)
    finally:
        rollouts.close()
    assert np.diff(seen) == pytest.approx([apart] * (len(seen) - 1), abs=0.03) and len(seen) == np.ceil(3.0 / apart)


def test_a_robot_that_faults_ends_its_trial_and_not_the_others(rollouts):
    class Silent(Still):
        def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
            rollouts._workplace.driver.read = lambda: Reading(np.full(8, np.nan), "")
            return super().act(observation)

    outcome = rollouts.run(Silent(), SETTING.name, scene=5)
    assert not outcome.verdict.success and "joint positions of the robot" in outcome.stopped
    assert rollouts.run(Expert(rollouts), SETTING.name, scene=5).verdict.success, "the next one begins anew"


def test_plans_that_the_guard_refuses_are_counted(rollouts):
    rollouts._protocol, kept = replace(FRUIT, time_limit=2.0), rollouts._protocol
    try:
        outcome = rollouts.run(Still(away=2.0), SETTING.name, scene=5)
    finally:
        rollouts._protocol = kept
    assert outcome.refused == round(2.0 / REPLAN_S)
