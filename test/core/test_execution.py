"""himoe_ros.core.execution and .committed: when to plan, what is told of the last plan, what is published."""

from __future__ import annotations

import math

import numpy as np
import pytest

from himoe_ros.core.chunk_buffer import SETTLE_S
from himoe_ros.core.committed import Committed, resampled
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError
from himoe_ros.core.execution import MARGIN_S, Execution, Scheduler
from himoe_ros.core.observation import ActionChunk
from himoe_ros.resources import config

POSES = load_embodiment("xarm7", config("embodiments")).action_space("end_effector")
YAW = POSES.names.index("yaw")
REACH = np.array([0.1, 0.1, 0.1, 0.6, 0.6, 0.6, np.inf])


def plan(stamp: float, first: float, slope: float = 0.1, steps: int = 12) -> ActionChunk:
    """All slots go from `first` at the stamp by `slope` a second; steps 0.1 s apart."""
    times = 0.1 * np.arange(1, steps + 1)
    values = np.repeat((first + slope * times)[:, None], len(POSES.names), axis=1)
    return ActionChunk(stamp, POSES.names, values, times)


def where(value: float) -> np.ndarray:
    return np.full(len(POSES.names), value)


def scheduler(execution: Execution, period: float = 0.5) -> Scheduler:
    return Scheduler(POSES, execution, period, REACH)


def planned(s: Scheduler, stamp: float, took: float, first: float = 0.0) -> ActionChunk | None:
    """One plan begun at its observation's stamp."""
    planning = s.begin(stamp, where(first), stamp)
    return s.finish(planning, plan(stamp, first), stamp + took)


def test_the_first_plan_is_due_at_once_and_the_next_a_period_after_its_beginning():
    s = scheduler(Execution.ASYNCHRONOUS)
    assert s.due(10.0) <= 10.0
    planned(s, 10.0, 0.1)
    assert s.due(10.1) == pytest.approx(10.5)


def test_an_asynchronous_plan_is_published_as_it_was_made():
    s = scheduler(Execution.ASYNCHRONOUS)
    planned(s, 10.0, 0.3)
    made = plan(10.5, 0.0)
    planning = s.begin(10.5, where(0.0), 10.5)
    assert planning.committed is None and s.finish(planning, made, 10.8) is made


@pytest.mark.parametrize("execution", list(Execution))
def test_a_plan_of_a_robot_at_rest_begins_when_it_is_there(execution):
    """Without its first half second it would ask for a jump, which a guard refuses, this time and the next."""
    s = scheduler(execution)
    first = planned(s, 10.0, 0.5)
    assert first.times[0] == pytest.approx(0.6) and first.values[0] == pytest.approx(where(0.01))
    held = 10.0 + first.times[-1] + SETTLE_S
    again = planned(s, held, 0.5)
    assert again.times[0] == pytest.approx(0.6), "also once the last plan is over"


@pytest.mark.parametrize("execution", [Execution.ASYNCHRONOUS, Execution.ENSEMBLE, Execution.RTC])
def test_a_plan_is_begun_so_early_that_it_arrives_before_the_last_one_ends(execution):
    s = scheduler(execution, period=5.0)
    planned(s, 10.0, 0.4)
    assert s.latency == pytest.approx(0.4)
    assert s.due(10.4) == pytest.approx(10.4 + 1.2 - 0.4 - MARGIN_S)
    assert s.due(12.0) == pytest.approx(15.0), "behind its end there is nothing to hurry for"


def test_a_latency_longer_than_a_plan_makes_no_burst():
    s = scheduler(Execution.ASYNCHRONOUS)
    planned(s, 10.0, 2.3)
    planned(s, 13.0, 0.1)
    assert s.latency == pytest.approx(2.3) and s.due(13.1) == pytest.approx(13.5)


def test_the_longest_of_the_last_latencies_counts_and_is_forgotten_in_time():
    s = scheduler(Execution.ASYNCHRONOUS)
    for i, took in enumerate([0.2, 0.6, *[0.1] * 8]):
        planned(s, 10.0 + i, took)
        assert s.latency == pytest.approx(0.2 if i == 0 else 0.6)
    planned(s, 30.0, 0.1)
    planned(s, 31.0, 0.1)
    assert s.latency == pytest.approx(0.1)


def test_a_late_plan_is_never_published_as_the_next_one():
    s = scheduler(Execution.ASYNCHRONOUS)
    late = s.begin(10.0, where(0.0), 10.0)
    new = s.begin(11.0, where(0.0), 11.0)
    assert s.finish(late, plan(10.0, 0.0), 11.1) is None
    assert s.finish(new, plan(11.0, 0.0), 11.2) is not None


@pytest.mark.parametrize("change", [Scheduler.forget, lambda s: s.switch(Execution.RTC)])
def test_a_plan_begun_before_a_change_is_not_published(change):
    s = scheduler(Execution.ASYNCHRONOUS)
    begun = s.begin(10.0, where(0.0), 10.0)
    change(s)
    assert s.finish(begun, plan(10.0, 0.0), 10.1) is None


