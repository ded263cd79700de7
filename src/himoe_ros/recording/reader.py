"""Reads bags: what one says about itself, and its messages; no ROS is needed."""

from __future__ import annotations

import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import Channel, Message, Schema
from mcap.stream_reader import CRCValidationError
from mcap_ros2.decoder import DecoderFactory
from zstandard import ZstdError

from ..core.errors import RecordingError
from .bag import METADATA

LATCHED = "transient_local"
UNREADABLE = (
    McapError,
    CRCValidationError,
    ZstdError,
    struct.error,
    ValueError,
    KeyError,
    EOFError,
    RuntimeError,
    MemoryError,
)  # of a damaged file, whatever of it is damaged


@dataclass(frozen=True)
class BagInfo:
    """What a bag says about itself.

    Attributes:
        folder: where it lies.
        files: its MCAP files, in order.
        types: topic -> type.
        counts: topic -> number of messages.
        start, duration: s.
        about: task, instruction, outcome and the like.
        latched: topics whose last message is kept for whoever comes later.
    """

    folder: Path
    files: tuple[Path, ...]
    types: Mapping[str, str]
    counts: Mapping[str, int]
    start: float
    duration: float
    about: Mapping[str, str]
    latched: frozenset[str]


@dataclass(frozen=True)
class Recorded:
    """One message.

    Attributes:
        topic: where it came from.
        received, published: s since 1970.
        sequence: of its publisher; a gap is a message that never arrived.
        message: fields as in ROS.
        size: bytes on the wire.
    """

    topic: str
    received: float
    published: float
    sequence: int
    message: Any
    size: int


def read_info(folder: Path) -> BagInfo:
    """What metadata.yaml says.

    Raises:
        RecordingError: the folder is no bag, or one whose recorder was killed.
    """
    path = folder / METADATA
    if not path.is_file():
        cut = sorted(folder.glob("*.mcap"))
        advice = f"its recorder was killed: himoe bag repair {folder}" if cut else "give the folder of a bag"
        raise RecordingError(f"{folder} has no {METADATA}; {advice}")
    try:
        data = yaml.safe_load(path.read_text())["rosbag2_bagfile_information"]
        topics = data["topics_with_message_count"]
        return BagInfo(
            folder=folder,
            files=tuple(folder / name for name in data["relative_file_paths"]),
            types={t["topic_metadata"]["name"]: t["topic_metadata"]["type"] for t in topics},
            counts={t["topic_metadata"]["name"]: t["message_count"] for t in topics},
            start=data["starting_time"]["nanoseconds_since_epoch"] * 1e-9,
            duration=data["duration"]["nanoseconds"] * 1e-9,
            about=data.get("custom_data") or {},
            latched=frozenset(t["topic_metadata"]["name"] for t in topics if _latched(t["topic_metadata"])),
        )
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise RecordingError(f"{path} must be the metadata.yaml of a rosbag2 bag: {error!r}") from error


def _latched(topic: Mapping[str, Any]) -> bool:
    """rosbag2 has written qualities of service as a list, and before that as a text of YAML."""
    return LATCHED in str(topic.get("offered_qos_profiles", ""))


def read_raw(info: BagInfo, topics: Collection[str] | None = None) -> Iterator[tuple[Schema, Channel, Message]]:
    """Serialized messages in the order in which they were received.

    Args:
        info: of the bag.
        topics: only these; all without them.

    Raises:
        RecordingError: the file is damaged; what was yielded before is whole.
    """
    chosen = None if topics is None else list(topics)
    for path in info.files:
        try:
            with path.open("rb") as file:
                yield from make_reader(file, validate_crcs=True).iter_messages(chosen)
        except (OSError, *UNREADABLE) as error:
            raise _damaged(info, path, error) from error


def read_messages(info: BagInfo, topics: Collection[str] | None = None) -> Iterator[Recorded]:
    """Messages in the order in which they were received; see `read_raw`."""
    factory, decoders = DecoderFactory(), {}
    for schema, channel, raw in read_raw(info, topics):
        if channel.id not in decoders:
            decoders[channel.id] = factory.decoder_for(channel.message_encoding, schema)
        try:
            message = decoders[channel.id](raw.data)
        except UNREADABLE as error:
            raise _damaged(info, info.folder, error) from error
        times = raw.log_time * 1e-9, raw.publish_time * 1e-9
        yield Recorded(channel.topic, *times, raw.sequence, message, len(raw.data))


def _damaged(info: BagInfo, path: Path, error: Exception) -> RecordingError:
    return RecordingError(
        f"{path} is damaged ({type(error).__name__}: {error}); himoe bag repair {info.folder} saves what can be read"
    )
