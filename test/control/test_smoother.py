"""himoe_ros.control.smoother: whatever it is asked, position, velocity, acceleration, jerk and tool speed hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from ruckig import RuckigError

from himoe_ros.control.smoother import JointSmoother
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import GuardError
from himoe_ros.resources import config

XARM7, ALOHA = (load_embodiment(name, config("embodiments")) for name in ("xarm7", "aloha"))
ARM = XARM7.arms[0]
LOWER, UPPER, HOME = ARM.bounds.lower, ARM.bounds.upper, ARM.bounds.rest
TOOL = XARM7.workspace.max_tool_speed
DT = 0.01
REST = np.zeros(7)


def smoother(start=HOME, arm=ARM, tool=TOOL) -> JointSmoother:
    smooth = JointSmoother(arm, tool if arm is ARM else math.inf)
    smooth.reset(np.asarray(start))
    return smooth


def assert_kept(places: np.ndarray, dts: np.ndarray, arm=ARM) -> None:
    """Limits of the finite differences of what was sent; the first place is a rest."""
    velocity = np.diff(places, axis=0) / dts[:, None]
    middle = (dts[1:] + dts[:-1]) / 2
    acceleration = np.diff(velocity, axis=0) / middle[:, None]
    jerk = np.diff(acceleration, axis=0) / ((dts[2:] + dts[1:-1] + dts[:-2]) / 3)[:, None]
    assert np.abs(velocity).max() <= arm.max_velocity * (1 + 1e-6)
    assert np.abs(acceleration).max() <= arm.max_acceleration * (1 + 1e-6)
    assert np.abs(jerk).max() <= arm.max_jerk * (1 + 1e-3)


def tool_speeds(places: np.ndarray, dts: np.ndarray) -> np.ndarray:
    tool = np.array([ARM.forward(p)[:3, 3] for p in places])
    return np.linalg.norm(np.diff(tool, axis=0), axis=1) / dts


@pytest.mark.parametrize("uneven", [False, True], ids=["even", "uneven"])
@pytest.mark.parametrize("arm", [ARM, ALOHA.arms[0]], ids=["xarm7", "aloha"])
@pytest.mark.parametrize("start", ["home", "lower", "upper"])
def test_wild_targets_and_rates_never_break_a_limit(arm, start, uneven):
    rng = np.random.default_rng(5)
    bounds = arm.bounds
    smooth = smoother({"home": bounds.rest, "lower": bounds.lower + 0.01, "upper": bounds.upper - 0.01}[start], arm)
    places, dts = [smooth.state.position], []
    joints = len(arm.joints)
    for _ in range(150):
        kind = rng.integers(4)
        target = rng.uniform(-7, 7, joints) if kind == 0 else smooth.state.position + rng.normal(0, 0.5, joints)
        rate = rng.normal(0, [0, 0.5, 5, 100][rng.integers(4)], joints)
        speed = rng.choice([0.3, math.inf])
        for _ in range(rng.integers(1, 40)):
            dt = rng.uniform(0.1 * DT, DT) if uneven else DT
            if kind == 3:
                smooth.stop(dt)
            else:
                target = rng.uniform(-7, 7, joints) if kind == 2 else target + rate * dt
                smooth.follow(target, rate, np.full(joints, speed), dt)
            places.append(smooth.state.position)
            dts.append(dt)
    places, dts = np.array(places), np.array(dts)
    assert (places >= bounds.lower - 1e-9).all() and (places <= bounds.upper + 1e-9).all()
    if uneven:  # finite differences of places 1 ms apart only show noise: look at the speeds
        assert np.abs(np.diff(places, axis=0) / dts[:, None]).max() <= arm.max_velocity * (1 + 1e-6)
    else:
        assert_kept(places, dts, arm)
    if arm is ARM:
        assert tool_speeds(places, dts).max() <= TOOL


def test_a_target_in_steady_motion_is_followed_without_lag():
    smooth = smoother()
    rate = np.linspace(-0.6, 0.6, 7)
    for k in range(60):
        smooth.follow(HOME + rate * DT * k, rate, np.ones(7), DT)
    assert smooth.state.position == pytest.approx(HOME + rate * DT * 59, abs=1e-9)
    assert smooth.state.velocity == pytest.approx(rate)


def test_a_far_place_is_reached_on_a_straight_line_and_rested_at():
    smooth = smoother()
    way = np.linspace(-0.4, 0.8, 7)
    places = []
    while not places or not smooth.at_rest:
        smooth.follow(HOME + way, REST, np.full(7, 0.6), DT)
        places.append(smooth.state.position - HOME)
    assert places[-1] == pytest.approx(way)
    assert np.array(places) == pytest.approx(np.outer(np.array(places) @ way / (way @ way), way), abs=1e-6)
    assert len(places) * DT == pytest.approx(0.8 / 0.6 + 0.6 / 10 + 10 / 200, abs=0.02)  # as fast as the limits allow


@pytest.mark.parametrize("edge", [UPPER, LOWER], ids=["upper", "lower"])
@pytest.mark.parametrize("start", [-0.3, 0.1], ids=["inside", "outside"])
def test_a_target_beyond_a_position_limit_is_rested_at_on_the_limit(edge, start):
    outward = np.sign(edge - HOME)
    smooth = smoother(edge + start * outward)
    for k in range(200):
        smooth.follow(edge + (0.005 * k - 0.3) * outward, 0.5 * outward, np.ones(7), DT)
    assert smooth.state.position == pytest.approx(edge, abs=1e-6)


def test_a_stop_is_as_quick_as_the_limits_allow_and_final():
    smooth = smoother(tool=math.inf)
    for k in range(100):
        smooth.follow(HOME + 0.8 * DT * k, REST + 0.8, np.ones(7), DT)
    ticks = 0
    while not smooth.at_rest:
        smooth.stop(DT)
        ticks += 1
    place = smooth.state.position
    assert ticks * DT == pytest.approx(0.8 / 10 + 10 / 200, abs=0.015)
    smooth.stop(DT)
    assert np.array_equal(smooth.state.position, place)


def test_a_planner_that_finds_no_way_slows_the_arm_down(monkeypatch):
    smooth = smoother()
    places = [HOME]
    for k in range(100):
        if k == 50:
            broken = type("Broken", (), {"calculate": lambda *_: (_ for _ in ()).throw(RuckigError("no root"))})()
            monkeypatch.setattr(smooth, "_planner", broken)
        smooth.follow(HOME + 0.3 * DT * k, REST + 0.3, np.ones(7), DT)
        places.append(smooth.state.position)
    assert smooth.at_rest
    assert_kept(np.array(places), np.full(100, DT))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nothing_moves_with_a_value_that_is_not_finite(bad):
    smooth = smoother()
    spoiled = np.where(np.arange(7) == 4, bad, 0.0)
    with pytest.raises(GuardError, match=r"joint target must be finite, got \S+ at \(4,\)"):
        smooth.follow(spoiled, REST, np.ones(7), DT)
    with pytest.raises(GuardError, match="rate of the joint target must be finite"):
        smooth.follow(HOME, spoiled, np.ones(7), DT)
    with pytest.raises(GuardError, match="joint positions must be finite"):
        smooth.reset(spoiled)
    assert np.array_equal(smooth.state.position, HOME)


def test_the_tool_speed_is_used_and_kept_without_shaking():
    stretched = np.array([-1.0, 1.0, 0.0, 1.5, 0.0, 0.5, 0.0])
    smooth = smoother(stretched, tool=0.4)
    places = [stretched]
    while not smooth.at_rest or len(places) == 1:
        smooth.follow(stretched + np.array([2.0, 0, 0, 0, 0, 0, 0]), REST, np.ones(7), DT)
        places.append(smooth.state.position)
    speeds = tool_speeds(np.array(places), np.full(len(places) - 1, DT))
    assert 0.3 < speeds.max() <= 0.4
    cruise = speeds[30:-30]
    assert len(cruise) > 250 and np.ptp(cruise) < 0.01 * cruise.mean()
