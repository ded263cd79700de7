"""The running graph: real nodes in separate processes around the simulated box."""

from __future__ import annotations

import time

import numpy as np
import pytest
from geometry_msgs.msg import PoseStamped
from graph import end, himoe, watcher
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float32MultiArray, String

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.messages import pose_array, seconds
from himoe_ros.core.unified import pose_values
from himoe_ros.nodes.managed import LATCHED
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
SPACE = XARM7.action_space("end_effector")


@pytest.fixture(scope="module")
def graph():
    process = himoe("up", "xarm7")
    with watcher() as watching:
        watching.joints = watching.collect(JointState, "joint_states")
        watching.poses = watching.collect(PoseStamped, "eef_pose")
        watching.unified = watching.collect(Float32MultiArray, "unified_state")
        watching.instruction = watching.node.create_publisher(String, "instruction", LATCHED)
        try:
            watching.wait(lambda: watching.joints and watching.unified, 40.0)
            yield watching
        finally:
            if process.poll() is None:
                end(process)


def controller(graph) -> tuple[str, dict[str, str]]:
    return graph.diagnostics["/xarm7_controller"]


def test_joint_states_come_at_100_hz_and_the_pose_fits_them(graph):
    begin = len(graph.joints)
    time.sleep(3.0)
    stamps = [seconds(m.header.stamp) for m in graph.joints[begin:]]
    assert (len(stamps) - 1) / (stamps[-1] - stamps[0]) == pytest.approx(100, rel=0.02)
    message = graph.joints[-1]
    assert tuple(message.name) == XARM7.joint_names
    pose = next(p for p in reversed(graph.poses) if p.header.stamp == graph.joints[-20].header.stamp)
    np.testing.assert_allclose(pose_array(pose), ARM.forward(np.array(graph.joints[-20].position[:7])), atol=1e-9)


def test_unified_state_is_labelled_and_masked(graph):
    message = graph.unified[-1]
    assert [(d.label, d.size) for d in message.layout.dim] == [("values,mask", 2), ("slot", 24)]
    values, mask = np.array(message.data).reshape(2, 24)
    np.testing.assert_array_equal(mask, SPACE.mask)
    np.testing.assert_array_equal(values[mask == 0], 0)
    np.testing.assert_allclose(values[:6], list(pose_values(ARM, pose_array(graph.poses[-1])).values()), atol=2e-3)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        (Image(width=4, height=4, encoding="32FC1", step=16, data=bytes(64)), "got '32FC1'"),
        (Image(width=9, height=4, encoding="rgb8", step=27, data=bytes(108)), "size changed from (224, 224) to (4, 9)"),
    ],
)
def test_an_image_of_another_size_or_encoding_is_dropped_and_the_policy_lives(graph, image, reason):
    publisher = graph.node.create_publisher(Image, "camera/base/image_raw", 5)
    image.header.stamp = graph.node.get_clock().now().to_msg()
    graph.wait(lambda: publisher.get_subscription_count() > 0, 5.0)

    def told() -> bool:
        image.header.stamp = graph.node.get_clock().now().to_msg()
        publisher.publish(image)
        time.sleep(0.2)
        return reason in graph.diagnostics["/policy"][0]

    graph.wait(told, 10.0)
    graph.node.destroy_publisher(publisher)
    received = len(graph.unified)
    graph.wait(lambda: len(graph.unified) > received, 5.0)


def test_the_policy_drives_the_robot_once_it_has_an_instruction(graph):
    assert graph.call("controller/home").success
    graph.wait(lambda: controller(graph)[1]["reason"] == "at home", 15.0)
    graph.wait(lambda: graph.call("controller/arm").success, 5.0)
    place = np.array(graph.joints[-1].position[:7])
    graph.instruction.publish(String(data="Pick up the apple and place it onto the blue plate"))
    graph.wait(lambda: np.abs(np.array(graph.joints[-1].position[:7]) - place).max() > 0.01, 10.0)
    graph.wait(lambda: controller(graph)[1]["mode"] in ("running", "holding"), 3.0)
