"""Rows of the fault table in which whoever sends chunks fails: 5, 6, 9, 10, 13, 14, 15, 17."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from fault_graph import XARM7, FaultGraph, plan_end
from trajectory_msgs.msg import JointTrajectory

from himoe_ros.core.observation import ActionChunk
from himoe_ros.nodes.conversions import chunk_message
from himoe_ros.nodes.managed import COMMAND

TOLD_WITHIN_S = 1.1  # one diagnostic a second, and a tenth for it to arrive
SHUFFLES = max(150, int(os.environ.get("HIMOE_CYCLES", "0")))  # the fault table asks for 1000
Change = Callable[[JointTrajectory], JointTrajectory]


def send_instead(graph: FaultGraph, change: Change, lasting: float = 1.3) -> tuple[float, float]:
    """Plans go on coming, but changed.

    Returns:
        s of the steady clock: when the first one was sent, and when the last good one ends.
    """
    graph.source.stop()
    time.sleep(0.1)
    begin, ended = time.monotonic(), graph.planned_until()
    while time.monotonic() < begin + lasting:
        graph.source.publish(change(graph.source.plan()))
        time.sleep(0.1)
    return begin, ended


def rest(graph: FaultGraph) -> np.ndarray:
    """Wait until the robot holds its place; returns (7,) rad."""
    graph.source.stop()
    graph.holds()
    graph.sentinel()
    return graph.log.commands()[-1].joints


def plan(stamp: float, joints: np.ndarray, times: np.ndarray) -> JointTrajectory:
    """Through (T, 7) rad at (T,) s after the stamp."""
    return chunk_message(
        ActionChunk(
            stamp, XARM7.action_space("joints").names, np.column_stack([joints, np.full(len(times), 0.5)]), times
        )
    )


def shuffled(message: JointTrajectory, order: np.ndarray) -> JointTrajectory:
    message.joint_names = [message.joint_names[i] for i in order]
    for point in message.points:
        point.positions = [point.positions[i] for i in order]
    return message


def test_05_permuted_names_give_bit_identical_commands(graph, record_property):
    """Protected by check_chunk, which finds columns by name."""
    place = rest(graph)
    begin, rng = time.monotonic(), np.random.default_rng(0)
    # Numbers that the box's float32 holds exactly: between two of them, noise of 1e-10 would choose one.
    constant = np.tile(place + np.linspace(0.0, 0.06, 7), (10, 1)).astype(np.float32).astype(float)

    def send(order: np.ndarray) -> None:
        graph.source.publish(shuffled(plan(graph.source.now(), constant, np.arange(1, 11) / 10), order))
        time.sleep(0.02)

    def arrived() -> bool:
        send(np.arange(8))
        return all(np.array_equal(a.joints, b.joints) for a, b in pairwise(graph.log.commands()[-50:]))

    graph.watching.wait(lambda: arrived() and graph.log.travelled(begin) > 0.05, 10.0)
    after, reference = graph.sentinel(), graph.log.commands()[-1].joints
    for _ in range(SHUFFLES):
        send(rng.permutation(8))
    graph.sentinel()
    commands = graph.log.commands(after)
    assert graph.mode() == "running"
    assert len(commands) > SHUFFLES
    assert all(np.array_equal(command.joints, reference) for command in commands)
    record_property("row 5", f"{SHUFFLES} shuffled plans: {len(commands)} commands, all the same bits")


def without_one(message: JointTrajectory) -> JointTrajectory:
    message.joint_names = message.joint_names[1:]
    for point in message.points:
        point.positions = point.positions[1:]
    return message


def with_one_twice(message: JointTrajectory) -> JointTrajectory:
    message.joint_names = [message.joint_names[1], *message.joint_names[1:]]
    return message


def with_another(message: JointTrajectory) -> JointTrajectory:
    message.joint_names = [*message.joint_names, "x"]  # a slot that this action space masks
    for point in message.points:
        point.positions = [*point.positions, 0.3]
    return message


def without_points(message: JointTrajectory) -> JointTrajectory:
    message.points = []
    return message


def too_narrow(message: JointTrajectory) -> JointTrajectory:
    for point in message.points:
        point.positions = point.positions[:-1]
    return message


def going_back(message: JointTrajectory) -> JointTrajectory:
    message.points[3].time_from_start = message.points[1].time_from_start
    return message


def valued(value: float) -> Change:
    def change(message: JointTrajectory) -> JointTrajectory:
        message.points[4].positions[2] = value
        return message

    change.__name__ = f"a value of {value:g}"
    return change


@pytest.mark.parametrize(
    ("row", "change", "words"),
    [
        (6, without_one, "chunk names must be exactly"),
        pytest.param(6, with_one_twice, "chunk names must be exactly", marks=pytest.mark.slow),
        (9, valued(np.nan), "must be finite"),
        pytest.param(9, valued(np.inf), "must be finite", marks=pytest.mark.slow),
        pytest.param(9, valued(1e300), "must lie within", marks=pytest.mark.slow),
        (9, valued(8.0), "step 5 of the chunk would"),
        (10, without_points, "got no point"),
        pytest.param(10, too_narrow, "needs 8 positions", marks=pytest.mark.slow),
        pytest.param(10, going_back, "chunk times must", marks=pytest.mark.slow),
        (10, with_another, "chunk names must be exactly"),
    ],
)
def test_06_09_10_a_malformed_chunk_is_dropped_whole_and_the_robot_holds(graph, row, change, words, record_property):
    """Protected by message_chunk, check_chunk and the collision check; the plan before is carried out to its end."""
    begin, ended = send_instead(graph, change)
    took = graph.told(words, begin, TOLD_WITHIN_S)
    late = graph.check_held(ended)
    graph.holds()
    record_property(
        f"row {row}", f"{change.__name__}: told {took:.2f} s after, at rest {1e3 * late:+.0f} ms from the last step"
    )


def test_13_expired_steps_are_never_sent(graph, record_property):
    """Protected by ChunkBuffer.accept, which drops what is past."""
    place = rest(graph)
    begin = time.monotonic()
    joints = np.tile(place, (10, 1))
    joints[:6, 0] += 0.3  # expired when they come
    graph.source.publish(plan(graph.source.now() - 0.65, joints, np.arange(1, 11) / 10))
    graph.holds("running")
    graph.holds()
    graph.sentinel()
    travelled = graph.log.travelled(begin)
    assert travelled < 1e-3
    record_property("row 13", f"0.65 s late: expired steps 0.3 rad away, moved {1e3 * travelled:.2f} mrad")


def test_13_a_chunk_that_is_all_past_is_refused(graph):
    """Protected as above."""
    place = rest(graph)
    time.sleep(0.5)  # newer than the last plan it is
    begin = time.monotonic()
    graph.source.publish(plan(graph.source.now() - 1.2, np.tile(place + 0.3, (10, 1)), np.arange(1, 11) / 10))
    graph.told("chunk is late", begin, TOLD_WITHIN_S)
    graph.sentinel()
    assert graph.log.travelled(begin) < 1e-3


def test_14_a_reply_after_a_newer_one_or_after_its_timeout_is_discarded(graph, record_property):
    """Protected by ChunkBuffer, whose sequence number is the observation's stamp, and by chunk_timeout_s."""
    place = rest(graph)
    begin, now, times = time.monotonic(), graph.source.now(), np.arange(1, 31) / 10
    still = np.tile(place, (30, 1))
    away = still + np.minimum(times / 10, 0.25)[:, None]
    graph.source.publish(plan(now, still, times))
    graph.holds("running")
    graph.source.publish(plan(now - 0.1, away, times))
    graph.told("is not newer than", begin, TOLD_WITHIN_S + 1.0)
    newest = graph.source.now()
    graph.source.publish(plan(newest, still, times / 10))
    graph.holds()
    began = time.monotonic()
    graph.source.publish(plan(graph.source.now() - 1.7, away, times))
    graph.told("observation is 1.", began, TOLD_WITHIN_S)
    graph.sentinel()
    assert graph.log.travelled(begin) < 1e-3
    record_property("row 14", "a reply 0.1 s behind a newer one, and one 1.7 s after its observation: not followed")


