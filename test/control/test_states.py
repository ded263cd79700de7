"""himoe_ros.control.states, and the ways of the loop through them."""

from __future__ import annotations

import numpy as np
import pytest
from control.test_loop import DT, XARM7, Bench, assert_limits_kept, moving

from himoe_ros.control.states import FOLLOWING, NEXT, SENDING, Mode, StateError, States
from himoe_ros.core.errors import GuardError

ARM = XARM7.arms[0]


def test_only_the_changes_of_the_table_are_made():
    for before in Mode:
        for after in Mode:
            states = States()
            states.mode = before
            if after is before or after in NEXT[before]:
                states.go(after, "why")
                assert (states.mode, states.reason) == (after, "why")
            else:
                with pytest.raises(StateError, match=f"cannot go from {before.value} to {after.value}"):
                    states.go(after, "why")
                assert states.mode is before


def test_nothing_follows_chunks_that_was_not_armed_first():
    reached, before = set(), {Mode.DISARMED, Mode.FAULTED}
    while before - reached:
        reached |= before
        before = {after for mode in reached for after in NEXT[mode]} - {Mode.ARMED}
    assert not reached & FOLLOWING


def test_from_everything_that_sends_a_fault_and_a_stop_are_possible():
    assert all({Mode.FAULTED, Mode.DISARMED} <= NEXT[mode] for mode in SENDING)


@pytest.mark.parametrize("space", ["end_effector", "joints"])
def test_a_disarm_in_motion_slows_down_before_the_commands_end(space):
    bench = moving(space)
    bench.loop.disarm("the policy is gone")
    assert (bench.loop.mode, bench.loop.reason) == (Mode.STOPPING, "the policy is gone")
    with pytest.raises(GuardError, match="the controller is stopping"):
        bench.accept(bench.chunk(np.zeros(len(bench.space.names))))
    bench.run(0.5)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.DISARMED, "the policy is gone")
    sent = len(bench.driver.sent)
    assert_limits_kept(bench)
    assert np.abs(np.diff(bench.driver.sent[-2:], axis=0)).max() < 1e-4
    bench.run(0.5)
    assert len(bench.driver.sent) == sent


def test_a_robot_armed_again_while_stopping_takes_over_its_motion():
    bench = moving("joints")
    bench.loop.disarm("test")
    bench.run(0.05)
    bench.loop.arm()
    bench.run(0.5)
    assert bench.loop.mode is Mode.ARMED
    assert_limits_kept(bench)


def test_park_goes_to_its_posture_with_the_grip_as_it_is_and_disarms():
    bench = moving("joints")
    grip = bench.driver.positions[7]
    bench.loop.park()
    bench.run(6.0)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.DISARMED, "parked")
    np.testing.assert_allclose(bench.driver.positions[:7], ARM.park, atol=1e-3)
    assert bench.driver.positions[7] == grip
    assert_limits_kept(bench)


@pytest.mark.parametrize("interrupted", ["going to park", "going home"])
def test_a_disarm_on_the_way_home_or_to_park_ends_it_softly(interrupted):
    bench = moving("joints")
    if interrupted == "going home":
        bench.loop.home()
    else:
        bench.loop.park()
    bench.run(0.4)
    assert (bench.loop.mode, bench.loop.reason) == (Mode.HOMING, interrupted)
    bench.loop.disarm("disarmed by an operator")
    bench.run(0.5)
    assert bench.loop.mode is Mode.DISARMED
    assert_limits_kept(bench)


@pytest.mark.parametrize("space", ["end_effector", "joints"])
def test_a_speed_scale_bounds_joints_and_tool_and_changes_only_while_nothing_is_sent(space):
    bench = Bench(XARM7, space)
    bench.loop.set_speed_scale(0.3)
    bench.loop.arm()
    with pytest.raises(GuardError, match="only while disarmed, the controller is armed"):
        bench.loop.set_speed_scale(1.0)
    for _ in range(5):
        bench.accept(bench.chunk(np.where(bench.space.delta, 0.03, 0.0)))
        bench.run(0.6)
    sent = np.array(bench.driver.sent)[:, :7]
    assert np.abs(np.diff(sent, axis=0)).max() / DT <= 0.3 * ARM.max_velocity * (1 + 1e-6)
    if space == "end_effector":
        tool = np.array([ARM.forward(q)[:3, 3] for q in sent])
        assert np.linalg.norm(np.diff(tool, axis=0), axis=1).max() / DT <= 1.6 * 0.3 * XARM7.workspace.max_speed


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.01, np.nan, np.inf])
def test_a_speed_scale_that_is_no_share_is_refused(bad):
    with pytest.raises(GuardError, match="speed_scale must be > 0 and <= 1"):
        Bench().loop.set_speed_scale(bad)


def test_the_guard_faults_the_loop_when_whoever_computed_a_command_was_wrong(monkeypatch):
    bench = moving("joints")
    sent = len(bench.driver.sent)
    monkeypatch.setattr(bench.loop._motion, "follow", lambda target, dt: bench.loop.command + 2.0 * DT)
    bench.run(0.1)
    assert bench.loop.mode is Mode.FAULTED and "command of joint1 must lie in" in bench.loop.reason
    assert len(bench.driver.sent) == sent
