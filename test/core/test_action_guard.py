"""himoe_ros.core.action_guard: what may reach a robot."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.core.action_guard import (
    approach,
    check_chunk,
    check_first_step,
    clip_to_workspace,
    limit_step,
    limit_tool_speed,
    require_finite,
)
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import GuardError
from himoe_ros.core.observation import ActionChunk
from himoe_ros.resources import config

XARM7, ALOHA = (load_embodiment(name, config("embodiments")) for name in ("xarm7", "aloha"))
JOINTS, POSES = XARM7.action_space("joints"), XARM7.action_space("end_effector")
ARM = XARM7.arms[0]
LOWER, UPPER, HOME = ARM.bounds.lower, ARM.bounds.upper, ARM.bounds.rest
SPEED, ACCELERATION, DT = ARM.max_velocity, ARM.max_acceleration, 0.01
GOOD = ActionChunk(10.0, JOINTS.names, np.linspace(0.0, 0.3, 32).reshape(4, 8), 0.1 * np.arange(1, 5))
NOISE = 1e-9  # of floating-point sums


def with_value(value: float, slot: int = 5) -> np.ndarray:
    values = GOOD.values.copy()
    values[2, slot] = value
    return values


def test_a_good_chunk_passes_unchanged_and_shares_nothing_with_what_came():
    came = replace(GOOD, values=GOOD.values.copy(), times=GOOD.times.copy())
    checked = check_chunk(came, JOINTS)
    came.values[:] = came.times[:] = 9.0
    assert (checked.stamp, checked.names) == (GOOD.stamp, GOOD.names)
    assert np.array_equal(checked.values, GOOD.values) and np.array_equal(checked.times, GOOD.times)


@pytest.mark.parametrize("space", [JOINTS, POSES, ALOHA.action_space("joints")], ids=["joints", "poses", "aloha"])
def test_1000_orders_of_the_columns_give_the_same_bits(space):
    random = np.random.default_rng(1)
    width = len(space.names)
    values = random.uniform(-1, 1, (4, width))
    for _ in range(1000):
        order = random.permutation(width)
        names = tuple(space.names[i] for i in order)
        checked = check_chunk(ActionChunk(10.0, names, values[:, order], GOOD.times), space)
        assert checked.names == space.names and checked.values.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        *[({"values": with_value(v)}, rf"values must be finite, got {v} at \(2, 5\); 1") for v in (math.nan, math.inf)],
        *[({"values": with_value(v, s)}, r"within \+-100") for v in (101.0, -1e30, 1.7e308) for s in (0, 7)],
        ({"names": ("joint8", *JOINTS.names[1:])}, r"exactly those of action space 'joints'.*got .*'joint8'"),
        ({"names": JOINTS.names[:-1], "values": GOOD.values[:, :-1]}, r"exactly those of .*'gripper'.*; got"),
        ({"names": ("joint1", "joint1", *JOINTS.names[2:])}, r"got \['joint1', 'joint1'"),
        ({"names": (*JOINTS.names, "x"), "values": np.zeros((4, 9))}, r"exactly those .*'x'\]"),  # a masked slot
        ({"values": GOOD.values[:, :7]}, r"\(T > 0, 8\) and times \(T,\); got \(4, 7\) and \(4,\)"),
        ({"values": GOOD.values[:3]}, r"got \(3, 8\) and \(4,\)"),
        ({"values": GOOD.values[0]}, r"got \(8,\) and \(4,\)"),
        ({"values": np.zeros((0, 8)), "times": np.zeros(0)}, r"got \(0, 8\) and \(0,\)"),
        ({"times": GOOD.times[:, None]}, r"got \(4, 8\) and \(4, 1\)"),
        ({"times": np.array([0.1, 0.2, math.nan, 0.4])}, r"times must be finite, got nan at \(2,\)"),
        ({"times": np.array([0.0, 0.1, 0.2, 0.3])}, "times must start above 0 and increase"),
        ({"times": np.array([0.1, 0.2, 0.2, 0.3])}, "times must start above 0 and increase"),
    ],
)
def test_a_malformed_chunk_is_refused_whole_and_by_name(change, told):
    with pytest.raises(GuardError, match=told):
        check_chunk(replace(GOOD, **change), JOINTS)


def test_all_values_that_are_not_finite_are_counted():
    with pytest.raises(GuardError, match=r"it must be finite, got nan at \(0, 1\); 2 such values"):
        require_finite(np.array([[0.0, math.nan], [math.inf, 1.0]]), "it")


@pytest.mark.parametrize(("value", "here"), [(0.61, 0.0), (-0.61, 0.0), (0.0, 0.61), (0.0, math.nan)])
def test_a_plan_whose_first_step_to_come_is_far_from_the_robot_is_refused_and_names_the_slot(value, here):
    plan, robot = replace(GOOD, values=np.zeros((4, 8))), np.zeros(8)
    plan.values[1, 3], robot[3] = value, here
    robot_there = np.where(np.arange(8) == 3, value, 0.0)
    with pytest.raises(GuardError, match=r"too far from the robot: joint4 \S+ \(allowed 0.600\)$"):
        check_first_step(plan, JOINTS, robot, np.full(8, 0.6), now=10.1)  # the first step is past
    check_first_step(plan, JOINTS, robot_there, np.full(8, 0.6), now=10.1)
    check_first_step(plan, JOINTS, robot, np.full(8, 0.6), now=10.4)  # nothing to come


def test_the_first_step_is_measured_the_short_way_round_in_angles_only():
    here, plan = np.zeros(7), ActionChunk(10.0, POSES.names, np.zeros((1, 7)), GOOD.times[:1])
    here[5], plan.values[0, 5] = math.pi - 0.05, -math.pi + 0.05
    check_first_step(plan, POSES, here, np.full(7, 0.11), now=10.0)
    here[0], plan.values[0, 0] = math.pi - 0.05, -math.pi + 0.05
    with pytest.raises(GuardError, match="robot: x -6.183"):
        check_first_step(plan, POSES, here, np.full(7, 0.11), now=10.0)
    assert plan.values[0, 5] == -math.pi + 0.05  # the input stays as it was


def test_poses_are_clipped_into_the_workspace_and_yaw_and_gripper_left_alone():
    box = XARM7.workspace
    far = np.vstack([np.full(7, 9.0), np.full(7, -9.0)])
    clipped = clip_to_workspace(far, POSES, box)
    assert clipped[0].tolist() == [*box.upper, box.max_tilt, box.max_tilt, 9.0, 9.0]
    assert clipped[1].tolist() == [*box.lower, -box.max_tilt, -box.max_tilt, -9.0, -9.0]
    inside = np.array([[*(box.lower + box.upper) / 2, 0.1, -0.1, 2.0, 0.5]])
    assert np.array_equal(clip_to_workspace(inside, POSES, box), inside)
    assert np.all(far[0] == 9.0)  # the input stays as it was


def through(target: np.ndarray, last: np.ndarray, velocity: np.ndarray, dt: float) -> np.ndarray:
    return limit_step(target, last, velocity, ARM, dt)


def to_a_stop(target: np.ndarray, last: np.ndarray, velocity: np.ndarray, dt: float) -> np.ndarray:
    return limit_step(approach(target, last, ARM, SPEED, dt), last, velocity, ARM, dt)


def at_tool_speed(target: np.ndarray, last: np.ndarray, velocity: np.ndarray, dt: float) -> np.ndarray:
    return limit_tool_speed(through(target, last, velocity, dt), last, velocity, ARM, 0.8, dt)


@pytest.mark.parametrize("tick", [through, to_a_stop, at_tool_speed])
@pytest.mark.parametrize("start", [HOME, LOWER + 0.01, UPPER - 0.01, LOWER - 0.2, UPPER + 0.2])
def test_ticks_toward_random_targets_keep_velocity_acceleration_and_position_limits(start, tick):
    random = np.random.default_rng(2)
    last, velocity, fastest, hardest = start, np.zeros(7), 0.0, 0.0
    for _ in range(200):
        target = last + random.choice([-1.0, 1.0], 7) * random.uniform(0.0, 1.0)
        for _ in range(random.integers(1, 60)):
            dt = random.uniform(0.2 * DT, DT)
            new = tick(target, last, velocity, dt)
            assert np.all((new >= np.minimum(LOWER, last)) & (new <= np.maximum(UPPER, last)))
            change = (new - last) / dt - velocity
            last, velocity = new, velocity + change
            fastest, hardest = max(fastest, np.abs(velocity).max()), max(hardest, np.abs(change).max() / dt)
    assert (fastest, hardest) == pytest.approx((SPEED, ACCELERATION))  # it uses all it may, and no more


@pytest.mark.parametrize("dts", [[DT], [0.2 * DT, DT]], ids=["even", "uneven"])
def test_a_place_to_stop_at_is_reached_and_never_overshot(dts):
    random = np.random.default_rng(3)
    for _ in range(30):
        last, velocity = HOME, np.zeros(7)
        target = np.clip(HOME + random.uniform(-1, 1, 7), LOWER, UPPER)
        for _ in range(300):
            dt = random.choice(dts)
            new = to_a_stop(target, last, velocity, dt)
            last, velocity = new, (new - last) / dt
            assert np.all(np.sign(target - HOME) * (last - target) <= NOISE)
        assert last == pytest.approx(target, abs=1e-6)


@pytest.mark.parametrize("start", [UPPER - 0.2, UPPER + 0.1], ids=["inside", "outside"])
@pytest.mark.parametrize("target", [UPPER, UPPER + 5.0])
def test_a_target_on_or_beyond_a_position_limit_is_reached_at_the_limit(start, target):
    last, velocity = start, np.zeros(7)
    for _ in range(100):
        new = to_a_stop(target, last, velocity, DT)
        last, velocity = new, (new - last) / DT
    assert last == pytest.approx(UPPER)


def test_a_target_too_far_for_one_tick_is_approached_on_the_straight_line():
    direction = np.linspace(-1.0, 0.5, 7)
    step = limit_step(HOME + 9 * direction, HOME, SPEED * direction, ARM, DT) - HOME
    assert step == pytest.approx(SPEED * DT * direction)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("argument", ["joint target", "last command", "commanded velocity"])
def test_no_step_is_made_with_a_value_that_is_not_finite(argument, bad):
    state = {name: np.zeros(7) for name in ("joint target", "last command", "commanded velocity")}
    state[argument][4] = bad
    with pytest.raises(GuardError, match=rf"{argument} must be finite, got {bad} at \(4,\)"):
        limit_step(*state.values(), ARM, DT)
    if argument == "joint target":
        with pytest.raises(GuardError, match="joint target must be finite"):
            approach(state[argument], HOME, ARM, SPEED, DT)


def test_a_tick_in_which_the_tool_would_be_too_fast_changes_less_and_no_other():
    random = np.random.default_rng(4)
    limit, shortened = 0.5, 0
    change = ARM.max_acceleration * DT

    def travel(last: np.ndarray, joints: np.ndarray) -> float:
        return float(np.linalg.norm((ARM.forward(joints) - ARM.forward(last))[:3, 3]))

    for _ in range(500):
        last = random.uniform(LOWER, UPPER)
        velocity = random.uniform(-SPEED, SPEED, 7)
        velocity *= min(1.0, random.uniform(0.95, 1.0) * limit * DT / travel(last, last + velocity * DT))
        step = last + (velocity + random.uniform(-change, change, 7)) * DT
        limited = limit_tool_speed(step, last, velocity, ARM, limit, DT)
        fits = travel(last, step) <= limit * DT
        shortened += not fits
        assert np.array_equal(limited, step) == fits
        assert travel(last, limited) <= 1.01 * limit * DT
        assert np.abs((limited - last) / DT - velocity).max() <= change + 1e-9
    assert shortened > 50
