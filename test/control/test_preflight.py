"""What a preflight finds: pure judgement of facts, and a survey of the simulated box that moves nothing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.cli import main
from himoe_ros.control.finding import Level
from himoe_ros.control.graph_preflight import StreamFacts, judge_graph
from himoe_ros.control.preflight import RobotFacts, judge_robot
from himoe_ros.control.xarm_survey import survey
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.safety import load_safety
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
SAFETY = load_safety(config("safety.yaml"))
WELL = RobotFacts(
    identity="firmware 2.5.0",
    firmware=(2, 5, 0),
    axes=7,
    error="",
    warning="",
    state=4,
    mode=0,
    joints=XARM7.arms[0].bounds.rest,
    tool_offset=(0.0, 0.0, 0.172),
    load_kg=0.82,
    collision_sensitivity=3,
    reduced=False,
    reduced_joint_speed=3.14,
    fence=None,
    gripper="850 of 850 pulses, 84 mm open",
    gripper_fault="",
    answers=np.full(200, 0.002),
    reports_hz=5.0,
)
LOW = XARM7.arms[0].bounds.lower


def levels(findings) -> dict[str, Level]:
    return {f.check: f.level for f in findings}


def test_a_robot_that_is_well_has_only_ok_lines():
    assert set(levels(judge_robot(WELL, XARM7)).values()) == {Level.OK}


@pytest.mark.parametrize(
    ("change", "check", "level"),
    [
        ({"axes": 6}, "axes", Level.UNSAFE),
        ({"error": "controller error C31"}, "controller error", Level.UNSAFE),
        ({"warning": "controller warning 14"}, "controller warning", Level.WARNING),
        ({"state": 1}, "state", Level.UNSAFE),
        ({"state": 3}, "state", Level.WARNING),
        ({"joints": np.array([0, LOW[1] - 0.1, 0, 1, 0, 1, 0])}, "joint limits", Level.UNSAFE),
        ({"joints": np.array([0, np.nan, 0, 1, 0, 1, 0])}, "joint limits", Level.UNSAFE),
        ({"joints": np.array([0, LOW[1] + 0.01, 0, 1, 0, 1, 0])}, "joint limits", Level.WARNING),
        ({"tool_offset": (0.0, 0.0, 0.0)}, "tool offset", Level.WARNING),
        ({"load_kg": 0.0}, "payload", Level.WARNING),
        ({"collision_sensitivity": 0}, "collision detection", Level.WARNING),
        ({"reduced": True, "reduced_joint_speed": 0.3}, "reduced mode", Level.WARNING),
        ({"fence": (0.5, 0.2, 0.3, -0.3, 0.5, 0.0)}, "safety boundary", Level.WARNING),
        ({"fence": (1.0, 0.0, 1.0, -1.0, 1.0, 0.0)}, "safety boundary", Level.OK),
        ({"gripper": ""}, "gripper", Level.UNSAFE),
        ({"gripper_fault": "gripper error 11"}, "gripper", Level.UNSAFE),
        ({"answers": np.array([0.002] * 199 + [0.4])}, "answers", Level.UNSAFE),
        ({"answers": np.full(200, 0.008)}, "answers", Level.WARNING),
        ({"reports_hz": 0.0}, "status reports", Level.WARNING),
        ({"firmware": (1, 8, 0)}, "versions", Level.WARNING),
    ],
)
def test_each_trouble_is_found_and_told_with_what_was_expected(change, check, level):
    findings = judge_robot(replace(WELL, **change), XARM7)
    assert levels(findings)[check] is level
    others = {k: v for k, v in levels(findings).items() if k != check}
    assert set(others.values()) == {Level.OK}


def test_the_graph_is_judged_by_its_publishers_and_streams():
    well = StreamFacts(10.0, (640, 480), 0.03)
    assert levels(judge_graph([], 0, {}, SAFETY)) == {"ROS graph": Level.OK}
    assert set(levels(judge_graph(["/policy"], 1, {"a": well}, SAFETY)).values()) == {Level.OK}
    assert levels(judge_graph(["/policy"], 2, {}, SAFETY))["action_chunk"] is Level.UNSAFE
    for stream in (
        StreamFacts(0.0, None, 0.0),
        replace(well, rate_hz=2.0),
        replace(well, size=(160, 120)),
        replace(well, offset=10.0),
        replace(well, offset=-10.0),
    ):
        assert levels(judge_graph(["/policy"], 1, {"a": stream}, SAFETY))["a"] is Level.WARNING


def test_a_survey_of_the_box_tells_what_it_is_and_moves_and_sets_nothing(rig):
    before = rig.plant.joint_positions.copy()
    facts = survey(rig.address)
    assert (facts.axes, facts.firmware, facts.state, facts.error) == (7, (2, 5, 0), 4, "")
    np.testing.assert_allclose(facts.joints, before, atol=1e-5)
    assert "mm open" in facts.gripper
    assert facts.reports_hz == pytest.approx(5.0, abs=1.0)
    assert len(facts.answers) == 200
    assert rig.received == []
    np.testing.assert_array_equal(rig.plant.joint_positions, before)


@pytest.mark.parametrize(
    ("fault", "line"),
    [("estop", "C1, The Emergency Stop"), ("gripper 11", "Current Overlimit"), ("refuse 9", "answers")],
)
def test_the_command_exits_with_1_where_it_is_unsafe_and_says_why(rig, capsys, fault, line):
    rig.fault(fault)
    with pytest.raises(SystemExit) as ended:
        main(["check", "xarm7", "--robot-ip", rig.address, "--without-ros"])
    assert ended.value.code == 1
    (unsafe,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("unsafe")]
    assert line in unsafe
    assert rig.received == []


def test_the_command_exits_with_0_where_it_is_safe_and_writes_what_it_found(rig, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["check", "xarm7", "--robot-ip", rig.address, "--without-ros", "--json", str(tmp_path / "found.json")])
    assert ended.value.code == 0
    assert "0 unsafe" in capsys.readouterr().out
    assert '"check": "joint limits"' in (tmp_path / "found.json").read_text()
