"""The control loop against a driver that only remembers, with injected time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.control.driver import Reading
from himoe_ros.control.loop import ControlLoop
from himoe_ros.control.states import Mode
from himoe_ros.core.chunk_buffer import SETTLE_S, ChunkBuffer, Target
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import DriverError, GuardError
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.safety import load_safety
from himoe_ros.core.unified import pose_values
from himoe_ros.resources import config

DT = 0.01
XARM7 = load_embodiment("xarm7", config("embodiments"))
ALOHA = load_embodiment("aloha", config("embodiments"))
SAFETY = load_safety(config("safety.yaml"))


class MemoryDriver:
    """A perfect robot that writes down what it is told."""

    def __init__(self, embodiment) -> None:
        self.positions = np.concatenate([[*arm.bounds.rest, arm.gripper.open] for arm in embodiment.arms])
        self.sent: list[np.ndarray] = []
        self.fault = ""
        self.breaks = self.lost = False
        self.stopped = False
        self.blocked_at: float | None = None  # where something keeps the first gripper from closing further

    def connect(self) -> None: ...

    def enable(self) -> None:
        self.stopped = False

    def read(self) -> Reading:
        if self.lost:
            raise DriverError("nobody answers")
        return Reading(self.positions, self.fault)

    def send(self, positions) -> None:
        if self.breaks:
            raise DriverError("the cable is out")
        assert not self.stopped
        self.positions = positions.copy()
        if self.blocked_at is not None:
            self.positions[7] = min(positions[7], self.blocked_at)
        self.sent.append(positions.copy())

    def stop(self) -> None:
        self.stopped = True

    def close(self) -> None: ...


class Bench:
    """A loop, its driver, and the time."""

    def __init__(self, embodiment=XARM7, space="end_effector") -> None:
        self.embodiment = embodiment
        self.space = embodiment.action_space(space)
        self.driver = MemoryDriver(embodiment)
        self.loop = ControlLoop(self.driver, embodiment, self.space, SAFETY)
        self.now = 100.0

    def run(self, seconds: float) -> list:
        ticks = []
        for _ in range(round(seconds / DT)):
            self.now += DT
            ticks.append(self.loop.tick(self.now, self.now))
        return ticks

    def here(self) -> np.ndarray:
        """(N,) the robot's place in the slots of the action space."""
        named = dict(zip(self.embodiment.joint_names, self.driver.positions, strict=True))
        for arm in self.embodiment.arms:
            named[arm.gripper.name] = arm.gripper.opening(named[arm.gripper.joint])
        if self.space.name == "end_effector":
            named |= pose_values(self.embodiment.arms[0], self.embodiment.arms[0].forward(self.driver.positions[:7]))
        return np.array([named[n] for n in self.space.names])

    def chunk(self, step: np.ndarray, steps: int = 10) -> ActionChunk:
        """A plan that goes on by `step` every tenth of a second."""
        values = self.here() + np.arange(1, steps + 1)[:, None] * step
        return ActionChunk(self.now, self.space.names, values, np.arange(1, steps + 1) * 0.1)

    def accept(self, chunk: ActionChunk) -> None:
        self.loop.accept(chunk, self.now, self.now)


def forward(metres: float) -> np.ndarray:
    return np.array([metres, 0, 0, 0, 0, 0, 0])


def test_nothing_is_sent_before_arming():
    bench = Bench()
    bench.run(1.0)
    with pytest.raises(GuardError, match="disarmed.*call controller/arm"):
        bench.accept(bench.chunk(forward(0.01)))
    assert bench.driver.sent == []


def test_an_armed_robot_holds_its_place():
    bench = Bench()
    start = bench.driver.positions.copy()
    bench.loop.arm()
    bench.run(1.0)
    assert len(bench.driver.sent) == 100
    np.testing.assert_allclose(bench.driver.sent, np.tile(start, (100, 1)), atol=1e-9)


