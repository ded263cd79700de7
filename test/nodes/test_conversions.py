"""Messages and numpy say the same."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from sensor_msgs.msg import Image
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from himoe_ros.core import messages
from himoe_ros.core.chunk_source import ChunkSource
from himoe_ros.core.errors import GuardError, ObservationError
from himoe_ros.core.kinematics import pose_matrix, rpy_to_matrix
from himoe_ros.core.observation import ActionChunk
from himoe_ros.nodes import conversions

RNG = np.random.default_rng(0)


def test_images_go_there_and_back_bit_identical():
    image = RNG.integers(0, 256, (6, 10, 3), dtype=np.uint8)
    message = conversions.image_message(image, 12.345678901, "base")
    assert (message.width, message.height, message.step, message.encoding) == (10, 6, 30, "rgb8")
    assert np.array_equal(conversions.image_array(message), image)
    assert messages.seconds(message.header.stamp) == pytest.approx(12.345678901, abs=1e-9)


@pytest.mark.parametrize(
    ("encoding", "channels", "to_rgb"),
    [
        ("bgr8", 3, lambda p: p[..., ::-1]),
        ("rgba8", 4, lambda p: p[..., :3]),
        ("bgra8", 4, lambda p: p[..., 2::-1]),
        ("mono8", 1, lambda p: np.repeat(p, 3, axis=2)),
    ],
)
def test_other_encodings_and_padded_rows_become_rgb(encoding, channels, to_rgb):
    pixels = RNG.integers(0, 256, (4, 5, channels), dtype=np.uint8)
    rows = np.zeros((4, 5 * channels + 3), np.uint8)
    rows[:, : 5 * channels] = pixels.reshape(4, -1)
    message = Image(width=5, height=4, encoding=encoding, step=rows.shape[1], data=rows.tobytes())
    assert np.array_equal(conversions.image_array(message), to_rgb(pixels))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"encoding": "16UC1"}, "encoding must be one of rgb8, bgr8.*got '16UC1'"),
        ({"step": 5}, "step 5"),
        ({"data": bytes(7)}, "7 bytes"),
        ({"width": 0}, "0x4"),
    ],
)
def test_an_image_that_does_not_fit_says_why(change, reason):
    fields = {"width": 5, "height": 4, "encoding": "rgb8", "step": 15, "data": bytes(60)}
    with pytest.raises(ObservationError, match=reason):
        conversions.image_array(Image(**{**fields, **change}))


def test_poses_go_there_and_back_in_every_orientation():
    for _ in range(500):
        pose = pose_matrix(RNG.normal(size=3), rpy_to_matrix(*RNG.uniform(-np.pi, np.pi, 3)))
        np.testing.assert_allclose(messages.pose_array(conversions.pose_message(pose, 1.0, "base")), pose, atol=1e-12)
    down = pose_matrix(np.zeros(3), rpy_to_matrix(np.pi, 0, 0))
    np.testing.assert_allclose(messages.pose_array(conversions.pose_message(down, 1.0, "base")), down, atol=1e-12)


@pytest.mark.parametrize("w", [0.0, 0.5, float("nan")])
def test_a_pose_without_a_unit_quaternion_is_refused(w):
    message = conversions.pose_message(np.eye(4), 1.0, "base")
    message.pose.orientation.w = w
    with pytest.raises(ObservationError, match="unit quaternion"):
        messages.pose_array(message)


@pytest.mark.parametrize("works", [True, False])
def test_cv_bridge_is_used_where_it_works(monkeypatch, works):
    """One that was built for another NumPy can be imported, and fails when it is used."""
    used = []

    class CvBridge:
        def imgmsg_to_cv2(self, message, encoding):
            if not works:
                raise ImportError("numpy.core.multiarray failed to import")
            used.append(encoding)
            return messages.image_array(message)

    monkeypatch.setitem(sys.modules, "cv_bridge", SimpleNamespace(CvBridge=CvBridge))
    conversions.bridge.cache_clear()
    try:
        image = RNG.integers(0, 255, (4, 5, 3), np.uint8)
        assert np.array_equal(conversions.image_array(conversions.image_message(image, 1.0, "camera")), image)
        assert used == (["bgr8", "rgb8"] if works else [])
    finally:
        conversions.bridge.cache_clear()


def test_chunks_go_there_and_back():
    chunk = ActionChunk(7.25, ("a", "b"), RNG.normal(size=(3, 2)), np.array([0.1, 0.2, 1.3]))
    back = messages.message_chunk(conversions.chunk_message(chunk))
    assert (back.stamp, back.names) == (chunk.stamp, chunk.names)
    assert np.array_equal(back.values, chunk.values)
    np.testing.assert_allclose(back.times, chunk.times, atol=1e-9)


@pytest.mark.parametrize("positions", [[], [[1.0]], [[1.0, 2.0], [1.0]]])
def test_a_chunk_with_points_of_another_size_is_refused(positions):
    message = JointTrajectory(joint_names=["a", "b"], points=[JointTrajectoryPoint(positions=p) for p in positions])
    with pytest.raises(GuardError, match="needs 2 positions"):
        messages.message_chunk(message)


@pytest.mark.parametrize("trouble", ["", "camera 'base' is 0.9 s old"])
def test_what_a_source_of_chunks_tells_arrives_as_it_was_told(trouble):
    source = ChunkSource(
        "0123abcd", "joints", "himoe from a folder", trouble, {"camera 'base'": 0.25, "eef_pose": np.inf}
    )
    assert conversions.message_source(conversions.source_message("/policy", source)) == source


def test_a_source_that_tells_nonsense_is_one_that_fits_nothing():
    message = DiagnosticStatus(values=[KeyValue(key="age_s eef_pose", value="old")])
    source = conversions.message_source(message)
    assert (source.fingerprint, source.action_space) == ("", "") and np.isnan(source.ages["eef_pose"])
