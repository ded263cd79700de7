"""The running simulation: servos, reset, state exchange, and the whole task done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.sim.fruit_to_plate import INSTRUCTIONS, FruitToPlateJudge
from himoe_ros.sim.world import HOME_RAD, SMOOTHING_RAD_S, World


def test_joints_follow_a_ramp_of_half_a_radian_a_second(world):
    world.reset(0)
    direction = np.array([1, -1, 1, 1, -1, 1, -1])
    errors = []
    for tick in range(1, 251):
        target = HOME_RAD + 0.5 * 0.004 * tick * direction
        world.command(target, 1.0)
        world.step(0.004)
        errors.append(np.abs(world.joint_positions - target))
    assert np.max(errors) < 0.5 * 2 / SMOOTHING_RAD_S + 0.005, "no later than the smoothing delays it"


def test_a_stream_of_commands_moves_the_arm_without_blows(world):
    """What a gripper holds walks out of it where every command is one."""
    world.reset(0)
    speeds = []
    for tick in range(1, 81):
        world.command(HOME_RAD + 0.5 * 0.01 * tick, 1.0)
        for _ in range(5):
            world.step(0.002)
            speeds.append(world.joint_velocities)
    assert np.abs(np.array(speeds[200:]) - 0.5).max() < 0.1


def test_arm_stays_where_it_is_told(world):
    world.reset(0)
    world.command(HOME_RAD + 0.3, 0.5)
    world.step(1.0)
    assert world.joint_positions == pytest.approx(HOME_RAD + 0.3, abs=1e-4)
    assert world.joint_velocities == pytest.approx(np.zeros(7), abs=1e-3)
    assert world.gripper_opening == pytest.approx(0.5, abs=0.01)


def test_a_far_command_is_approached_at_the_vendors_speed(world):
    world.reset(0)
    world.command(HOME_RAD + [1.5, 0, 0, 0, 0, 0, 1.5], 1.0)
    for tick in range(1, 41):
        world.step(0.01)
        moved = (world.joint_positions - HOME_RAD)[[0, 6]]
        assert (moved < np.pi * 0.01 * tick + 0.01).all()
    assert (moved > np.pi * 0.4 - 0.1).all()


def test_resting_motors_carry_the_weight_of_the_arm(world):
    world.reset(0)
    world.step(0.5)
    shoulder, elbow = world.joint_torques[1], world.joint_torques[3]
    assert 5 < abs(shoulder) < 50
    assert 5 < abs(elbow) < 30
    assert world.joint_torques[0] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_objects_lie_still_after_reset(scene, seed):
    world = World(scene)
    layout = world.reset(seed)
    before = world.truth()
    world.step(1.0)
    after = world.truth()
    for name, (x, y, _) in layout.items():
        assert before.positions[name][:2] == pytest.approx((x, y), abs=5e-4)
        assert after.positions[name] == pytest.approx(before.positions[name], abs=5e-4)
        assert after.speeds[name] < 1e-3


def test_reset_is_repeatable_and_forgets(world):
    first = world.reset(3)
    state = world.state()
    world.command(HOME_RAD + 0.2, 0.0)
    world.step(0.5)
    assert world.reset(3) == first
    assert np.array_equal(world.state(), state)
    assert world.reset(4) != first


@pytest.mark.parametrize("joints", [np.zeros(6), np.full(7, np.nan)])
def test_bad_commands_are_refused(world, joints):
    with pytest.raises(ValueError, match="expected"):
        world.command(joints, 1.0)


def test_another_process_can_show_the_same_scene(scene):
    here, there = World(scene), World(scene)
    here.reset(1)
    here.command(HOME_RAD + 0.2, 0.3)
    here.step(0.4)
    there.set_state(here.state_names(), here.state())
    assert there.tcp_pose[0] == pytest.approx(here.tcp_pose[0])
    assert there.gripper_opening == here.gripper_opening
    assert np.array_equal(there.data.cam_xpos, here.data.cam_xpos)
    for name in ("apple", "pink_plate"):
        assert np.array_equal(there.data.body(name).xpos, here.data.body(name).xpos)


def test_state_names_label_every_value(world):
    names = world.state_names()
    assert len(names) == len(world.state()) == len(set(names))
    assert {"joint1", "drive_joint", "apple.x", "apple.qw", "pink_plate.qz"} <= set(names)
    with pytest.raises(ValueError, match="unknown state.*banana"):
        world.set_state(["banana.x"], [0.0])


@pytest.mark.parametrize("instruction", INSTRUCTIONS, ids=lambda i: f"{i.fruit}-{i.plate}")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_scripted_operator_does_the_task(world, operate, instruction, seed):
    world.reset(seed)
    judge = FruitToPlateJudge(instruction)
    operate(world, instruction, judge)
    verdict = judge.verdict
    assert verdict.pick
    assert verdict.place
    assert not verdict.wrong_fruit
    assert not verdict.wrong_plate


def test_the_wrong_fruit_on_the_wrong_plate_is_seen(world, operate):
    world.reset(0)
    asked, done = INSTRUCTIONS[0], INSTRUCTIONS[3]
    judge = FruitToPlateJudge(asked)
    operate(world, done, judge)
    assert judge.verdict.wrong_fruit
    assert not judge.verdict.pick
    assert not judge.verdict.place
