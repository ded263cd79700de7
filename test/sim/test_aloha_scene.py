"""The model of ALOHA: kinematics and limits of its embodiment, grippers, hands that hold."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.sim.aloha_scene import ALOHA
from himoe_ros.sim.scene import Scene, build_scene
from himoe_ros.sim.shorts import LEFT_LEG, MIDDLE, RIGHT_LEG, SHORTS
from himoe_ros.sim.world import World
from himoe_ros.trials.judge import Judge
from himoe_ros.trials.judges import judge_of
from himoe_ros.trials.layout import draw_layout, things_of
from himoe_ros.trials.protocol import load_protocol

EMBODIMENT = load_embodiment("aloha", config("embodiments"))
HANDOVER, SCOOP = (load_protocol(f"aloha/{name}", config("trials")) for name in ("cup_handover", "scoop"))
CUPS = ("red_beaker", "yellow_beaker", "blue_beaker")


@pytest.fixture(scope="module")
def aloha() -> Scene:
    return build_scene("aloha", [*CUPS, "blue_plate"])


def test_joints_limits_and_kinematics_are_those_of_the_embodiment(aloha):
    model, data, rng = aloha.model, mujoco.MjData(aloha.model), np.random.default_rng(0)
    for arm, names in zip(EMBODIMENT.arms, ALOHA, strict=True):
        assert arm.joints == names.joints and np.array_equal(arm.bounds.rest, names.home)
        ranges = np.array([model.joint(name).range for name in arm.joints])
        assert ranges == pytest.approx(np.stack([arm.bounds.lower, arm.bounds.upper], axis=1))
        for _ in range(30):
            joints = rng.uniform(arm.bounds.lower, arm.bounds.upper)
            data.qpos[[model.joint(name).qposadr[0] for name in arm.joints]] = joints
            mujoco.mj_kinematics(model, data)
            assert arm.forward(joints)[:3, 3] == pytest.approx(data.site(names.tool).xpos, abs=1e-5)


@pytest.mark.parametrize("opening", [0.0, 0.4, 1.0])
def test_grippers_tell_their_motors_angle_and_pads_meet_when_closed(aloha, opening):
    world = World(aloha)
    world.reset({})
    for servos, arm in zip(world.arms, EMBODIMENT.arms, strict=True):
        servos.command(servos.names.home, opening)
        world.step(1.0)
        told = dict(zip(world.state_names(), world.state(), strict=True))[arm.gripper.joint]
        assert arm.gripper.opening(told) == pytest.approx(opening, abs=0.05)
        left, right = (world.data.geom(f"{arm.name}_{side}_pad") for side in ("left", "right"))
        gap = np.linalg.norm(left.xpos - right.xpos) - 2 * world.model.geom(f"{arm.name}_left_pad").size[1]
        assert gap == pytest.approx(0.072 * opening, abs=0.003)


def test_only_pads_table_and_things_collide(aloha):
    model = aloha.model
    colliding = {model.geom(index).name for index in range(model.ngeom) if model.geom_contype[index]}
    pads = {f"{arm}_{side}_pad" for arm in ("left", "right") for side in ("left", "right")}
    assert colliding - {""} == {*pads, *CUPS, "blue_plate", "table", "shelf"}, "walls of cups have no name"


def test_both_arms_follow_and_do_not_feel_each_other(aloha):
    world = World(aloha)
    world.reset({})
    left, right = world.arms
    left.command(left.names.home + 0.2, 1.0)
    world.step(1.0)
    assert left.joint_positions == pytest.approx(left.names.home + 0.2, abs=2e-3)
    assert right.joint_positions == pytest.approx(right.names.home, abs=1e-3)


@pytest.mark.parametrize("setting", HANDOVER.settings)
def test_the_expert_hands_a_cup_over_and_places_it(operate, setting):
    asked = HANDOVER.settings[setting]
    world, judge = World(build_scene("aloha", things_of(HANDOVER))), Judge(HANDOVER, asked)
    world.reset(draw_layout(HANDOVER, asked, 1))
    operate(world, HANDOVER, asked, judge)
    assert list(judge.verdict.stages.values()) == [True, True, True]
    assert not judge.verdict.wrong_object and not judge.verdict.wrong_target


@pytest.mark.parametrize("setting", SCOOP.settings)
def test_the_expert_pushes_the_bowl_scoops_and_pours(operate, setting):
    asked = SCOOP.settings[setting]
    world = World(build_scene("aloha", things_of(SCOOP)))
    world.reset(draw_layout(SCOOP, asked, 1))
    judge = judge_of(SCOOP, asked)
    operate(world, SCOOP, asked, judge)
    assert judge.verdict.success and not judge.verdict.wrong_object


@pytest.mark.parametrize("name", ["fold_shorts", "fold_shorts_novel"])
def test_the_expert_folds_shorts_twice(operate, name):
    protocol = load_protocol(f"aloha/{name}", config("trials"))
    (asked,) = protocol.settings.values()
    world, judge = World(build_scene("aloha", things_of(protocol))), judge_of(protocol, asked)
    layout = draw_layout(protocol, asked, 1)
    world.reset(layout)
    operate(world, protocol, asked, judge)
    assert list(judge.verdict.stages.values()) == [True, True]
    world.reset(layout)
    told = dict(zip(world.state_names(), world.state(), strict=True))
    hinges = [told[f"{asked.roles['garment']}.{name}"] for name in (MIDDLE, LEFT_LEG, RIGHT_LEG)]
    assert hinges == pytest.approx([0.0] * 3, abs=0.02), "a person has opened them"


@pytest.mark.parametrize("garment", SHORTS)
def test_corners_of_shorts_are_where_the_model_has_them(garment):
    world, shape = World(build_scene("aloha", [garment])), SHORTS[garment]
    hinges = {MIDDLE: 1.9, LEFT_LEG: -0.7, RIGHT_LEG: 1.1}
    world.reset({garment: (0.02, -0.01, 0.4)})
    world.set_state([f"{garment}.{name}" for name in hinges], list(hinges.values()))
    origin = world.data.body(garment).xpos
    model, ball = world.model, mujoco.mjtGeom.mjGEOM_SPHERE
    balls = [g for g in range(model.ngeom) if model.geom_type[g] == ball and model.geom_contype[g]]
    there = sorted(world.data.geom_xpos[g].round(3).tolist() for g in balls)
    told = sorted(shape.place_of(name, origin, 0.4, hinges).round(3).tolist() for name in shape.balls)
    assert np.array(told) == pytest.approx(np.array(there), abs=2e-3)
