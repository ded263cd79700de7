"""himoe_ros.core.chunk_buffer: splice, drop the past, interpolate, exhaust."""

from __future__ import annotations

import math

import numpy as np
import pytest

from himoe_ros.core.chunk_buffer import SETTLE_S, ChunkBuffer
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import GuardError
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.unified import wrap_angle
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
JOINTS, POSES = XARM7.action_space("joints"), XARM7.action_space("end_effector")
YAW = POSES.names.index("yaw")
REST = np.zeros(8)


@pytest.fixture
def buffer() -> ChunkBuffer:
    return ChunkBuffer(JOINTS, blend=0.1, max_future=0.05)


def chunk(stamp: float, steps, space=JOINTS) -> ActionChunk:
    """All slots follow `steps`, one every 0.1 s after the stamp."""
    steps = np.asarray(steps, dtype=float)
    values = np.repeat(steps[:, None], len(space.names), axis=1)
    return ActionChunk(stamp, space.names, values, 0.1 * np.arange(1, len(steps) + 1))


def first_slot(buffer: ChunkBuffer, *times: float) -> list[float]:
    return [float(buffer.target(t).values[0]) for t in times]


def test_there_is_no_target_before_the_first_chunk(buffer):
    assert buffer.target(10.0) is None and len(buffer.ahead(10.0, 0.05)) == 0


def test_a_plan_starts_at_the_robot_at_rest_and_goes_through_its_steps(buffer):
    assert buffer.accept(chunk(10.0, [1.0, 3.0, 5.0, 7.0, 8.0, 9.0]), REST, 10.05) == 0
    start = buffer.target(10.05)
    assert np.all(start.values == 0) and np.all(start.rates == 0)
    assert first_slot(buffer, 10.2, 10.3, 10.4, 10.5) == pytest.approx([3.0, 5.0, 7.0, 8.0])


def test_rates_are_those_of_the_values_and_neither_jumps(buffer):
    rng = np.random.default_rng(2)
    places, rates, times = [], [], np.arange(10.0, 13.0, 1e-4)
    due = 10.0
    for t in times:
        if t >= due:
            buffer.accept(chunk(t - 0.15, rng.uniform(0, 0.1, 12)), REST, t)
            due += 0.4
        target = buffer.target(t)
        places.append(target.values[0])
        rates.append(target.rates[0])
    steps = np.diff(places)
    assert np.abs(steps / 1e-4 - rates[1:]).max() < 0.02
    assert np.abs(steps).max() < 6.0 * 1e-4
    assert np.abs(np.diff(rates)).max() < 0.05


def test_what_lies_ahead_is_what_will_be_the_target(buffer):
    buffer.accept(chunk(10.0, [1.0, 3.0, 2.0]), REST, 10.05)
    ahead = buffer.ahead(10.1, 0.05)[:, 0]
    assert ahead[:-1] == pytest.approx(first_slot(buffer, *(10.1 + 0.05 * np.arange(len(ahead) - 1))))
    assert ahead[-1] == 2.0


def test_late_steps_are_never_sent(buffer):
    assert buffer.accept(chunk(10.0, [99.0, 99.0, 99.0, 1.0, 2.0]), REST, 10.3) == 3
    sent = first_slot(buffer, *np.linspace(10.3, 10.5, 201))
    assert max(sent) <= 2.0 and np.all(np.diff(sent) >= 0)


def test_a_chunk_whose_steps_are_all_past_is_refused_and_the_plan_goes_on(buffer):
    buffer.accept(chunk(10.0, [1.0] * 10), REST, 10.0)
    with pytest.raises(GuardError, match="chunk is late: its last step was due 0.100 s ago"):
        buffer.accept(chunk(10.1, [9.0] * 3), REST, 10.5)
    assert first_slot(buffer, 10.5) == [1.0]
    buffer.accept(chunk(10.1, [2.0] * 9), REST, 10.5)  # the refused one does not count as the last


@pytest.mark.parametrize("stamp", [10.0, 9.9])
def test_a_chunk_of_an_observation_not_newer_than_the_last_is_refused_also_after_a_clear(buffer, stamp):
    buffer.accept(chunk(10.0, [1.0] * 10), np.ones(8), 10.0)
    for clear in (lambda: None, buffer.clear):
        clear()
        with pytest.raises(GuardError, match=f"chunk from {stamp:.3f} s is not newer than the last one from 10.000"):
            buffer.accept(chunk(stamp, [9.0] * 10), np.ones(8), 10.1)
    assert buffer.target(10.1) is None
    buffer.accept(chunk(10.05, [2.0] * 10), np.ones(8), 10.1)
    assert first_slot(buffer, 10.25) == [2.0]


@pytest.mark.parametrize("stamp", [10.06, 1000.0, math.inf, math.nan])
def test_a_chunk_from_the_future_is_refused_and_does_not_count(buffer, stamp):
    with pytest.raises(GuardError, match=f"chunk stamp {stamp} lies ahead of the clock, 10.000 s; check clocks"):
        buffer.accept(chunk(stamp, [9.0] * 5), REST, 10.0)
    buffer.accept(chunk(10.0, [1.0] * 5), REST, 10.0)
    buffer.accept(chunk(10.04, [1.0] * 5), REST, 10.0)  # a clock slightly ahead is no fault