def test_the_tool_follows_a_plan_to_the_millimetre():
    bench = Bench()
    bench.loop.arm()
    start = bench.here()
    bench.accept(bench.chunk(forward(0.01)))
    bench.run(1.5)
    moved = bench.here() - start
    assert moved[0] == pytest.approx(0.1, abs=1e-3)
    np.testing.assert_allclose(moved[1:6], 0, atol=2e-3)
    assert bench.loop.mode is Mode.HOLDING


def test_both_arms_follow_a_plan_in_joints():
    bench = Bench(ALOHA, "joints")
    bench.loop.arm()
    start = bench.here()
    bench.accept(bench.chunk(np.where(bench.space.delta, 0.02, -0.02)))
    bench.run(2.0)
    np.testing.assert_allclose(bench.here() - start, np.where(bench.space.delta, 0.2, -0.2), atol=2e-3)


@pytest.mark.parametrize("space", ["end_effector", "joints"])
def test_speed_and_acceleration_stay_within_limits_whatever_is_planned(space):
    bench = Bench(XARM7, space)
    arm = XARM7.arms[0]
    bench.loop.arm()
    rng = np.random.default_rng(0)
    for _ in range(40):
        wild = bench.chunk(np.zeros(len(bench.space.names)))
        wild = ActionChunk(
            wild.stamp, wild.names, wild.values + rng.uniform(-0.06, 0.06, wild.values.shape), wild.times
        )
        bench.accept(wild)
        bench.run(rng.uniform(0.1, 1.3))
    positions = np.array(bench.driver.sent)[:, :7]
    velocity = np.diff(positions, axis=0) / DT
    assert np.abs(velocity).max() <= arm.max_velocity + 1e-6
    assert np.abs(np.diff(velocity, axis=0)).max() / DT <= arm.max_acceleration + 1e-3
    assert (positions >= arm.bounds.lower).all()
    assert (positions <= arm.bounds.upper).all()


def test_the_tool_is_no_faster_than_the_workspace_allows():
    bench = Bench()
    bench.loop.arm()
    bench.accept(bench.chunk(forward(0.09)))
    bench.run(1.0)
    tool = np.array([XARM7.arms[0].forward(p[:7])[:3, 3] for p in bench.driver.sent])
    assert np.linalg.norm(np.diff(tool, axis=0), axis=1).max() / DT <= 1.1 * XARM7.workspace.max_speed


def test_the_robot_slows_down_and_holds_when_the_plan_ends():
    bench = Bench()
    bench.loop.arm()
    bench.accept(bench.chunk(forward(0.02), steps=3))
    ticks = bench.run(0.6)
    moving = [i for i, t in enumerate(ticks) if not np.allclose(t.command, ticks[-1].command, atol=1e-4)]
    assert max(moving) * DT < 0.3 + 0.1 + 0.02
    assert bench.loop.mode is Mode.HOLDING
    assert "ended" in bench.loop.reason


def test_a_plan_is_dropped_when_no_fresh_one_comes():
    bench = Bench()
    bench.loop.arm()
    bench.accept(bench.chunk(forward(0.001), steps=100))
    bench.run(SAFETY.chunk_timeout_s + 0.1)
    assert bench.loop.mode is Mode.HOLDING


def test_late_steps_are_never_sent():
    bench = Bench(XARM7, "joints")
    bench.loop.arm()
    chunk = bench.chunk(np.zeros(8))
    values = chunk.values.copy()
    values[:5, 0] = 0.5
    bench.now += 0.55
    bench.accept(ActionChunk(chunk.stamp, chunk.names, values, chunk.times))
    bench.run(1.0)
    assert np.abs(np.array(bench.driver.sent)[:, 0]).max() < 1e-9


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_a_chunk_with_an_impossible_value_is_refused_whole(bad):
    bench = Bench()
    bench.loop.arm()
    chunk = bench.chunk(forward(0.01))
    chunk.values[0, 2] = bad
    with pytest.raises(GuardError):
        bench.accept(chunk)
    before = bench.driver.positions.copy()
    bench.run(0.5)
    np.testing.assert_allclose(bench.driver.positions, before, atol=1e-9)


