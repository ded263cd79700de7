"""`himoe check` beside the running graph: what it finds there, and that it moves nothing."""

from __future__ import annotations

import json

import pytest
from fault_graph import XARM7, fault_graph
from graph import himoe
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory

from himoe_ros.nodes.managed import COMMAND, SENSOR


@pytest.fixture
def graph(tmp_path):
    with fault_graph(tmp_path) as graph:
        yield graph


def check(graph, out) -> tuple[int, dict[str, dict]]:
    process = himoe("check", "xarm7", "--robot-ip", graph.address, "--json", str(out))
    output, _ = process.communicate(timeout=60)
    assert "Traceback" not in output, output
    return process.returncode, {f["check"]: f for f in json.loads(out.read_text())}


def test_it_tells_nodes_publishers_and_cameras_and_moves_nothing(graph, tmp_path):
    base, wrist = (c.topic for c in XARM7.cameras)
    camera = graph.watching.node.create_publisher(Image, base, SENSOR)
    image = Image(width=320, height=240, encoding="rgb8", step=960, data=bytes(960 * 240))

    def show() -> None:
        image.header.stamp = graph.watching.node.get_clock().now().to_msg()
        camera.publish(image)

    timer = graph.watching.node.create_timer(0.1, show)
    graph.sentinel()
    before = len(graph.log.entries)
    code, found = check(graph, tmp_path / "found.json")
    assert code == 0, found
    assert "/controller" in found["ROS graph"]["found"] and "/sim_robot" in found["ROS graph"]["found"]
    assert found["action_chunk"]["found"].startswith("1 publisher")
    assert found[base]["level"] == "ok" and "320x240 px" in found[base]["found"], found[base]
    assert found[wrist]["level"] == "warning" and "no image" in found[wrist]["found"]
    graph.watching.node.destroy_timer(timer)
    graph.watching.node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
    code, found = check(graph, tmp_path / "found.json")
    assert code == 1
    assert found["action_chunk"]["level"] == "unsafe" and "2 publishers" in found["action_chunk"]["found"]
    graph.sentinel()
    came = [e.words for e in graph.log.entries[before:]]
    assert len(came) == 1 and came[0].startswith("SET_TEACH_SENSITIVITY"), "only the sentinel"


def test_a_warning_of_the_controller_reaches_the_diagnostics(graph):
    since = graph.fault("warning 14")
    graph.told("controller warning 14", since, 1.5)
    assert graph.arm().success
