"""Smoothness of what is sent: 200 random chunks, each replying 50-300 ms late and disagreeing with the last."""

from __future__ import annotations

import contextlib
import heapq

import numpy as np
import pytest
from control.test_loop import ALOHA, DT, XARM7, Bench

from himoe_ros.control.states import Mode
from himoe_ros.core.errors import GuardError
from himoe_ros.core.observation import ActionChunk

SPLICES = 200


def drive(bench: Bench, seed: int, spread: float) -> tuple[np.ndarray, list[int]]:
    """Follow plans that wander about home; returns (T, N) what was sent, and the ticks of the splices."""
    rng = np.random.default_rng(seed)
    bench.loop.arm()
    bench.run(0.05)
    home, width = bench.here(), len(bench.space.names)
    reach = np.where(bench.space.delta, 0.15, 0.0)
    if bench.space.name == "end_effector":
        reach = np.array([0.08, 0.12, 0.08, 0.2, 0.2, 0.4, 0.0])
    frequency, phase = rng.uniform(0.1, 0.3, width), rng.uniform(0, 6, width)
    period = 1 / bench.space.rate_hz
    due, replies, splices, count = bench.now, [], [], 0
    while len(splices) < SPLICES:
        if bench.now >= due:
            times = np.arange(1, round(1.0 / period) + 1) * period
            wave = np.sin(2 * np.pi * frequency * (bench.now + times[:, None]) + phase)
            values = home + reach * wave * 0.7 + rng.normal(0, spread, width) * reach
            chunk = ActionChunk(bench.now, bench.space.names, values, times)
            heapq.heappush(replies, (bench.now + rng.uniform(0.05, 0.3), count, chunk))
            count += 1
            due += rng.uniform(0.3, 0.5)
        if replies and bench.now >= replies[0][0]:
            bench.accept(heapq.heappop(replies)[2])
            splices.append(len(bench.driver.sent))
        bench.run(DT)
        assert bench.loop.mode in (Mode.ARMED, Mode.RUNNING), bench.loop.reason
    return np.array(bench.driver.sent), splices


@pytest.mark.parametrize(("robot", "space"), [(XARM7, "end_effector"), (XARM7, "joints"), (ALOHA, "joints")])
def test_200_splices_keep_every_limit_and_no_step_is_larger_at_a_splice(robot, space):
    sent, splices = drive(Bench(robot, space), seed=4, spread=0.1)
    steps = np.abs(np.diff(sent, axis=0))
    start = 0
    for arm in robot.arms:
        joints = slice(start, start + len(arm.joints))
        velocity = np.diff(sent[:, joints], axis=0) / DT
        acceleration = np.diff(velocity, axis=0) / DT
        jerk = np.diff(acceleration, axis=0) / DT
        assert np.count_nonzero(np.abs(velocity) > arm.max_velocity * (1 + 1e-6)) == 0
        assert np.count_nonzero(np.abs(acceleration) > arm.max_acceleration * (1 + 1e-6)) == 0
        assert np.count_nonzero(np.abs(jerk) > arm.max_jerk * (1 + 1e-3)) == 0
        arm_steps = steps[:, joints].max(axis=1)
        at_splice = np.zeros(len(arm_steps), bool)
        at_splice[[s - 1 for s in splices if 0 < s <= len(arm_steps)]] = True
        assert arm_steps[at_splice].max() <= arm_steps[~at_splice].max()
        start = joints.stop + 1


@pytest.mark.parametrize(("robot", "space"), [(XARM7, "end_effector"), (XARM7, "joints"), (ALOHA, "joints")])
@pytest.mark.parametrize("seed", range(3))
def test_adversarial_chunks_break_no_limit_and_never_fault_the_loop(robot, space, seed):
    """Huge, alternating, not finite, almost simultaneous, past and future; late ticks and a call that blocks."""
    rng = np.random.default_rng(seed)
    bench = Bench(robot, space)
    bench.loop.arm()
    bench.run(0.02)
    width, dts = len(bench.space.names), []
    for _ in range(150):
        steps = rng.integers(1, 30)
        times = np.cumsum(rng.choice([1e-9, 1e-3, 0.02, 0.1, 1.0], p=[0.04, 0.24, 0.24, 0.24, 0.24], size=steps))
        values = bench.here() + rng.normal(0, rng.choice([0.01, 0.1, 1.0, 50.0]), (steps, width))
        values[0] = bench.here() + rng.uniform(-0.1, 0.1, width)
        if rng.random() < 0.1:
            values[rng.integers(steps), rng.integers(width)] = rng.choice([np.nan, np.inf, 1e300])
        with contextlib.suppress(GuardError):
            bench.accept(ActionChunk(bench.now + rng.choice([-0.3, 0, 0, 0, 0.2]), bench.space.names, values, times))
        for _ in range(rng.integers(1, 60)):
            elapsed = rng.choice([0.0, 0.001, DT, DT, DT, 0.013, 0.19], p=[0.02, 0.1, 0.3, 0.3, 0.2, 0.06, 0.02])
            bench.now += elapsed
            bench.loop.tick(bench.now, bench.now)
            dts.append(min(elapsed, 1 / robot.control_rate_hz))
        assert bench.loop.mode is not Mode.FAULTED, bench.loop.reason
    sent = np.array(bench.driver.sent)[2:]
    dts = np.array(dts)[-len(sent) + 1 :]
    start = 0
    for arm in robot.arms:
        places = sent[:, start : start + len(arm.joints)]
        assert np.isfinite(places).all()
        assert (places >= arm.bounds.lower - 1e-9).all() and (places <= arm.bounds.upper + 1e-9).all()
        assert (np.abs(np.diff(places, axis=0)) <= arm.max_velocity * dts[:, None] * (1 + 1e-6) + 1e-9).all()
        if robot.workspace is not None:
            tool = np.array([arm.forward(p)[:3, 3] for p in places])
            travel = np.linalg.norm(np.diff(tool, axis=0), axis=1)
            assert (travel <= robot.workspace.max_tool_speed * dts + 1e-9).all()
        start += len(arm.joints) + 1


def test_a_call_that_blocks_190_ms_is_followed_by_no_larger_step():
    bench = Bench(XARM7, "joints")
    bench.loop.arm()
    bench.accept(bench.chunk(np.array([0.06, 0.05, 0, 0, 0, 0, 0.06, 0])))
    bench.run(0.3)
    bench.now += 0.19
    bench.run(0.3)
    sent = np.array(bench.driver.sent)[:, :7]
    jerk = np.diff(sent, n=3, axis=0) / DT**3
    assert np.abs(np.diff(sent, axis=0)).max() <= XARM7.arms[0].max_velocity * DT + 1e-9
    assert np.abs(jerk).max() <= XARM7.arms[0].max_jerk * (1 + 1e-3)
    assert XARM7.control_rate_hz == 1 / DT
