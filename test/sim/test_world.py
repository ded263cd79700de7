"""The running simulation: servos, reset, state exchange, and the whole task done by hand."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.resources import config
from himoe_ros.sim.scene import build_scene
from himoe_ros.sim.servos import SMOOTHING_RAD_S
from himoe_ros.sim.world import World
from himoe_ros.sim.xarm7_scene import XARM7
from himoe_ros.trials.judge import Judge
from himoe_ros.trials.layout import draw_layout, things_of
from himoe_ros.trials.protocol import load_protocol

TASKS = ("fruit_to_plate", "cup_in_cup", "block_on_block")
PROTOCOLS = {n: load_protocol(f"xarm7/{n}", config("trials")) for n in TASKS}
FRUIT = PROTOCOLS["fruit_to_plate"]


def test_joints_follow_a_ramp_of_half_a_radian_a_second(world, layout):
    world.reset(layout)
    direction = np.array([1, -1, 1, 1, -1, 1, -1])
    errors = []
    for tick in range(1, 251):
        target = XARM7.home + 0.5 * 0.004 * tick * direction
        world.arms[0].command(target, 1.0)
        world.step(0.004)
        errors.append(np.abs(world.arms[0].joint_positions - target))
    assert np.max(errors) < 0.5 * 2 / SMOOTHING_RAD_S + 0.005, "no later than the smoothing delays it"


def test_a_stream_of_commands_moves_the_arm_without_blows(world, layout):
    """What a gripper holds walks out of it where every command is one."""
    world.reset(layout)
    speeds = []
    for tick in range(1, 81):
        world.arms[0].command(XARM7.home + 0.5 * 0.01 * tick, 1.0)
        for _ in range(5):
            world.step(0.002)
            speeds.append(world.arms[0].joint_velocities)
    assert np.abs(np.array(speeds[200:]) - 0.5).max() < 0.1


def test_arm_stays_where_it_is_told(world, layout):
    world.reset(layout)
    world.arms[0].command(XARM7.home + 0.3, 0.5)
    world.step(1.0)
    assert world.arms[0].joint_positions == pytest.approx(XARM7.home + 0.3, abs=1e-4)
    assert world.arms[0].joint_velocities == pytest.approx(np.zeros(7), abs=1e-3)
    assert world.arms[0].gripper_opening == pytest.approx(0.5, abs=0.01)


def test_a_far_command_is_approached_at_the_vendors_speed(world, layout):
    world.reset(layout)
    world.arms[0].command(XARM7.home + [1.5, 0, 0, 0, 0, 0, 1.5], 1.0)
    for tick in range(1, 41):
        world.step(0.01)
        moved = (world.arms[0].joint_positions - XARM7.home)[[0, 6]]
        assert (moved < np.pi * 0.01 * tick + 0.01).all()
    assert (moved > np.pi * 0.4 - 0.1).all()


def test_resting_motors_carry_the_weight_of_the_arm(world, layout):
    world.reset(layout)
    world.step(0.5)
    shoulder, elbow = world.arms[0].joint_torques[1], world.arms[0].joint_torques[3]
    assert 5 < abs(shoulder) < 50
    assert 5 < abs(elbow) < 30
    assert world.arms[0].joint_torques[0] == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("seed", range(3))
def test_things_lie_still_after_reset_and_others_are_out_of_sight(name, seed):
    protocol = PROTOCOLS[name]
    world = World(build_scene("xarm7", [*things_of(protocol), "pomegranate"]))
    layout = draw_layout(protocol, next(iter(protocol.settings.values())), seed)
    world.reset(layout)
    before = {n: world.data.body(n).xpos.copy() for n in world.things}
    world.step(1.0)
    for n, (x, y, _) in layout.items():
        assert before[n][:2] == pytest.approx((x, y), abs=5e-4)
        assert world.data.body(n).xpos == pytest.approx(before[n], abs=5e-4)
    assert world.data.body("pomegranate").xpos[0] < -5


def test_reset_is_repeatable_and_forgets(world, layout):
    world.reset(layout)
    state = world.state()
    world.arms[0].command(XARM7.home + 0.2, 0.0)
    world.step(0.5)
    world.reset(layout)
    assert np.array_equal(world.state(), state)


def test_a_thing_that_is_not_there_is_named(world):
    with pytest.raises(ValueError, match=r"no \['melon'\] here; there are .*'apple'"):
        world.reset({"melon": (0.4, 0.0, 0.0)})


@pytest.mark.parametrize("joints", [np.zeros(6), np.full(7, np.nan)])
def test_bad_commands_are_refused(world, joints):
    with pytest.raises(ValueError, match="expected"):
        world.arms[0].command(joints, 1.0)


def test_another_process_can_show_the_same_scene(scene, layout):
    here, there = World(scene), World(scene)
    here.reset(layout)
    here.arms[0].command(XARM7.home + 0.2, 0.3)
    here.step(0.4)
    there.set_state(here.state_names(), here.state())
    assert there.arms[0].tcp_pose[0] == pytest.approx(here.arms[0].tcp_pose[0])
    assert there.arms[0].gripper_opening == here.arms[0].gripper_opening
    assert np.array_equal(there.data.cam_xpos, here.data.cam_xpos)
    for name in ("apple", "pink_plate"):
        assert np.array_equal(there.data.body(name).xpos, here.data.body(name).xpos)


def test_state_names_label_every_value(world):
    names = world.state_names()
    assert len(names) == len(world.state()) == len(set(names))
    assert {"joint1", "drive_joint", "apple.x", "apple.qw", "pink_plate.qz"} <= set(names)
    with pytest.raises(ValueError, match="unknown state.*banana"):
        world.set_state(["banana.x"], [0.0])


@pytest.mark.parametrize(("name", "setting"), [(n, s) for n, p in PROTOCOLS.items() for s in list(p.settings)[:4]])
def test_the_expert_does_the_task(operate, name, setting):
    protocol = PROTOCOLS[name]
    asked = protocol.settings[setting]
    world, judge = World(build_scene("xarm7", things_of(protocol))), Judge(protocol, asked)
    world.reset(draw_layout(protocol, asked, 1))
    operate(world, protocol, asked, judge)
    assert list(judge.verdict.stages.values()) == [True, True]
    assert not judge.verdict.wrong_object and not judge.verdict.wrong_target


def test_the_wrong_fruit_on_the_wrong_plate_is_seen(world, operate, layout):
    world.reset(layout)
    judge = Judge(FRUIT, FRUIT.settings["apple_blue"])
    operate(world, FRUIT, FRUIT.settings["orange_pink"], judge)
    assert judge.verdict.wrong_object == "orange"
    assert judge.verdict.stages == {"pick": False, "place": False}
