"""Rows 19, 20 and 21 of the fault table: the robot's side fails while it moves."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from box_log import ARMING

TOLD_WITHIN_S = 1.1  # one diagnostic a second, and a tenth for it to arrive


@pytest.mark.parametrize("fault", ["drop", "refuse 0.15"])
def test_19_a_lost_connection_disarms_within_200_ms_and_arming_reconnects(graph, fault, record_property):
    """Protected by XArmLink (bounded answers, a lost connection stays lost) and ControlLoop's fault."""
    lost = graph.fault(fault)
    time.sleep(max(0.0, lost + 0.2 - time.monotonic()))
    # Were a call of the driver still waiting, or the loss not noticed, arming could not succeed so soon.
    answer = graph.arm()
    assert answer.success, answer.message
    graph.watching.wait(lambda: (armed := graph.log.last(ARMING)) and armed.time > lost, 5.0)
    armed = graph.log.last(ARMING).time
    assert armed - lost < 0.5
    record_property(
        "row 19", f"'{fault}': armed again over a new connection {1e3 * (armed - lost):.0f} ms after the loss"
    )
    graph.log.check_rest(lost, armed)
    graph.watching.wait(lambda: graph.log.travelled(armed) > 0.05, 5.0)


def test_19_nothing_is_sent_after_a_loss_until_a_person_arms(graph, record_property):
    """Protected by the driver, which does not reconnect by itself, and the fault, which only arming ends."""
    lost = graph.fault("drop")
    took = graph.told("connection to the xArm", lost, TOLD_WITHIN_S)
    record_property("row 19", f"told {took:.2f} s after the loss, 0 commands until armed")
    graph.watching.wait(lambda: graph.mode() == "faulted", 1.1)
    time.sleep(1.2)  # two more plans come and are refused
    graph.log.check_rest(lost, graph.sentinel())
    assert graph.arm().success


def test_19_a_silent_box_is_given_up_and_not_flooded_when_it_is_back(graph, record_property):
    """Protected by XArmLink's patience: the few requests that waited come, and no more."""
    lost = graph.fault("silence 1.5")
    graph.told("no answer for 0.3 s", lost, 0.3 + TOLD_WITHIN_S)
    time.sleep(max(0.0, lost + 1.7 - time.monotonic()))
    back = graph.sentinel()
    late = [e for e in graph.log.commands(lost) if e.time <= back]
    assert len(late) <= 5  # one command, repeated
    record_property("row 19", f"1.5 s of silence: {len(late)} commands arrived late")
    assert len({tuple(e.joints) for e in late}) <= 1
    time.sleep(0.5)
    assert not graph.log.commands(back)
    assert graph.arm().success


def test_19_the_box_dies_the_controller_lives_and_arming_works_once_it_is_back(graph):
    """Protected by the bounded connect and by the node, which survives every DriverError."""
    lost = time.monotonic()
    graph.end("sim_robot", signal.SIGKILL)
    graph.told("connection to the xArm", lost + 0.1, TOLD_WITHIN_S)
    answer = graph.arm()
    assert not answer.success and "no xArm controller answers" in answer.message
    graph.start("sim_robot")
    graph.attend()
    graph.watching.wait(lambda: graph.arm().success, 20.0)
    armed = graph.log.last(ARMING).time
    graph.watching.wait(lambda: graph.log.travelled(armed) > 0.05, 10.0)
    graph.log.check_rest(lost + 0.02, armed)


@pytest.mark.parametrize("repeat", [0, *(pytest.param(i, marks=pytest.mark.slow) for i in (1, 2))])
def test_20_a_call_that_blocks_190_ms_makes_no_jump_and_no_fault(graph, repeat, record_property):
    """Protected by ControlLoop, whose step never grows with a late tick, and XArmLink's patience."""
    blocked = graph.fault("stall 0.19")
    time.sleep(1.0)
    graph.sentinel()
    commands = graph.log.commands(blocked - 0.1)
    times = [e.time for e in commands]
    step = np.abs(np.diff([e.joints for e in commands], axis=0)).max()
    record_property(
        "row 20", f"{1e3 * np.diff(times).max():.0f} ms without a command, largest step {1e3 * step:.2f} mrad"
    )
    assert 0.15 < np.diff(times).max() < 0.3, "the box was blocked, and came back"
    assert graph.log.travelled(blocked + 0.3) > 0.02
    assert graph.mode() == "running"
    graph.log.check_steps()
    graph.log.check_rate()


def test_21_an_emergency_stop_ends_the_plan_and_releasing_it_moves_nothing(graph, record_property):
    """Protected by the driver, which reads the error in each answer, the cleared buffer, and explicit arming."""
    pressed = graph.fault("estop")
    took = graph.told("C1, The Emergency Stop Button", pressed, TOLD_WITHIN_S)
    record_property(
        "row 21",
        f"told {took:.2f} s after; {len(graph.log.commands(pressed))} command(s) on their way, refused by the box",
    )
    graph.log.check_rest(pressed, graph.sentinel())
    answer = graph.arm()
    assert not answer.success and "release the Emergency Stop Button" in answer.message
    graph.fault("release")
    time.sleep(1.2)  # plans go on coming
    graph.told("C1, The Emergency Stop Button", time.monotonic(), TOLD_WITHIN_S)
    graph.log.check_rest(pressed, graph.sentinel())
    graph.source.stop()
    time.sleep(1.2)  # every plan of before has ended
    assert graph.arm().success
    armed = graph.log.last(ARMING).time
    time.sleep(0.5)
    graph.sentinel()
    assert graph.log.commands(armed), "it holds its place"
    assert graph.log.travelled(armed) < 0.005, "the plan from before the stop is gone"


@pytest.mark.parametrize(("code", "clears"), [(31, True), (24, True), (12, False)])
def test_21_a_controller_error_ends_the_plan_and_arming_clears_it_only_where_it_may(graph, code, clears):
    """Protected as above; the codes are the vendor's."""
    tripped = graph.fault(f"error {code}")
    graph.told(f"controller error C{code}", tripped, TOLD_WITHIN_S)
    graph.log.check_rest(tripped, graph.sentinel())
    answer = graph.arm()
    assert answer.success == clears, answer.message
    if not clears:
        assert "cannot be armed" in answer.message
        graph.log.check_rest(tripped, graph.sentinel())
        graph.fault("release")
        graph.fault("error 31")
        graph.watching.wait(lambda: graph.arm().success, 5.0)