def test_targets_outside_the_workspace_are_moved_to_its_edge():
    bench = Bench()
    bench.loop.arm()
    for _ in range(6):
        bench.accept(bench.chunk(np.array([0, 0, -0.02, 0, 0, 0, 0])))
        bench.run(1.0)
    assert bench.here()[2] == pytest.approx(XARM7.workspace.lower[2], abs=2e-3)


def test_stop_clears_the_plan_and_only_arming_moves_again():
    bench = Bench()
    bench.loop.arm()
    bench.accept(bench.chunk(forward(0.01)))
    bench.run(0.2)
    bench.loop.stop("test")
    sent = len(bench.driver.sent)
    bench.run(0.5)
    with pytest.raises(GuardError):
        bench.accept(bench.chunk(forward(0.01)))
    assert len(bench.driver.sent) == sent
    bench.loop.arm()
    place = bench.driver.positions.copy()
    bench.run(0.5)
    np.testing.assert_allclose(bench.driver.positions, place, atol=1e-9)


def test_a_robot_fault_or_a_lost_cable_ends_in_faulted_with_the_reason():
    bench = Bench()
    bench.loop.arm()
    bench.driver.fault = "controller error C24"
    bench.run(0.05)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.FAULTED, "controller error C24")
    with pytest.raises(DriverError, match="C24"):
        bench.loop.arm()
    bench.driver.fault = ""
    bench.loop.arm()
    bench.driver.breaks = True
    bench.run(0.05)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.FAULTED, "the cable is out")


def test_home_opens_the_gripper_and_goes_to_the_home_posture():
    bench = Bench()
    bench.driver.positions = bench.driver.positions + np.array([0.5, 0.3, -0.2, 0.4, 0.1, -0.3, 0.6, 0.8])
    bench.loop.home()
    bench.run(6.0)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.DISARMED, "at home")
    np.testing.assert_allclose(bench.driver.positions[:7], XARM7.arms[0].bounds.rest, atol=1e-3)
    assert bench.driver.positions[7] == XARM7.arms[0].gripper.open
    speeds = np.abs(np.diff(np.array(bench.driver.sent)[:, :7], axis=0)) / DT
    assert speeds.max() <= SAFETY.home_velocity_rad_s + 1e-6


def gripping() -> Bench:
    """A robot whose closed gripper stands half open around something."""
    bench, gripper = Bench(), XARM7.arms[0].gripper
    assert gripper.open < gripper.closed
    bench.driver.blocked_at = gripper.position(0.5)
    bench.loop.arm()
    bench.accept(bench.chunk(np.array([0, 0, 0, 0, 0, 0, -0.1])))
    bench.run(1.5)
    assert bench.driver.sent[-1][7] == pytest.approx(gripper.closed, abs=1e-3)
    assert bench.driver.positions[7] == pytest.approx(bench.driver.blocked_at)
    bench.loop.disarm("test")
    bench.run(0.5)
    assert bench.loop.mode is Mode.DISARMED
    return bench


@pytest.mark.parametrize("order", ["arm", "park"])
def test_what_a_gripper_holds_is_held_when_it_is_armed_again(order):
    bench = gripping()
    getattr(bench.loop, order)()
    bench.run(0.2)
    assert bench.driver.sent[-1][7] == pytest.approx(XARM7.arms[0].gripper.closed, abs=1e-3)


@pytest.mark.parametrize("meanwhile", ["moved", "faulted", "lost"])
def test_a_gripper_that_may_hold_nothing_any_more_stays_where_it_is(meanwhile):
    """Nothing moves by arming."""
    bench = gripping()
    if meanwhile == "moved":
        bench.driver.positions = bench.driver.positions.copy()
        bench.driver.positions[7] = XARM7.arms[0].gripper.position(0.8)
    elif meanwhile == "faulted":
        bench.driver.fault = "controller error C24"
        bench.run(0.05)
        bench.driver.fault = ""
    else:
        bench.driver.lost = True
        bench.loop.reconnect()
        bench.driver.lost = False
    there = bench.driver.positions[7]
    bench.loop.arm()
    bench.run(0.2)
    assert bench.driver.sent[-1][7] == pytest.approx(there)


