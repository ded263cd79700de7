"""What an episode holds: read from `config/recording.yaml` and the embodiment."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ..core.embodiment import Embodiment
from ..core.errors import ConfigError
from ..core.reading import count, load_yaml, mapping, number, positive, text

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
IMAGES = ("raw", "jpeg", "png", "h264")  # how they may be kept
CONTROL = "control"  # the rate of the robot's control loop


@dataclass(frozen=True)
class Stream:
    """A topic to record.

    Attributes:
        topic: relative.
        type: such as `sensor_msgs/msg/Image`.
        rate_hz: that it should have; 0 where messages come now and then.
        latched: its last message is of use to whoever comes later.
        optional: an episode without it is still whole.
        reliable: asked of its publishers; one that offers less is not heard.
    """

    topic: str
    type: str
    rate_hz: float
    latched: bool = False
    optional: bool = False
    reliable: bool = True


@dataclass(frozen=True)
class Contract:
    """See the comments in config/recording.yaml; the cameras come first in `streams`."""

    images: str
    jpeg_quality: int
    reserve_gb: float
    flush_s: float
    streams: tuple[Stream, ...]


def load_contract(path: Path, embodiment: Embodiment) -> Contract:
    """Read and check the file."""
    keys = [f.name for f in fields(Contract) if f.name != "streams"]
    d = mapping(load_yaml(path), str(path), [*keys, "camera_rate_hz", "topics"])
    if d["images"] not in IMAGES:
        raise ConfigError(f"{path}: images must be one of {list(IMAGES)}, got {d['images']!r}")
    rate = positive(d["camera_rate_hz"], f"{path}: camera_rate_hz")
    cameras = [Stream(camera.topic, IMAGE, rate) for camera in embodiment.cameras]
    topics = mapping(d["topics"], f"{path}: topics")
    return Contract(
        images=d["images"],
        jpeg_quality=min(100, count(d["jpeg_quality"], f"{path}: jpeg_quality", least=1)),
        reserve_gb=positive(d["reserve_gb"], f"{path}: reserve_gb"),
        flush_s=positive(d["flush_s"], f"{path}: flush_s"),
        streams=(
            *cameras,
            *(_stream(name, data, embodiment, f"{path}: topics.{name}") for name, data in topics.items()),
        ),
    )


def _stream(topic: str, data: Any, embodiment: Embodiment, where: str) -> Stream:
    d = mapping(data, where, ("type", "rate_hz"), ("latched", "optional", "reliable"))
    rate = embodiment.control_rate_hz if d["rate_hz"] == CONTROL else number(d["rate_hz"], f"{where}.rate_hz")
    flags = {key: d[key] for key in ("latched", "optional", "reliable") if key in d}
    if rate < 0 or not all(isinstance(flag, bool) for flag in flags.values()):
        raise ConfigError(f"{where}: expected rate_hz >= 0, and {', '.join(flags)} true or false, got {data!r}")
    return Stream(topic, text(d["type"], f"{where}.type"), rate, **flags)
