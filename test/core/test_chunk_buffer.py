"""himoe_ros.core.chunk_buffer: splice, drop the past, interpolate, exhaust."""

from __future__ import annotations

import math

import numpy as np
import pytest

from himoe_ros.core.chunk_buffer import ChunkBuffer
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
    return [float(buffer.target(t)[0]) for t in times]


def test_there_is_no_target_before_the_first_chunk(buffer):
    assert buffer.target(10.0) is None and buffer.completion(10.0, 0.1) is None


def test_a_plan_starts_at_the_robot_and_runs_straight_from_step_to_step(buffer):
    assert buffer.accept(chunk(10.0, [1.0, 3.0]), REST, 10.05) == 0
    assert first_slot(buffer, 10.05, 10.075, 10.1, 10.15, 10.2) == pytest.approx([0.0, 0.5, 1.0, 2.0, 3.0])


def test_late_steps_are_never_sent(buffer):
    assert buffer.accept(chunk(10.0, [99.0, 99.0, 99.0, 1.0, 2.0]), REST, 10.3) == 3
    sent = first_slot(buffer, *np.linspace(10.3, 10.5, 201))
    assert max(sent) == pytest.approx(2.0) and np.all(np.diff(sent) >= 0)


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
    assert first_slot(buffer, 10.15) == [2.0]


@pytest.mark.parametrize("stamp", [10.06, 1000.0, math.inf, math.nan])
def test_a_chunk_from_the_future_is_refused_and_does_not_count(buffer, stamp):
    with pytest.raises(GuardError, match=f"chunk stamp {stamp} lies ahead of the clock, 10.000 s; check clocks"):
        buffer.accept(chunk(stamp, [9.0] * 5), REST, 10.0)
    buffer.accept(chunk(10.0, [1.0] * 5), REST, 10.0)
    buffer.accept(chunk(10.04, [1.0] * 5), REST, 10.0)  # a clock slightly ahead is no fault


def test_a_clock_jumping_back_ends_the_plan_and_chunks_flow_again(buffer):
    buffer.accept(chunk(10.0, [1.0] * 10), REST, 10.0)
    assert buffer.target(1.0) is None and buffer.completion(1.0, 0.1) is None
    buffer.accept(chunk(1.0, [2.0] * 10), REST, 1.0)
    assert first_slot(buffer, 1.1) == [2.0]
    with pytest.raises(GuardError, match="not newer"):
        buffer.accept(chunk(0.9, [2.0] * 10), REST, 1.1)


def test_a_plan_is_exhausted_after_its_last_step_and_completed_only_shortly_after(buffer):
    buffer.accept(chunk(10.0, [1.0, 2.0]), REST, 10.0)
    assert first_slot(buffer, 10.2) == [2.0] and buffer.completion(10.199, 0.1) is None
    assert buffer.target(10.2001) is None
    for now in (10.2, 10.2001, 10.299):
        assert np.array_equal(buffer.completion(now, 0.1), np.full(8, 2.0))
    assert buffer.completion(10.301, 0.1) is None


def test_a_cleared_plan_is_gone_and_nothing_of_it_fades_into_the_next(buffer):
    buffer.accept(chunk(10.0, [5.0]), REST, 10.0)
    buffer.clear()
    assert buffer.target(10.1) is None and buffer.completion(10.1, 0.1) is None
    buffer.accept(chunk(10.1, [1.0] * 10), REST, 10.1)
    assert max(first_slot(buffer, *np.linspace(10.1, 11.0, 50))) <= 1.0


def test_an_exhausted_plan_does_not_fade_into_the_next_one(buffer):
    buffer.accept(chunk(10.0, [5.0]), REST, 10.0)
    buffer.accept(chunk(10.5, [1.0] * 5), REST, 10.5)
    assert first_slot(buffer, 10.5, 10.55) == pytest.approx([0.0, 0.5])


def test_a_splice_is_continuous_blends_and_then_follows_the_new_plan_alone(buffer):
    buffer.accept(chunk(10.0, np.arange(0.1, 2.1, 0.1)), REST, 10.0)
    before = buffer.target(10.52)
    lagging = before - 0.03  # where the limits let the robot be
    buffer.accept(chunk(10.5, np.arange(0.7, 2.7, 0.1)), lagging, 10.52)
    assert buffer.target(10.52) == pytest.approx(before)
    sent = np.array([buffer.target(t) for t in np.arange(10.52, 11.5, 0.001)])
    assert np.max(np.abs(np.diff(sent, axis=0))) < 0.005  # in a millisecond; a jump would be near a step, 0.1
    assert first_slot(buffer, 10.62, 10.7, 11.0) == pytest.approx([0.72, 0.8, 1.1])


def test_halfway_through_the_blend_half_of_the_difference_is_left():
    buffer = ChunkBuffer(JOINTS, blend=0.2, max_future=0.05)
    buffer.accept(chunk(10.0, [1.0] * 10), np.ones(8), 10.0)
    buffer.accept(chunk(10.5, [2.0] * 10), np.full(8, 2.0), 10.5)
    assert first_slot(buffer, 10.5, 10.6, 10.7) == pytest.approx([1.0, 1.5, 2.0])


def test_splices_within_a_blend_are_continuous(buffer):
    for k in range(10):
        now = 10.0 + 0.02 * k
        before = buffer.target(now) if k else REST
        buffer.accept(chunk(now, [float(k % 2)] * 20), np.full(8, 0.3), now)
        if k:
            assert buffer.target(now) == pytest.approx(before)


def test_angles_cross_pi_the_short_way_within_a_plan_and_across_a_splice():
    buffer = ChunkBuffer(POSES, blend=0.1, max_future=0.05)
    north = np.zeros(7)
    north[YAW] = math.pi - 0.02
    buffer.accept(chunk(10.0, [-math.pi + 0.02] * 10, POSES), north, 10.0)
    spliced = north.copy()
    spliced[YAW] = -math.pi + 0.01
    buffer.accept(chunk(10.3, [math.pi - 0.05] * 10, POSES), spliced, 10.3)
    yaw = np.array([buffer.target(t)[YAW] for t in np.arange(10.3, 11.2, 0.001)])
    assert np.max(np.abs(wrap_angle(yaw - math.pi))) <= 0.05 + 1e-9
    assert np.max(np.abs(wrap_angle(np.diff(yaw)))) < 0.002
    assert wrap_angle(yaw[-1:] - math.pi) == pytest.approx([-0.05])


def test_joints_are_not_wrapped(buffer):
    buffer.accept(chunk(10.0, [6.0]), np.full(8, -0.2), 10.0)
    assert first_slot(buffer, 10.05) == pytest.approx([2.9])


def test_what_the_caller_changes_later_does_not_reach_the_plan(buffer):
    plan, here = chunk(10.0, [1.0, 2.0]), REST.copy()
    buffer.accept(plan, here, 10.0)
    for array in (plan.values, plan.times, here, buffer.target(10.1), buffer.completion(10.2, 0.1)):
        array[:] = 99.0
    assert first_slot(buffer, 10.0, 10.1, 10.2) == pytest.approx([0.0, 1.0, 2.0])
    assert buffer.completion(10.2, 0.1)[0] == 2.0