def test_a_robot_that_is_held_on_its_way_home_is_not_at_home():
    bench = Bench()
    bench.driver.positions = bench.driver.positions + np.array([0.0, 0.0, 0.0, 0.4, 0.0, 0.0, 0.0, 0.0])
    send, caught = bench.driver.send, bench.driver.positions[3]

    def held(positions) -> None:
        send(np.where(np.arange(8) == 3, caught, positions))

    bench.driver.send = held
    bench.loop.home()
    bench.run(6.0)
    assert bench.loop.mode is Mode.FAULTED
    assert "expected the robot at home, joint4 is still 0.40 rad away: something holds it" in bench.loop.reason
    count = len(bench.driver.sent)
    bench.run(1.0)
    assert len(bench.driver.sent) == count, "nothing more is sent"
    bench.driver.send = send
    bench.loop.home()
    bench.run(6.0)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.DISARMED, "at home"), "freed, it goes home"


def test_a_late_tick_never_makes_a_larger_step():
    bench = Bench(XARM7, "joints")
    bench.loop.arm()
    bench.accept(bench.chunk(np.array([0.09, 0, 0, 0, 0, 0, 0, 0])))
    bench.run(0.3)
    bench.now += 0.19  # a driver call blocked
    bench.run(0.3)
    steps = np.abs(np.diff(np.array(bench.driver.sent)[:, 0]))
    assert steps.max() <= XARM7.arms[0].max_velocity * DT + 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_late_ticks_do_not_shake_the_arm(seed):
    bench, rng = Bench(), np.random.default_rng(seed)
    bench.loop.arm()
    begin, start = bench.now, bench.here()[0]
    bench.accept(bench.chunk(forward(0.015)))
    times, way = [], []
    for k in range(1, 150):
        bench.now = begin + k * DT + rng.uniform(0.0, 3e-3)
        bench.loop.tick(bench.now, bench.now)
        times.append(bench.now - begin)
        way.append(bench.here()[0] - start)
    times, way = np.array(times), np.array(way)
    steady = (times > 0.4) & (times < 0.9)
    line = np.polyval(np.polyfit(times[steady], way[steady], 1), times[steady])
    assert np.abs(way[steady] - line).max() < 4e-4
    assert way.max() - way[-1] < 4e-4, "it does not turn back"


def test_joint_order_of_a_chunk_does_not_matter():
    rng = np.random.default_rng(1)
    wanted = None
    for _ in range(20):
        bench = Bench(XARM7, "joints")
        bench.loop.arm()
        chunk = bench.chunk(np.linspace(0.01, 0.03, 8))
        order = rng.permutation(8)
        names = tuple(chunk.names[i] for i in order)
        bench.accept(ActionChunk(chunk.stamp, names, chunk.values[:, order], chunk.times))
        bench.run(0.5)
        sent = np.array(bench.driver.sent)
        wanted = sent if wanted is None else wanted
        assert np.array_equal(sent, wanted)


class JumpyBench(Bench):
    """A bench whose clock of stamps is `jump` s ahead of the steady one."""

    jump = 0.0

    def run(self, seconds: float) -> list:
        ticks = []
        for _ in range(round(seconds / DT)):
            self.now += DT
            ticks.append(self.loop.tick(self.now + self.jump, self.now))
        return ticks

    def accept(self, chunk: ActionChunk) -> None:
        self.loop.accept(replace(chunk, stamp=chunk.stamp + self.jump), self.now + self.jump, self.now)


def onward(bench: Bench) -> np.ndarray:
    """One step of a plan: 2 cm sideways, or 0.06 rad in every joint."""
    sideways = [0, 0.02, 0, 0, 0, 0, 0]
    return np.array(sideways if bench.space.name == "end_effector" else [0.06] * 7 + [0])


