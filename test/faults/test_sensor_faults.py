"""Rows 1 to 8 of the fault table: cameras and joint states fail while a policy drives the robot."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np
import pytest
from fault_graph import fault_graph
from policy_graph import PolicyGraph
from sensor_msgs.msg import Image, JointState

from himoe_ros.core.messages import seconds
from himoe_ros.core.safety import load_safety
from himoe_ros.nodes.conversions import stamp
from himoe_ros.resources import config

TOLD_WITHIN_S = 2.2  # one diagnostic a second, a plan every half, and a busy machine
MAX_AGE_S = load_safety(config("safety.yaml")).sensors.max_age_s
INFERENCE_S = 0.3  # himoe_small on a busy core, and the way of its answer
SHUFFLES = max(100, int(os.environ.get("HIMOE_CYCLES", "0")))  # the fault table asks for 1000


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with fault_graph(tmp_path_factory.mktemp("sensors"), PolicyGraph) as graph:
        yield graph


@pytest.fixture
def graph(running):
    running.run()
    yield running
    running.sensors.work()
    assert running.watching.call("controller/disarm").success
    running.check_always()


def check_hold(graph: PolicyGraph, since: float, words: str) -> str:
    """No plan is made any more, the policy says why, and the robot holds at the end of the last one."""
    took = graph.complained("policy", words, since, TOLD_WITHIN_S)
    time.sleep(max(0.0, since + MAX_AGE_S + INFERENCE_S - time.monotonic()))
    plans = len(graph.chunks)
    late = graph.check_held(graph.planned_until())
    assert len(graph.chunks) == plans, "it went on planning"
    graph.holds()
    return f"told {took:.2f} s after, at rest {1e3 * late:+.0f} ms from the last step"


def check_goes_on(graph: PolicyGraph, lasting: float = 1.5) -> None:
    """Plans come, and are followed, as if nothing had happened."""
    plans, begin = len(graph.chunks), time.monotonic()
    time.sleep(lasting)
    assert len(graph.chunks) - plans >= lasting / 0.75  # one in 0.25 s is asked for, on a busy machine
    graph.sentinel()
    assert graph.log.travelled(begin) > 0.01


def only(camera: str, change: Callable[[Image], list[Image]]) -> Callable[[str, Image], list[Image]]:
    """A fault of one camera."""
    return lambda name, message: change(message) if name == camera else [message]


@pytest.mark.parametrize("camera", ["base", pytest.param("left_wrist", marks=pytest.mark.slow)])
def test_01_a_silent_camera_ends_planning_and_the_robot_holds(graph, camera, record_property):
    """Protected by the age limit in Synchronizer.observation and the plan's end."""
    graph.sensors.picture = only(camera, lambda message: [])
    silent = time.monotonic()
    told = check_hold(graph, silent, f"camera '{camera}'")
    ages = [came - time.monotonic() + time.time() - seconds(m.header.stamp) for came, m in graph.chunks[-20:]]
    assert max(ages) <= MAX_AGE_S + INFERENCE_S
    record_property("row 1", f"{camera}: {told}; oldest image of a plan {1e3 * max(ages):.0f} ms with its inference")
    graph.sensors.work()
    check_goes_on(graph)  # nobody has to arm: the robot was holding, not stopped


def test_02_a_frozen_camera_is_found_after_ten_equal_images(graph, record_property):
    """Protected by Synchronizer's count of equal images; the noise of a still scene is none (see test_synchronizer)."""
    first: list[Image] = []

    def freeze(message: Image) -> list[Image]:
        if not first:
            first.append(message)
        first[0].header.stamp = message.header.stamp
        return first

    graph.sensors.picture = only("base", freeze)
    frozen = time.monotonic()
    record_property("row 2", check_hold(graph, frozen + 0.5, "camera frozen: base"))
    graph.sensors.work()
    check_goes_on(graph)


@pytest.mark.parametrize(
    ("shift", "words"),
    [
        pytest.param(None, "header.stamp must be set", id="zero"),
        pytest.param(10.0, "in the future", id="future", marks=pytest.mark.slow),
        pytest.param(-5.0, "behind the newest", id="old", marks=pytest.mark.slow),
    ],
)
def test_03_images_with_impossible_stamps_are_dropped_and_the_others_used(graph, shift, words, record_property):
    """Protected by Stream.push, which names them; a sorted replay gives the same (see test_synchronizer)."""

    def doubled(message: Image) -> list[Image]:
        bad = Image(height=120, width=160, encoding="rgb8", step=480, data=message.data)
        bad.header.stamp = stamp(0.0 if shift is None else seconds(message.header.stamp) + shift)
        return [bad, message, bad]

    graph.sensors.picture = only("base", doubled)
    begin = time.monotonic()
    took = graph.complained("policy", words, begin, TOLD_WITHIN_S)
    check_goes_on(graph)
    now = time.time()
    assert all(now - 5.0 < seconds(message.header.stamp) <= now for _, message in graph.chunks[-4:])
    record_property("row 3", f"{words}: told {took:.2f} s after, planning went on")


