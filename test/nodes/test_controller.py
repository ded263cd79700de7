"""The controller node around the simulated box, with the test as its source of chunks."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus
from geometry_msgs.msg import PoseStamped
from graph import end, himoe_without, watcher
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory

from himoe_ros.core.chunk_source import ChunkSource
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.fingerprint import fingerprint
from himoe_ros.core.messages import pose_array
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.unified import pose_values
from himoe_ros.nodes.conversions import chunk_message, source_message
from himoe_ros.nodes.managed import COMMAND, LATCHED
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
SPACE = XARM7.action_space("end_effector")
GOOD = ChunkSource(fingerprint(XARM7), "end_effector", "the test", "", {"camera base": 0.01})
DT = 0.01


class Source:
    """A stand-in for the policy node: says who it is, and publishes what a test plans."""

    def __init__(self, watching) -> None:
        self.told = GOOD
        self._watching = watching
        self._tells = watching.node.create_publisher(DiagnosticStatus, "chunk_source", LATCHED)
        self.appear()
        watching.node.create_timer(0.3, self._tell)

    def appear(self) -> None:
        self._chunks = self._watching.node.create_publisher(JointTrajectory, "action_chunk", COMMAND)

    def vanish(self) -> None:
        self._watching.node.destroy_publisher(self._chunks)

    def send(self, step, names=SPACE.names, steps: int = 8) -> None:
        """A plan from where the robot is now, `step` (7,) every tenth of a second."""
        here = pose_values(ARM, pose_array(self._watching.poses[-1]))
        start = np.array([*here.values(), 1.0])
        values = start + np.arange(1, steps + 1)[:, None] * np.asarray(step)
        now = self._watching.node.get_clock().now().nanoseconds * 1e-9
        chunk = ActionChunk(now, tuple(names), values, np.arange(1, steps + 1) * 0.1)
        self._chunks.publish(chunk_message(chunk))

    def _tell(self) -> None:
        self._tells.publish(source_message("/test", self.told))


@pytest.fixture(scope="module")
def graph():
    process = himoe_without("policy", "sim_cameras", park=True)
    with watcher() as watching:
        watching.poses = watching.collect(PoseStamped, "eef_pose")
        watching.joints = watching.collect(JointState, "joint_states")
        watching.commands = watching.collect(JointState, "sim/commands")
        watching.states = []
        watching.node.create_subscription(DiagnosticStatus, "controller/state", watching.states.append, LATCHED)
        watching.source = Source(watching)
        watching.set = watching.node.create_client(SetParameters, "xarm7_controller/set_parameters")
        watching.process = process
        try:
            watching.wait(
                lambda: watching.joints and watching.states and "/xarm7_controller" in watching.diagnostics, 40.0
            )
            watching.wait(lambda: watching.call("controller/arm").success, 10.0)
            yield watching
        finally:
            if process.poll() is None:
                end(process, within=20.0)


def controller(graph) -> tuple[str, dict[str, str]]:
    return graph.diagnostics["/xarm7_controller"]


def state(graph) -> tuple[str, str]:
    message = graph.states[-1]
    return next(v.value for v in message.values if v.key == "mode"), message.message


def armed(graph) -> None:
    graph.source.told = GOOD
    graph.wait(lambda: graph.call("controller/arm").success, 10.0)


def disarmed(graph) -> None:
    assert graph.call("controller/disarm").success
    graph.wait(lambda: state(graph)[0] == "disarmed", 3.0)


def assert_limits_kept(commands: list[JointState]) -> None:
    sent = np.array([m.position for m in commands])
    assert np.isfinite(sent).all()
    assert (sent >= ARM.bounds.lower).all() and (sent <= ARM.bounds.upper).all()
    assert np.abs(np.diff(sent, axis=0)).max() <= ARM.max_velocity * DT + 1e-4


def test_nothing_reaches_the_box_before_arming(graph):
    disarmed(graph)
    sent = len(graph.commands)
    graph.source.send([0.01, 0, 0, 0, 0, 0, 0])
    graph.wait(lambda: "call controller/arm" in controller(graph)[0], 3.0)
    assert len(graph.commands) == sent


def test_an_armed_robot_carries_a_plan_out_within_its_limits(graph):
    armed(graph)
    start = pose_array(graph.poses[-1])[:3, 3]
    begin = len(graph.commands)
    graph.source.send([0, 0.01, -0.005, 0, 0, 0, 0])
    time.sleep(1.3)
    moved = pose_array(graph.poses[-1])[:3, 3] - start
    np.testing.assert_allclose(moved, [0, 0.08, -0.04], atol=4e-3)
    assert_limits_kept(graph.commands[begin:])


@pytest.mark.parametrize(
    ("step", "names", "reason"),
    [
        ([np.nan, 0, 0, 0, 0, 0, 0], SPACE.names, "must be finite"),
        ([0, 0, 0, 0, 0, 0, 0], (*SPACE.names[:-1], "elbow"), "names must be exactly"),
        ([0.5, 0, 0, 0, 0, 0, 0], SPACE.names, "too far from the robot"),
    ],
)
def test_a_bad_chunk_is_refused_by_name_and_the_robot_holds(graph, step, names, reason):
    armed(graph)
    place = np.array(graph.joints[-1].position[:7])
    graph.source.send(step, names)
    graph.wait(lambda: reason in controller(graph)[0], 3.0)
    np.testing.assert_allclose(graph.joints[-1].position[:7], place, atol=2e-3)


def test_after_a_stop_nothing_is_sent_until_armed_again(graph):
    armed(graph)
    graph.source.send([0, 0, 0.01, 0, 0, 0, 0])
    time.sleep(0.3)
    assert graph.call("controller/stop").success
    time.sleep(0.1)
    sent = len(graph.commands)
    graph.source.send([0, 0, 0.01, 0, 0, 0, 0])
    graph.wait(lambda: "stopped by an operator" in controller(graph)[0], 3.0)
    assert len(graph.commands) == sent
    armed(graph)


@pytest.mark.parametrize(
    ("source", "told"),
    [
        (replace(GOOD, fingerprint="0123"), "made for an embodiment with fingerprint 0123"),
        (
            replace(GOOD, action_space="joints"),
            "plans in action space 'joints', the controller executes 'end_effector'",
        ),
        (replace(GOOD, trouble="camera 'base' is 0.9 s old"), "not ready: camera 'base' is 0.9 s old"),
    ],
)
def test_a_source_that_does_not_fit_cannot_arm_the_robot(graph, source, told):
    disarmed(graph)
    graph.source.told = source
    time.sleep(0.7)  # it tells so
    refused = graph.call("controller/arm")
    assert not refused.success and told in refused.message
    sent = len(graph.commands)
    time.sleep(0.3)
    assert len(graph.commands) == sent and state(graph)[0] == "disarmed"


def test_a_second_publisher_disarms_within_a_second_and_softly(graph):
    armed(graph)
    begin = len(graph.commands)
    graph.source.send([0, 0.01, 0, 0, 0, 0, 0], steps=20)
    time.sleep(0.4)
    second = graph.node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
    graph.wait(lambda: state(graph)[0] == "disarmed", 1.0)
    assert "a second publisher of action_chunk appeared" in state(graph)[1]
    assert_limits_kept(graph.commands[begin:])
    refused = graph.call("controller/arm")
    assert not refused.success and "there are 2" in refused.message
    graph.node.destroy_publisher(second)
    armed(graph)


def test_a_source_that_vanishes_disarms_and_its_return_moves_nothing(graph):
    armed(graph)
    graph.source.vanish()
    graph.wait(lambda: state(graph) == ("disarmed", "the policy is gone"), 1.0)
    graph.source.appear()
    time.sleep(0.5)
    sent = len(graph.commands)
    graph.source.send([0, 0.01, 0, 0, 0, 0, 0])
    graph.wait(lambda: "call controller/arm" in controller(graph)[0], 3.0)
    assert len(graph.commands) == sent
    armed(graph)


def set_parameter(graph, name: str, value):
    request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
    assert graph.set.wait_for_service(5.0)
    future = graph.set.call_async(request)
    graph.wait(future.done, 5.0)
    return future.result().results[0]


def test_the_speed_may_be_scaled_while_disarmed_only_and_nothing_else_changed(graph):
    armed(graph)
    refused = set_parameter(graph, "speed_scale", 0.5)
    assert not refused.successful and "only while disarmed" in refused.reason
    disarmed(graph)
    for bad in (0.0, -1.0, 1.5, float("nan")):
        refused = set_parameter(graph, "speed_scale", bad)
        assert not refused.successful and "speed_scale must be" in refused.reason
    for name, value in (("robot_ip", "10.0.0.1"), ("use_sim_time", True), ("action_space", "joints")):
        refused = set_parameter(graph, name, value)
        assert not refused.successful and "read when the node starts" in refused.reason
    assert set_parameter(graph, "speed_scale", 0.5).successful
    begin = len(graph.commands)
    assert graph.call("controller/home").success
    graph.wait(lambda: state(graph) == ("disarmed", "at home"), 20.0)
    sent = np.array([m.position for m in graph.commands[begin:]])
    assert np.abs(np.diff(sent, axis=0)).max() <= 0.5 * 0.6 * DT + 1e-4
    assert set_parameter(graph, "speed_scale", 1.0).successful


def test_the_state_tells_the_age_of_everything_it_depends_on(graph):
    ages = {v.key: float(v.value) for v in graph.states[-1].values if v.key.startswith("age_s ")}
    assert set(ages) == {"age_s robot", "age_s chunk", "age_s chunk source", "age_s camera base"}
    assert ages["age_s robot"] < 0.5 and ages["age_s chunk source"] < 1.5


def test_leaving_in_motion_parks_first_and_breaks_no_limit(graph):
    armed(graph)
    begin = len(graph.commands)
    graph.source.send([0, 0.01, 0, 0, 0, 0, 0], steps=20)
    time.sleep(0.5)
    end(graph.process, within=20.0)
    assert_limits_kept(graph.commands[begin:])
    np.testing.assert_allclose(graph.commands[-1].position, ARM.park, atol=1e-3)