def test_a_clock_jumping_back_ends_the_plan_and_chunks_flow_again(buffer):
    buffer.accept(chunk(10.0, [1.0] * 10), REST, 10.0)
    assert buffer.target(1.0) is None
    buffer.accept(chunk(1.0, [2.0] * 10), REST, 1.0)
    assert first_slot(buffer, 1.11) == [2.0]
    with pytest.raises(GuardError, match="not newer"):
        buffer.accept(chunk(0.9, [2.0] * 10), REST, 1.1)


@pytest.mark.parametrize("steps", [[2.0], [1.0, 2.0], [0.5, 1.0, 1.5, 2.0]])
def test_a_plan_comes_to_rest_at_its_last_step_soon_after_its_time_and_is_over(buffer, steps):
    buffer.accept(chunk(10.0, steps), REST, 10.0)
    end = 10.0 + 0.1 * len(steps) + SETTLE_S
    last = buffer.target(end - 1e-9)
    assert last.values == pytest.approx(np.full(8, 2.0)) and np.abs(last.rates).max() < 1e-3
    assert buffer.target(end + 1e-4) is None
    assert np.all(np.diff(first_slot(buffer, *np.linspace(10.0, end - 1e-9, 500))) >= -1e-12)


def test_a_cleared_plan_is_gone_and_nothing_of_it_fades_into_the_next(buffer):
    buffer.accept(chunk(10.0, [5.0]), REST, 10.0)
    buffer.clear()
    assert buffer.target(10.1) is None
    buffer.accept(chunk(10.1, [1.0] * 10), REST, 10.1)
    assert max(first_slot(buffer, *np.linspace(10.1, 11.0, 50))) <= 1.0


def test_an_exhausted_plan_does_not_fade_into_the_next_one(buffer):
    buffer.accept(chunk(10.0, [5.0]), REST, 10.0)
    buffer.accept(chunk(10.5, [1.0] * 5), REST, 10.5)
    assert first_slot(buffer, 10.5, 10.55, 10.6) == pytest.approx([0.0, 0.5, 1.0])


def test_a_splice_blends_and_then_follows_the_new_plan_alone(buffer):
    buffer.accept(chunk(10.0, np.arange(0.1, 2.1, 0.1)), REST, 10.0)
    before = buffer.target(10.52)
    lagging = before.values - 0.03  # where the limits let the robot be
    buffer.accept(chunk(10.5, np.arange(0.7, 2.7, 0.1)), lagging, 10.52)
    after = buffer.target(10.52)
    assert after.values == pytest.approx(before.values) and after.rates == pytest.approx(before.rates)
    sent = np.array(first_slot(buffer, *np.arange(10.52, 11.5, 0.001)))
    assert np.abs(np.diff(sent)).max() < 0.005  # in a millisecond; a jump would be near a step, 0.1
    assert first_slot(buffer, 10.62, 10.7, 11.0) == pytest.approx([0.72, 0.8, 1.1])


def test_the_shape_of_a_plan_does_not_depend_on_when_it_came_once_the_blend_is_over():
    steps = np.cumsum(np.random.default_rng(0).normal(0, 0.1, 12))
    curves = []
    for late in (0.0, 0.05, 0.25):
        buffer = ChunkBuffer(JOINTS, blend=0.1, max_future=0.05)
        buffer.accept(chunk(10.0, steps), REST, 10.0 + late)
        curves.append(first_slot(buffer, *np.arange(10.41, 11.2, 0.01)))
    assert curves[0] == pytest.approx(curves[1]) and curves[1] == pytest.approx(curves[2], abs=0.03)


def test_angles_cross_pi_the_short_way_within_a_plan_and_across_a_splice():
    buffer = ChunkBuffer(POSES, blend=0.1, max_future=0.05)
    north = np.zeros(7)
    north[YAW] = math.pi - 0.02
    buffer.accept(chunk(10.0, [-math.pi + 0.02] * 10, POSES), north, 10.0)
    spliced = north.copy()
    spliced[YAW] = -math.pi + 0.01
    buffer.accept(chunk(10.3, [math.pi - 0.05] * 10, POSES), spliced, 10.3)
    yaw = np.array([buffer.target(t).values[YAW] for t in np.arange(10.3, 11.2, 0.001)])
    assert np.max(np.abs(wrap_angle(yaw - math.pi))) <= 0.05 + 1e-9
    assert np.max(np.abs(wrap_angle(np.diff(yaw)))) < 0.002
    assert wrap_angle(yaw[-1:] - math.pi) == pytest.approx([-0.05])


def test_joints_are_not_wrapped(buffer):
    buffer.accept(chunk(10.0, [6.0]), np.full(8, -0.2), 10.0)
    assert first_slot(buffer, 10.05) == pytest.approx([2.9])


def test_what_the_caller_changes_later_does_not_reach_the_plan(buffer):
    plan, here = chunk(10.0, [1.0, 2.0]), REST.copy()
    buffer.accept(plan, here, 10.0)
    told = first_slot(buffer, 10.0, 10.1, 10.2)
    for array in (plan.values, plan.times, here, buffer.target(10.0).values, buffer.target(10.1).rates):
        array[:] = 99.0
    assert first_slot(buffer, 10.0, 10.1, 10.2) == told
