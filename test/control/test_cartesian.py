"""himoe_ros.control.cartesian in the loop: the tool's way, also through singular postures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from control.test_loop import DT, XARM7, Bench, forward

from himoe_ros.control.states import Mode
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.unified import pose_values

ARM, BOX = XARM7.arms[0], XARM7.workspace


def limits_kept(bench: Bench) -> None:
    sent = np.array(bench.driver.sent)[:, :7]
    for order, limit in ((1, ARM.max_velocity), (2, ARM.max_acceleration), (3, ARM.max_jerk)):
        assert np.abs(np.diff(sent, n=order, axis=0)).max() / DT**order <= limit * (1 + 1e-3)


def least_singular(bench: Bench) -> np.ndarray:
    return np.array([np.linalg.svd(ARM.chain.jacobian(q[:7]), compute_uv=False)[-1] for q in bench.driver.sent])


@pytest.mark.parametrize("faster", [1, 4])
def test_through_a_singular_posture_every_limit_holds_and_the_tool_arrives(faster):
    singular = np.array([0.3, 0.0, np.pi / 2, 1.2, 0.0, 1.0, 0.0])
    assert np.linalg.svd(ARM.chain.jacobian(singular), compute_uv=False)[-1] < 1e-9
    arm = replace(ARM, bounds=replace(ARM.bounds, rest=singular))  # drifts nowhere else
    box = replace(BOX, lower=np.full(3, -2.0), upper=np.full(3, 2.0), max_tilt=9.0)
    bench = Bench(replace(XARM7, arms=(arm,), workspace=box))
    path = singular + np.array([0.1, 1.0, 0.0, 0.3, 0.0, 0.0, 0.0]) * np.linspace(-0.3, 0.3, 61)[:, None]
    poses = np.array([[*pose_values(arm, arm.forward(q)).values(), 1.0] for q in path])
    bench.driver.positions[:7] = path[0]
    bench.loop.arm()
    bench.run(0.02)
    for k in range(0, 61, 5):
        coming = poses[np.minimum(np.arange(k, k + 40, faster), 60)]
        bench.accept(ActionChunk(bench.now, bench.space.names, coming, 0.1 * np.arange(1, len(coming) + 1)))
        bench.run(0.5 / faster)
    bench.run(4.5)
    assert least_singular(bench).min() < 0.01
    limits_kept(bench)
    assert bench.loop.mode is Mode.HOLDING
    np.testing.assert_allclose(arm.forward(bench.driver.positions[:7])[:3, 3], poses[-1, :3], atol=5e-3)


@pytest.mark.parametrize("seed", range(4))
def test_random_poses_inside_the_box_are_approached_within_the_speed_of_the_tool(seed):
    rng = np.random.default_rng(seed)
    bench = Bench()
    bench.loop.arm()
    bench.run(0.02)
    for _ in range(25):
        step = rng.normal(0, [0.02, 0.02, 0.02, 0.05, 0.05, 0.1, 0.0])
        bench.accept(bench.chunk(step))
        bench.run(rng.uniform(0.2, 0.9))
    limits_kept(bench)
    tool = np.array([ARM.forward(p[:7])[:3, 3] for p in bench.driver.sent])
    assert np.linalg.norm(np.diff(tool, axis=0), axis=1).max() / DT <= 1.6 * BOX.max_speed
    assert (tool >= BOX.lower - 1e-2).all() and (tool <= BOX.upper + 1e-2).all()


def test_a_plan_that_plunges_below_the_workspace_stops_at_its_edge():
    bench = Bench()
    bench.loop.arm()
    bench.run(0.02)
    for _ in range(4):
        bench.accept(bench.chunk(np.array([0, 0, -0.025, 0, 0, 0, 0]), steps=15))
        bench.run(0.4)
    bench.run(1.5)
    height = np.array([ARM.forward(p[:7])[2, 3] for p in bench.driver.sent])
    assert height.min() > BOX.lower[2] - 1e-3
    assert height[-1] == pytest.approx(BOX.lower[2], abs=1e-3)


def test_a_straight_plan_is_a_straight_line_of_the_tool():
    bench = Bench()
    bench.loop.arm()
    bench.accept(bench.chunk(forward(0.015)))
    bench.run(1.3)
    tool = np.array([ARM.forward(p[:7])[:3, 3] for p in bench.driver.sent])
    assert np.ptp(tool[:, 1]) < 1e-4 and np.ptp(tool[:, 2]) < 2e-3


def test_a_way_waits_for_joints_that_cannot_follow(monkeypatch):
    bench = Bench()
    bench.loop.arm()
    bench.accept(bench.chunk(forward(0.02)))
    bench.run(0.2)
    motion = bench.loop._motion
    monkeypatch.setattr(motion._smoothers[0], "follow", lambda *_: None)
    bench.run(0.8)
    assert np.abs(motion._cartesian._joints - motion.command[:7]).max() < 0.22