def test_a_synchronous_plan_begins_when_it_is_there_and_lasts_for_the_period():
    s = scheduler(Execution.SYNCHRONOUS)
    published = planned(s, 10.0, 0.3)
    assert published.stamp == 10.0
    assert published.times == pytest.approx(0.3 + np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    assert published.values[:, 0] == pytest.approx(0.1 * np.array([0.1, 0.2, 0.3, 0.4, 0.5]))


def test_a_synchronous_plan_waits_for_an_observation_of_the_robot_at_rest():
    s = scheduler(Execution.SYNCHRONOUS)
    planned(s, 10.0, 0.3)
    rest = 10.8 + SETTLE_S
    assert s.due(10.4) == pytest.approx(rest)
    assert s.begin(rest - 0.01, where(0.0), rest + 0.1) is None
    assert s.begin(rest + 0.01, where(0.0), rest + 0.1) is not None


def test_an_ensemble_is_the_weighted_mean_of_what_plans_say_about_a_moment():
    s = scheduler(Execution.ENSEMBLE)
    planned(s, 10.0, 0.0, first=0.0)
    begun = s.begin(10.5, where(0.0), 10.5)
    both = s.finish(begun, plan(10.5, 1.0, slope=0.0), 10.6)
    told = 0.1 * (both.stamp + both.times - 10.0)  # by the first plan
    old, new = 1.0, math.exp(-0.01)
    expected = np.where(both.stamp + both.times <= 11.2, (old * told + new * 1.0) / (old + new), 1.0)
    assert both.values[:, 0] == pytest.approx(expected)


def test_an_ensemble_averages_angles_the_short_way_round():
    s = scheduler(Execution.ENSEMBLE)
    first, second = plan(10.0, 3.1, slope=0.0), plan(10.5, -3.1, slope=0.0)
    s.finish(s.begin(10.0, where(0.0), 10.0), first, 10.1)
    both = s.finish(s.begin(10.5, where(0.0), 10.5), second, 10.6)
    assert np.cos(both.values[0, YAW]) == pytest.approx(-1.0, abs=1e-3)


def test_only_rtc_tells_what_is_committed():
    for execution in Execution:
        s = scheduler(execution)
        first = planned(s, 10.0, 0.2)
        begun = s.begin(10.0 + 2.0 * (execution is Execution.SYNCHRONOUS) + 0.5, where(0.05), 12.5)
        assert (begun.committed is not None) == (execution is Execution.RTC)
    assert first.stamp == 10.0


def test_what_is_committed_is_the_last_plan_until_the_next_is_expected():
    s = scheduler(Execution.RTC)
    made = planned(s, 10.0, 0.2)
    begun = s.begin(10.5, where(0.05), 10.5)
    assert begun.committed.plan is made and begun.committed.until == pytest.approx(10.7)


def test_a_robot_that_does_not_follow_is_committed_to_nothing():
    s = scheduler(Execution.RTC)
    planned(s, 10.0, 0.2)
    assert s.begin(10.5, where(0.05 + 0.11), 10.5).committed is None


def test_a_plan_that_ends_before_the_next_comes_binds_nothing():
    s = scheduler(Execution.RTC)
    planned(s, 10.0, 0.3)
    assert s.begin(11.1, where(0.09), 11.1).committed is not None, "it ends at 11.5, the next is expected at 11.4"
    assert s.begin(11.3, where(0.1), 11.3).committed is None


def test_weights_are_one_while_carried_out_and_fall_to_zero_at_the_end():
    committed = Committed(plan(10.0, 0.0), until=10.7)
    times = 10.5 + 0.1 * np.arange(1, 13)
    weights = committed.weights(times)
    assert weights[:2] == pytest.approx([1.0, 1.0])
    assert np.all(np.diff(weights[1:7]) < 0) and np.all(weights[times >= 11.2 - 1e-9] < 1e-9)
    left = (11.2 - times[3]) / (11.2 - 10.7)
    assert weights[3] == pytest.approx(left * (math.exp(left) - 1) / (math.e - 1))


def test_resampling_goes_through_the_steps_and_the_short_way_round():
    values = np.zeros((3, len(POSES.names)))
    values[:, 0], values[:, YAW] = [0.0, 0.1, 0.4], [3.0, 3.1, -3.1]
    between = resampled(
        ActionChunk(10.0, POSES.names, values, np.array([0.1, 0.2, 0.3])), POSES, np.array([10.2, 10.25])
    )
    assert between[:, 0] == pytest.approx([0.1, 0.25])
    assert np.cos(between[1, YAW]) == pytest.approx(np.cos((3.1 + 2 * math.pi - 3.1) / 2))


def test_an_unknown_way_of_execution_lists_the_known_ones():
    with pytest.raises(ConfigError, match="synchronous.*rtc.*got 'realtime'"):
        Execution.named("realtime")