def test_03_images_out_of_order_take_their_place(graph, record_property):
    """Protected by the sorted buffers of Stream (see test_synchronizer): no observation goes back in time."""
    held: list[Image] = []

    def swapped(message: Image) -> list[Image]:
        held.append(message)
        if len(held) < 2:
            return []
        out = held[::-1]
        held.clear()
        return out

    graph.sensors.picture = only("base", swapped)
    plans = len(graph.chunks)
    check_goes_on(graph, 2.0)
    stamps = [seconds(message.header.stamp) for _, message in graph.chunks[plans:]]
    assert stamps == sorted(stamps)
    record_property("row 3", "every two images swapped: planning went on, observations in order")


def test_04_a_camera_too_far_behind_the_other_gives_no_observation(graph, record_property):
    """Protected by the skew and age limits of Synchronizer: images that fit its own are too old by then."""

    def behind(message: Image) -> list[Image]:
        message.header.stamp = stamp(seconds(message.header.stamp) - 0.35)
        return [message]

    graph.sensors.picture = only("left_wrist", behind)
    record_property("row 4", check_hold(graph, time.monotonic(), "camera 'left_wrist' is"))


def test_05_permuted_joint_states_are_the_same_state(graph, record_property):
    """Protected by named_positions, which reads joints by name."""
    assert graph.watching.call("controller/disarm").success
    graph.holds("disarmed")
    rng = np.random.default_rng(0)
    still = [graph.joints[-1]]

    def same(message: JointState) -> list[JointState]:
        message.position = still[0].position
        return [message]

    def permuted(message: JointState) -> list[JointState]:
        (message,) = same(message)
        order = rng.permutation(len(message.name))
        message.name = [message.name[i] for i in order]
        message.position = [message.position[i] for i in order]
        return [message]

    graph.sensors.joints = same
    time.sleep(1.5)  # a horizon of the buffers
    told = len(graph.unified)
    graph.watching.wait(lambda: len(graph.unified) > told, 3.0)
    reference = np.array(graph.unified[-1].data)
    graph.sensors.joints = permuted
    time.sleep(SHUFFLES / 100)  # 100 joint states a second
    told = len(graph.unified)
    graph.watching.wait(lambda: len(graph.unified) > told + 3, 5.0)
    assert all(np.array_equal(np.array(message.data), reference) for message in graph.unified[told:])
    record_property("row 5", f"{SHUFFLES} shuffled joint states: the same unified state, bit by bit")
    graph.sensors.work()


def lacking(message: JointState) -> list[JointState]:
    message.name, message.position = message.name[1:], message.position[1:]
    return [message]


def doubled(message: JointState) -> list[JointState]:
    message.name, message.position = [*message.name, "joint3"], [*message.position, 0.0]
    return [message]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lacking, "joint state lacks ['joint1']"),
        pytest.param(doubled, "['joint3'] more than once", marks=pytest.mark.slow),
    ],
)
def test_06_a_missing_or_doubled_joint_is_refused_by_name(graph, change, words, record_property):
    """Protected by named_positions."""
    graph.sensors.joints = change
    record_property("row 6", f"{words}: {check_hold(graph, time.monotonic(), words)}")


def extra(message: JointState) -> list[JointState]:
    message.name, message.position = ["finger", *message.name], [9.0, *message.position]
    return [message]


def nan_velocity(message: JointState) -> list[JointState]:
    message.velocity = [float("nan")] * len(message.name)
    return [message]


@pytest.mark.parametrize(("row", "change"), [pytest.param(6, extra, marks=pytest.mark.slow), (7, nan_velocity)])
def test_06_07_extra_joints_and_nan_velocities_change_nothing(graph, row, change, record_property):
    """Only what an observation needs is read."""
    graph.sensors.joints = change
    time.sleep(1.2)
    check_goes_on(graph)
    record_property(f"row {row}", f"{change.__name__}: planning went on")


@pytest.mark.slow
def test_07_a_nan_position_is_refused_by_name(graph, record_property):
    """Protected by named_positions."""

    def nan_position(message: JointState) -> list[JointState]:
        message.position[2] = float("nan")
        return [message]

    graph.sensors.joints = nan_position
    record_property("row 7", f"NaN position: {check_hold(graph, time.monotonic(), 'joint positions must be finite')}")


def smaller(message: Image) -> list[Image]:
    message.height, message.data = 60, message.data[: 60 * message.step]
    return [message]


def of_depth(message: Image) -> list[Image]:
    message.encoding = "16UC1"
    return [message]


def cut_short(message: Image) -> list[Image]:
    message.data = message.data[:1000]
    return [message]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (smaller, "image size changed"),
        pytest.param(of_depth, "image encoding must be", marks=pytest.mark.slow),
        pytest.param(cut_short, "needs step >=", marks=pytest.mark.slow),
    ],
)
def test_08_an_image_of_another_size_or_encoding_is_dropped_with_its_reason(graph, change, words, record_property):
    """Protected by image_array and Synchronizer.push_image; the node lives."""
    graph.sensors.picture = only("base", change)
    record_property("row 8", f"{change.__name__}: {check_hold(graph, time.monotonic(), words)}")
    graph.sensors.work()
    check_goes_on(graph)
    assert graph.alive("policy")
