"""The faults of the simulated box: named, checked, and honest about what lasts."""

from __future__ import annotations

import time

import pytest

from himoe_ros.core.errors import SimulationError
from himoe_ros.sim.xarm_protocol import Function


def ask(rig, function: Function, payload: bytes = b"") -> tuple[int, bytes]:
    return rig.box.handle(function, payload, time.monotonic())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("explode", "no fault of the simulated box; there are: stall"),
        ("stall", r"takes 1 number"),
        ("stall soon", "takes a number"),
        ("stall -1", ">= 0"),
        ("drop 1", "takes 0 number"),
        ("stick 8", "joint from 1 to 7"),
    ],
)
def test_a_wrong_fault_is_told_and_does_nothing(rig, text, words):
    with pytest.raises(SimulationError, match=words):
        rig.fault(text)


def test_an_error_of_a_motor_and_a_pressed_button_outlast_cleaning(rig):
    for fault, code in (("error 12", 12), ("estop", 1)):
        rig.fault(fault)
        ask(rig, Function.CLEAN_ERROR)
        assert ask(rig, Function.GET_ERROR)[1][0] == code
        rig.fault("release")
        assert ask(rig, Function.GET_ERROR)[1][0] == code
        ask(rig, Function.CLEAN_ERROR)
        assert ask(rig, Function.GET_ERROR)[1][0] == 0


def test_the_log_holds_every_request_but_questions_with_its_answer(rig):
    for function in (Function.GET_JOINTS, Function.GET_ERROR, Function.GET_STATE):
        ask(rig, function)
    assert rig.received == []
    before = time.monotonic()
    ask(rig, Function.SET_STATE, bytes([4]))
    ask(rig, Function.SERVO_JOINT, bytes(40))
    state, servo = rig.received
    assert state.words == "SET_STATE 4" and before <= state.time <= time.monotonic()
    assert servo.joints.shape == (7,) and not servo.accepted
