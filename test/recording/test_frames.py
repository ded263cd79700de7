"""From bags to what a policy learns: the live policy's own observations, and the commands that followed."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import RecordingError
from himoe_ros.core.observation import RobotState
from himoe_ros.core.safety import load_safety
from himoe_ros.core.unified import encode_state
from himoe_ros.nodes.conversions import image_message, joint_message, pose_message
from himoe_ros.nodes.shrinking import ImageShrinker
from himoe_ros.recording.bag import BagWriter, Topic
from himoe_ros.recording.contract import load_contract
from himoe_ros.recording.frames import read_frames, unified
from himoe_ros.recording.reader import read_info
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
LIMITS = load_safety(config("safety.yaml")).sensors
CONTRACT = load_contract(config("recording.yaml"), XARM7)
BEGIN, LASTING, RATE = 1000.0, 2.0, 10.0  # s, s, Hz


def joints_at(t: float) -> np.ndarray:
    """(8,) rad, measured."""
    return np.append(ARM.bounds.rest + 0.1 * np.sin(t), 0.4)


def picture_at(k: int) -> np.ndarray:
    return np.random.default_rng(k).integers(0, 256, (48, 64, 3), dtype=np.uint8)


def record(folder: Path, images: str = "raw", blind: tuple[float, float] = (0.0, 0.0), **about: str) -> Path:
    """Cameras at 20 Hz, 10 ms late; states and commands at 100 Hz, commands 50 ms ahead of the states."""
    bag = BagWriter(folder, {"embodiment": "xarm7", "task": "lift", "config": "1"} | about, "kilted")
    kinds = {"joint_states": "sensor_msgs/msg/JointState", "action": "sensor_msgs/msg/JointState"}
    kinds |= {"eef_pose": "geometry_msgs/msg/PoseStamped", "instruction": "std_msgs/msg/String"}
    latched = [{"durability": "transient_local"}]
    qos = {"instruction": latched}
    channels = {name: bag.add_topic(Topic(f"/robot/{name}", kind, qos.get(name, ()))) for name, kind in kinds.items()}
    shrink = ImageShrinker(images, CONTRACT)
    for c in XARM7.cameras:
        channels[c.name] = bag.add_topic(Topic(*shrink.topic(f"/robot/{c.topic}", "sensor_msgs/msg/Image")))

    def put(name: str, message: bytes, received: float) -> None:
        bag.write(channels[name], message, round(received * 1e9), round(received * 1e9))

    put("instruction", serialize_message(String(data="lift")), BEGIN)
    for k in range(round(LASTING * 100)):
        t = BEGIN + k / 100
        put("joint_states", serialize_message(joint_message(XARM7.joint_names, joints_at(t), t)), t + 0.001)
        pose = ARM.forward(joints_at(t)[:7])
        put("eef_pose", serialize_message(pose_message(pose, t, "base")), t + 0.001)
        put("action", serialize_message(joint_message(XARM7.joint_names, joints_at(t + 0.05), t)), t + 0.001)
        if k % 5 == 0 and not blind[0] < t - BEGIN < blind[1]:
            for c in XARM7.cameras:
                image = serialize_message(image_message(picture_at(k), t, c.name))
                put(c.name, shrink(c.topic, image), t + 0.01)
    bag.close({"complete": about.get("complete", "yes")})
    return folder


def test_a_bag_of_another_gripper_convention_tells_the_same_openings(tmp_path):
    """Closed at 0.85 rad here; the bag's stack told the same gripper from 0.1 (closed) to 1.7 (open)."""
    own = list(read_frames(read_info(record(tmp_path / "own")), XARM7, LIMITS, RATE))
    told = json.dumps({ARM.gripper.joint: (0.1, 1.7)})
    other = list(read_frames(read_info(record(tmp_path / "other", grippers=told)), XARM7, LIMITS, RATE))
    assert own[3].state[6] == pytest.approx(1 - 0.4 / 0.85)
    assert other[3].state[6] == other[3].action[6] == pytest.approx((0.4 - 0.1) / 1.6)
    assert other[3].state[:6] == pytest.approx(own[3].state[:6])
    with pytest.raises(RecordingError, match="tells its grippers as 'tight'"):
        list(read_frames(read_info(record(tmp_path / "odd", grippers="tight")), XARM7, LIMITS, RATE))


def test_frames_are_live_observations_with_the_command_one_period_later(tmp_path):
    frames = list(read_frames(read_info(record(tmp_path / "bag")), XARM7, LIMITS, RATE))
    assert len(frames) == pytest.approx(LASTING * RATE, abs=2)
    stamps = [f.observation.stamp for f in frames]
    assert np.diff(stamps) == pytest.approx(1 / RATE, abs=1e-6)
    for index, frame in enumerate(frames):
        t, seen = frame.observation.stamp, frame.observation
        assert frame.index == index and seen.instruction == "lift"
        for image in seen.images.values():
            assert np.array_equal(image, picture_at(round((t - BEGIN) * 100)))
        joints, pose = joints_at(t), ARM.forward(joints_at(t)[:7])
        state = RobotState(dict(zip(XARM7.joint_names, joints, strict=True)), pose)
        for space in XARM7.action_spaces.values():
            wanted = encode_state(XARM7, space, state)[space.slots]
            assert frame.state[space.slots] == pytest.approx(wanted, abs=1e-6)
        ahead = joints_at(t + 1 / RATE + 0.05)
        target = RobotState(dict(zip(XARM7.joint_names, ahead, strict=True)), ARM.forward(ahead[:7]))
        assert frame.action == pytest.approx(unified(XARM7, target), abs=1e-6)


@pytest.mark.parametrize(("images", "lost"), [("png", 0), ("jpeg", 66), ("h264", 80)])
def test_compressed_images_are_seen_too(tmp_path, images, lost):
    frames = list(read_frames(read_info(record(tmp_path / "bag", images)), XARM7, LIMITS, RATE))
    assert len(frames) == pytest.approx(LASTING * RATE, abs=2)
    for frame in frames:
        seen = frame.observation
        error = seen.images["base"].astype(float) - picture_at(round((seen.stamp - BEGIN) * 100))
        assert np.sqrt((error**2).mean()) <= lost, "noise is what codecs are worst at"
        assert abs(error.mean((0, 1))).max() < 5, "red is red"


def test_a_frozen_camera_is_found_before_a_codec_hides_it():
    shrink = ImageShrinker("h264", CONTRACT)
    topics = [c.topic for c in XARM7.cameras]
    for k in range(12):
        for n, topic in enumerate(topics):
            shrink(topic, serialize_message(image_message(picture_at(0 if n == 0 else k), BEGIN + k, "camera")))
    assert shrink.remarks() == {f"frozen {topics[0]}": "12"}
    shrink.begin()
    assert shrink.remarks() == {}


def test_a_blind_moment_in_the_middle_is_named_and_nothing_is_made_up(tmp_path):
    info = read_info(record(tmp_path / "bag", blind=(0.8, 1.3)))
    with pytest.raises(RecordingError, match=r"1\.\d\d s into the episode there is no observation: camera 'base' is"):
        list(read_frames(info, XARM7, LIMITS, RATE))


def test_a_rate_above_the_cameras_is_refused(tmp_path):
    info = read_info(record(tmp_path / "bag"))
    with pytest.raises(
        RecordingError, match=r"frames show an image for a second time: expected a camera of at least 40"
    ):
        list(read_frames(info, XARM7, LIMITS, 40.0))