def moving(space: str) -> Bench:
    """A robot in the middle of a plan, at speed."""
    bench = JumpyBench(XARM7, space)
    bench.loop.arm()
    bench.run(0.05)
    bench.accept(bench.chunk(onward(bench)))
    bench.run(0.45)
    assert np.abs(np.diff(bench.driver.sent[-2:], axis=0)).max() > 1e-3
    return bench


def assert_limits_kept(bench: Bench) -> None:
    """Of position, velocity and acceleration, from the first command to the last."""
    arm, positions = XARM7.arms[0], np.array(bench.driver.sent)[:, :7]
    velocity = np.diff(positions, axis=0) / DT
    acceleration = np.diff(velocity, axis=0) / DT
    assert (positions >= arm.bounds.lower).all() and (positions <= arm.bounds.upper).all()
    assert np.abs(velocity).max() <= arm.max_velocity + 1e-6
    assert np.abs(acceleration).max() <= arm.max_acceleration + 1e-3
    assert np.abs(np.diff(acceleration, axis=0)).max() / DT <= arm.max_jerk + 0.1


@pytest.mark.parametrize("space", ["end_effector", "joints"])
@pytest.mark.parametrize("jump", [-10.0, 10.0])
def test_a_jump_of_the_clock_ends_in_a_soft_stop_and_new_plans_are_followed_afterwards(space, jump):
    bench = moving(space)
    place, bench.jump = bench.driver.positions.copy(), jump
    bench.run(0.3)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.HOLDING, f"the ROS clock jumped by {jump:+.1f} s")
    assert 1e-4 < np.abs(bench.driver.positions - place).max() < 0.05  # slowed down, neither frozen nor led away
    np.testing.assert_allclose(bench.driver.sent[-1], bench.driver.sent[-10], atol=1e-6)
    start = bench.here()
    bench.accept(bench.chunk(onward(bench)))
    bench.run(1.5)
    np.testing.assert_allclose((bench.here() - start)[:6], 10 * onward(bench)[:6], atol=3e-3)
    assert_limits_kept(bench)


def test_a_frozen_clock_ends_in_a_soft_stop_and_refuses_chunks_until_it_goes_on():
    bench = moving("joints")
    stands = "the ROS clock has stood still for more than 0.25 s"
    for _ in range(30):
        bench.now += DT
        bench.loop.tick(100.5, bench.now)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.HOLDING, stands)
    with pytest.raises(GuardError, match=stands):
        bench.loop.accept(bench.chunk(onward(bench)), 100.5, bench.now)
    assert_limits_kept(bench)
    bench.run(0.05)
    bench.accept(bench.chunk(onward(bench)))


def spoil(bench: Bench, joint: int, value: float) -> None:
    bench.driver.positions = np.where(np.arange(8) == joint, value, bench.driver.positions)


NOT_FINITE = pytest.mark.parametrize(("joint", "value"), [(0, np.nan), (6, np.inf), (7, np.nan)])


@NOT_FINITE
def test_a_reading_that_is_not_finite_ends_in_faulted_and_nothing_is_sent(joint, value):
    bench = moving("joints")
    sent = len(bench.driver.sent)
    spoil(bench, joint, value)
    bench.run(0.1)
    assert bench.loop.mode is Mode.FAULTED and "finite" in bench.loop.reason
    assert len(bench.driver.sent) == sent


@NOT_FINITE
@pytest.mark.parametrize("begin", [ControlLoop.arm, ControlLoop.home])
def test_a_robot_at_an_unknown_place_cannot_be_armed(begin, joint, value):
    bench = Bench()
    spoil(bench, joint, value)
    with pytest.raises(GuardError, match="joint positions of the robot must be finite"):
        begin(bench.loop)
    bench.run(0.1)
    assert bench.loop.mode is Mode.DISARMED and bench.driver.sent == []


