"""What messages say, as numpy: for the live nodes and for bags alike.

A message is anything with the fields of its ROS type, so neither ROS nor its classes are needed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import GuardError, ObservationError
from .observation import ActionChunk, Floats, Image

CHANNELS = {"rgb8": 3, "bgr8": 3, "rgba8": 4, "bgra8": 4, "mono8": 1}


def seconds(stamp: Any) -> float:
    """builtin_interfaces/Time or Duration -> s."""
    return float(stamp.sec + stamp.nanosec * 1e-9)


def require_image(message: Any) -> int:
    """Check a sensor_msgs/Image; returns its number of channels.

    Raises:
        ObservationError: an encoding other than 8-bit colour or grey, or data that does not fit the size.
    """
    channels = CHANNELS.get(message.encoding)
    if channels is None:
        raise ObservationError(f"image encoding must be one of {', '.join(CHANNELS)}; got '{message.encoding}'")
    width, height = message.width, message.height
    if message.step < width * channels or len(message.data) != height * message.step or not width * height:
        raise ObservationError(
            f"a {width}x{height} {message.encoding} image needs step >= {width * channels} and height*step bytes; "
            f"got step {message.step} and {len(message.data)} bytes"
        )
    return channels


def image_array(message: Any) -> Image:
    """sensor_msgs/Image -> (H, W, 3) uint8 RGB; raises as `require_image`."""
    channels = require_image(message)
    width, height = message.width, message.height
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(height, message.step)
    pixels = rows[:, : width * channels].reshape(height, width, channels)
    if channels == 1:
        return np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(pixels[..., :3] if message.encoding.startswith("rgb") else pixels[..., 2::-1])


def pose_array(message: Any) -> Floats:
    """geometry_msgs/PoseStamped -> (4, 4) pose, m.

    Raises:
        ObservationError: a value that is not finite, or a quaternion that is not of length 1.
    """
    p, q = message.pose.position, message.pose.orientation
    x, y, z, w = q.x, q.y, q.z, q.w
    length = float(np.sqrt(x * x + y * y + z * z + w * w))
    if not np.isfinite([p.x, p.y, p.z]).all() or not abs(length - 1.0) < 1e-3:
        raise ObservationError(f"a pose needs finite values and a unit quaternion, got length {length:.4f}")
    x, y, z, w = x / length, y / length, z / length, w / length
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w), p.x],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w), p.y],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y), p.z],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def message_chunk(message: Any) -> ActionChunk:
    """trajectory_msgs/JointTrajectory -> plan; `action_guard.check_chunk` checks what it says.

    Raises:
        GuardError: points with other than one position for each name.
    """
    width = len(message.joint_names)
    sizes = {len(point.positions) for point in message.points}
    if sizes != {width}:
        got = sorted(sizes) or "no point"
        raise GuardError(f"every point of a chunk needs {width} positions, one a name; got {got}")
    return ActionChunk(
        seconds(message.header.stamp),
        tuple(message.joint_names),
        np.array([point.positions for point in message.points]),
        np.array([seconds(point.time_from_start) for point in message.points]),
    )
