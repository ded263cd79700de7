"""numpy -> messages, and back where a node reads them (core/messages.py): the only place that knows ROS' classes."""

from __future__ import annotations

import array
import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import DiagnosticStatus, KeyValue
from geometry_msgs.msg import PoseStamped
from rclpy.duration import Duration as RosDuration
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image as ImageMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import Float32MultiArray, MultiArrayDimension
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from ..core import messages
from ..core.chunk_source import ChunkSource
from ..core.embodiment import SLOTS
from ..core.errors import ConfigError
from ..core.observation import ActionChunk, Floats, Image


def message_class(name: str) -> type:
    """`sensor_msgs/msg/Image` -> its class; ConfigError where it is not installed."""
    package, _, own = name.partition("/msg/")
    try:
        return getattr(importlib.import_module(f"{package}.msg"), own)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"message type '{name}' is not installed: {error}") from error


def stamp(time: float) -> Time:
    """s -> header stamp."""
    nanoseconds = round(time * 1e9)
    return Time(sec=nanoseconds // 1_000_000_000, nanosec=nanoseconds % 1_000_000_000)


@cache
def bridge() -> Any:
    """cv_bridge's converter; None where there is none, or one of another NumPy, as ROS 2 Humble's of NumPy 1."""
    try:
        from cv_bridge import CvBridge  # noqa: PLC0415 - on ROS installations; there is no working wheel of it

        found = CvBridge()
        found.imgmsg_to_cv2(image_message(np.zeros((1, 1, 3), np.uint8), 0.0, ""), "bgr8")
    except (ImportError, AttributeError, RuntimeError, SystemError):
        return None
    return found


def image_array(message: ImageMessage) -> Image:
    """See core.messages.image_array; through cv_bridge where ROS has it."""
    if bridge() is None:
        return messages.image_array(message)
    messages.require_image(message)
    return np.asarray(bridge().imgmsg_to_cv2(message, "rgb8"), dtype=np.uint8)


def image_message(image: Image, time: float, frame: str) -> ImageMessage:
    """(H, W, 3) uint8 RGB -> an rgb8 message."""
    height, width = image.shape[:2]
    message = ImageMessage(height=height, width=width, encoding="rgb8", step=3 * width)
    message.header.stamp = stamp(time)
    message.header.frame_id = frame
    # Assigning an array.array is 1000 times faster than a numpy array, which is checked value by value.
    message.data = array.array("B", image.tobytes())
    return message


def joint_message(names: tuple[str, ...], positions: Floats, time: float) -> JointState:
    """Positions in rad or m -> JointState."""
    message = JointState(name=list(names), position=positions.tolist())
    message.header.stamp = stamp(time)
    return message


def pose_message(pose: Floats, time: float, frame: str) -> PoseStamped:
    """(4, 4) pose, m -> PoseStamped."""
    message = PoseStamped()
    message.header.stamp = stamp(time)
    message.header.frame_id = frame
    p, q = message.pose.position, message.pose.orientation
    p.x, p.y, p.z = pose[:3, 3].tolist()
    q.x, q.y, q.z, q.w = _quaternion(pose[:3, :3])
    return message


def chunk_message(chunk: ActionChunk) -> JointTrajectory:
    """A plan -> JointTrajectory; the header carries the stamp of its observation."""
    message = JointTrajectory(joint_names=list(chunk.names))
    message.header.stamp = stamp(chunk.stamp)
    for row, time in zip(chunk.values, chunk.times, strict=True):
        t = stamp(float(time))
        point = JointTrajectoryPoint(positions=row.tolist())
        point.time_from_start = Duration(sec=t.sec, nanosec=t.nanosec)
        message.points.append(point)
    return message


def unified_message(values: Floats, mask: Floats) -> Float32MultiArray:
    """24 values and 24 mask bits -> one labelled (2, 24) array."""
    message = Float32MultiArray(data=[*values.tolist(), *mask.tolist()])
    message.layout.dim = [
        MultiArrayDimension(label="values,mask", size=2, stride=2 * SLOTS),
        MultiArrayDimension(label="slot", size=SLOTS, stride=SLOTS),
    ]
    return message


def status_message(name: str, problem: str, values: dict[str, object]) -> DiagnosticStatus:
    """One diagnostic: OK without a problem, else ERROR with it."""
    return DiagnosticStatus(
        level=DiagnosticStatus.ERROR if problem else DiagnosticStatus.OK,
        name=name,
        message=problem or "ok",
        values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
    )


def timing_message(name: str, plan: float, parts: Mapping[str, float]) -> DiagnosticStatus:
    """Parts of the time of the plan from an observation's stamp, both in s; parts are told in ms, in their order."""
    message = status_message(name, "", {part: f"{1e3 * s:.3f}" for part, s in parts.items()})
    message.message = f"{plan:.6f}"
    return message


def message_timing(message: DiagnosticStatus) -> tuple[float, dict[str, float]]:
    """The inverse of `timing_message`."""
    return float(message.message), {v.key: 1e-3 * float(v.value) for v in message.values}


def source_message(name: str, source: ChunkSource) -> DiagnosticStatus:
    """What a source of chunks tells about itself; its hardware is the embodiment it was made for."""
    ages = {f"age_s {stream}": f"{age:.3f}" for stream, age in source.ages.items()}
    message = status_message(
        name, source.trouble, {"action_space": source.action_space, "policy": source.policy, **ages}
    )
    message.hardware_id = source.fingerprint
    return message


def message_source(message: DiagnosticStatus) -> ChunkSource:
    """The inverse of `source_message`."""
    values = {v.key: v.value for v in message.values}
    trouble = "" if message.level == DiagnosticStatus.OK else message.message or "it does not say why"
    ages = {key[6:]: _age(value) for key, value in values.items() if key.startswith("age_s ")}
    return ChunkSource(message.hardware_id, values.get("action_space", ""), values.get("policy", ""), trouble, ages)


def _age(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _quaternion(r: Floats) -> tuple[float, float, float, float]:
    """(3, 3) rotation -> x, y, z, w, by the largest of the four, which is never near zero."""
    m = r.tolist()
    squares = [
        1 + m[0][0] - m[1][1] - m[2][2],
        1 - m[0][0] + m[1][1] - m[2][2],
        1 - m[0][0] - m[1][1] + m[2][2],
        1 + m[0][0] + m[1][1] + m[2][2],
    ]
    rows = [
        [squares[0], m[0][1] + m[1][0], m[0][2] + m[2][0], m[2][1] - m[1][2]],
        [m[0][1] + m[1][0], squares[1], m[1][2] + m[2][1], m[0][2] - m[2][0]],
        [m[0][2] + m[2][0], m[1][2] + m[2][1], squares[2], m[1][0] - m[0][1]],
        [m[2][1] - m[1][2], m[0][2] - m[2][0], m[1][0] - m[0][1], squares[3]],
    ]
    best = max(range(4), key=squares.__getitem__)
    x, y, z, w = (value / (2 * squares[best] ** 0.5) for value in rows[best])
    return x, y, z, w


def qos_entry(qos: QoSProfile) -> dict[str, object]:
    """A publisher's quality of service as rosbag2 writes it."""

    def span(duration: RosDuration) -> dict[str, int]:
        whole, rest = divmod(duration.nanoseconds, 1_000_000_000)
        return {"sec": whole, "nsec": rest}

    return {
        "history": qos.history.short_key,
        "depth": qos.depth,
        "reliability": qos.reliability.short_key,
        "durability": qos.durability.short_key,
        "deadline": span(qos.deadline),
        "lifespan": span(qos.lifespan),
        "liveliness": qos.liveliness.short_key,
        "liveliness_lease_duration": span(qos.liveliness_lease_duration),
        "avoid_ros_namespace_conventions": qos.avoid_ros_namespace_conventions,
    }