@pytest.mark.parametrize("space", ["end_effector", "joints"])
@pytest.mark.parametrize("begin", [ControlLoop.arm, ControlLoop.home])
def test_arming_or_homing_a_moving_robot_takes_over_its_motion(begin, space):
    bench = moving(space)
    place = bench.driver.positions.copy()
    begin(bench.loop)
    bench.run(4.0)
    assert bench.loop.mode is (Mode.ARMED if begin is ControlLoop.arm else Mode.DISARMED)
    assert_limits_kept(bench)
    if begin is ControlLoop.home:
        np.testing.assert_allclose(bench.driver.positions[:7], XARM7.arms[0].bounds.rest, atol=1e-3)
    else:
        assert 1e-4 < np.abs(bench.driver.positions - place).max() < 0.05


@pytest.mark.parametrize("space", ["end_effector", "joints"])
def test_a_refusal_of_the_guard_within_a_tick_ends_in_faulted(space, monkeypatch):
    bench = moving(space)
    sent = len(bench.driver.sent)
    lost = np.full(len(bench.space.names), np.nan)
    monkeypatch.setattr(ChunkBuffer, "target", lambda self, now: Target(lost, lost))
    bench.run(0.1)
    assert bench.loop.mode is Mode.FAULTED and "finite" in bench.loop.reason
    assert len(bench.driver.sent) == sent
    bench.loop.arm()
    bench.run(0.1)
    assert bench.loop.mode is Mode.ARMED and len(bench.driver.sent) == sent + 10


def test_a_plan_that_outruns_the_robot_moves_it_no_further_after_its_end():
    bench = Bench(XARM7, "joints")
    bench.loop.arm()
    plan = bench.chunk(np.zeros(8))
    plan.values[1:, 0] = 3.0  # at 1 rad/s not reached within the plan's second
    bench.accept(plan)
    bench.run(1.0 + SETTLE_S + 0.2)  # the plan, its end, and slowing down
    place = bench.driver.positions.copy()
    bench.run(1.0)
    np.testing.assert_allclose(bench.driver.positions, place, atol=1e-3)


def test_the_tool_keeps_its_speed_limit_whatever_is_planned_in_joints():
    rng = np.random.default_rng(38)
    bench = Bench(XARM7, "joints")
    bench.loop.arm()
    for _ in range(60):
        wild = bench.chunk(np.zeros(8))
        wild.values[:, :7] += rng.choice([-1, 1], 7) * np.linspace(0.5, 2.0, 10)[:, None]
        bench.accept(wild)
        bench.run(rng.choice([0.1, 0.2, 0.4]))
    tool = np.array([XARM7.arms[0].forward(p[:7])[:3, 3] for p in bench.driver.sent])
    speed = np.linalg.norm(np.diff(tool, axis=0), axis=1) / DT
    assert speed.max() <= 1.02 * XARM7.workspace.max_tool_speed


def test_nothing_of_a_plan_before_arming_fades_into_the_next():
    bench = moving("joints")
    bench.loop.arm()
    bench.run(0.3)
    place = bench.driver.positions.copy()
    bench.accept(bench.chunk(np.zeros(8)))
    bench.run(0.5)
    np.testing.assert_allclose(bench.driver.sent[-50:], np.tile(place, (50, 1)), atol=1e-6)


@pytest.mark.parametrize("seed", [0, 5, 31])
def test_joints_brake_in_time_before_their_limits_also_while_the_tool_is_at_its_speed(seed):
    rng = np.random.default_rng(seed)
    bench = Bench(XARM7, "joints")
    bench.loop.arm()
    bench.run(0.02)
    for _ in range(40):
        wild = bench.chunk(np.zeros(8))
        wild.values[:, :7] += rng.choice([-1, 1], 7) * np.linspace(0.5, 2.5, 10)[:, None]
        bench.accept(wild)
        bench.run(rng.choice([0.2, 0.4, 0.9]))
    assert_limits_kept(bench)
