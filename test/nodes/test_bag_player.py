"""himoe bag play: messages again, at their pace, with stamps of now; what would move a robot only by name."""

from __future__ import annotations

import subprocess
import time

import pytest
from graph import HIMOE, watcher
from recording.test_frames import LASTING, record
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from himoe_ros.core.messages import image_array, seconds
from himoe_ros.nodes.managed import LATCHED, RECORD, SENSOR


@pytest.fixture(scope="module")
def bag(tmp_path_factory):
    return record(tmp_path_factory.mktemp("bag") / "episode_0000")


def play(watching, bag, *options):
    """Run it; returns messages by topic with the s at which they came."""
    got = {name: [] for name in ("joint_states", "action", "image", "instruction")}

    def keep(name):
        return lambda m: got[name].append((time.time(), m))

    node = watching.node
    subscriptions = [
        node.create_subscription(JointState, "/robot/joint_states", keep("joint_states"), RECORD),
        node.create_subscription(JointState, "/robot/action", keep("action"), RECORD),
        node.create_subscription(Image, "/robot/camera/base/image_raw", keep("image"), SENSOR),
        node.create_subscription(String, "/robot/instruction", keep("instruction"), LATCHED),
    ]
    done = subprocess.run([HIMOE, "bag", "play", bag, *options], capture_output=True, text=True, timeout=60)
    time.sleep(0.3)
    for subscription in subscriptions:
        node.destroy_subscription(subscription)
    assert done.returncode == 0, done.stderr
    return got


def test_messages_come_again_at_their_pace_as_if_they_were_of_now(bag):
    with watcher() as watching:
        got = play(watching, bag)
    assert len(got["joint_states"]) >= 95 * LASTING and not got["action"], "nothing that moves a robot"
    assert [m.data for _, m in got["instruction"]] == ["lift"]
    first, last = got["joint_states"][0][0], got["joint_states"][-1][0]
    assert last - first == pytest.approx(LASTING, abs=0.4)
    for came, message in (*got["joint_states"][5:], *got["image"]):
        assert abs(came - seconds(message.header.stamp)) < 0.5
    assert image_array(got["image"][0][1]).shape == (48, 64, 3)


def test_faster_by_name_and_with_stamps_as_recorded(bag):
    with watcher() as watching:
        got = play(watching, bag, "--rate", "4", "--topics", "action", "--keep-stamps", "true")
    assert len(got["action"]) >= 80 * LASTING and not got["joint_states"]
    assert got["action"][-1][0] - got["action"][0][0] == pytest.approx(LASTING / 4, abs=0.4)
    assert seconds(got["action"][0][1].header.stamp) == pytest.approx(1000.0, abs=0.5)


def test_a_live_graph_is_not_played_into_unless_topics_are_named(bag):
    with watcher() as watching:
        live = watching.node.create_publisher(JointState, "/robot/joint_states", RECORD)
        done = subprocess.run([HIMOE, "bag", "play", bag], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and "others publish /robot/joint_states already" in done.stderr
        watching.node.destroy_publisher(live)


def test_a_topic_that_is_not_there_lists_those_that_are(bag):
    done = subprocess.run([HIMOE, "bag", "play", bag, "--topics", "odometry"], capture_output=True, text=True)
    assert done.returncode == 2 and "none of 'odometry' is in" in done.stderr and "/robot/joint_states" in done.stderr