def test_15_a_source_that_is_alive_but_plans_no_more_is_not_waited_for(graph, record_property):
    """Protected by the plan's end in ChunkBuffer; chunk_source goes on telling that all is well."""
    graph.source.stop()
    time.sleep(0.1)
    ended = graph.planned_until()
    late = graph.check_held(ended)
    graph.told("the plan has ended", ended - 0.2, 0.2 + TOLD_WITHIN_S)
    record_property("row 15", f"at rest {1e3 * late:+.0f} ms from the last step")


def test_15_a_long_plan_does_not_outlive_the_watchdog(graph, record_property):
    """Protected by Watchdog: fed by fresh chunks alone, 1.5 s."""
    place = rest(graph)
    begin, times = time.monotonic(), np.arange(1, 51) / 10
    graph.source.publish(plan(graph.source.now(), place + 0.05 * times[:, None], times))
    graph.holds("running")
    graph.holds(within=4.0)
    graph.sentinel()
    stopped = graph.log.moved_last() - begin
    assert 1.4 < stopped < 1.8
    record_property("row 15", f"a plan of 5 s and nothing after it: at rest after {stopped:.2f} s")


def test_17_a_second_publisher_disarms_within_a_second(graph, record_property):
    """Protected by SourceWatch, which knows the source's endpoint."""
    begin = time.monotonic()
    intruder = graph.watching.node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
    try:
        graph.told("a second publisher of action_chunk", begin, 1.0 + TOLD_WITHIN_S)
        graph.holds("disarmed")
        time.sleep(max(0.0, begin + 1.5 - time.monotonic()))
        end = graph.sentinel()
        took = graph.log.commands()[-1].time - begin
        assert took <= 1.0
        answer = graph.arm()
        assert not answer.success and "there are 2" in answer.message
        graph.log.check_rest(begin + took, end)
        record_property("row 17", f"the last command {took:.2f} s after a second publisher appeared")
    finally:
        graph.watching.node.destroy_publisher(intruder)


def test_plans_end_when_they_say(graph):
    """The clock of plan_end is that of the box's log."""
    assert 0.5 < plan_end(graph.chunks[-1][1]) - time.monotonic() < 1.2
