"""Writes rosbag2 bags: one folder an episode, MCAP inside, metadata.yaml beside it.

Chunks are small and go to the disk again and again, so that a process that is killed loses a fraction of a second.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from mcap.writer import CompressionType, Writer

from ..core.errors import RecordingError
from .definitions import definition, type_hash

CHUNK_BYTES = 64 * 1024  # a chunk is closed once it is larger: with one 640x480 image more it stays below 1 MiB
SETTLE_BYTES = 64 * 1024 * 1024  # are brought to the disk at a time
EPISODE = "himoe"  # name of the MCAP metadata record that holds what is known of an episode
METADATA = "metadata.yaml"
VERSION = 9  # of metadata.yaml, as ROS 2 Jazzy and Kilted write it


@dataclass(frozen=True)
class Topic:
    """A topic of a bag.

    Attributes:
        name: with its namespace.
        type: such as `sensor_msgs/msg/Image`.
        qos: rosbag2's description of each publisher's quality of service.
    """

    name: str
    type: str
    qos: Sequence[Mapping[str, Any]] = ()


class BagWriter:
    """One bag. Not thread-safe."""

    def __init__(self, folder: Path, about: Mapping[str, str], distro: str) -> None:
        """
        Args:
            folder: made here; must not exist.
            about: what is known of the episode when it begins; survives a kill.
            distro: name of the ROS distribution.

        Raises:
            RecordingError: the folder exists, or cannot be made.
        """
        try:
            folder.mkdir(parents=True)
            self._file = (folder / f"{folder.name}_0.mcap").open("xb", buffering=0)
        except OSError as error:
            raise RecordingError(
                f"expected to make a new bag {folder}, {error}; nothing is ever overwritten: choose another place"
            ) from error
        self.folder = folder
        self._about = dict(about)
        self._distro = distro
        self._out = io.BufferedWriter(self._file, 64 * 1024)
        self._writer = Writer(self._out, chunk_size=CHUNK_BYTES, compression=CompressionType.NONE)
        self._writer.start(profile="ros2", library="himoe_ros")
        self._writer.add_metadata(EPISODE, self._about)
        self._schemas: dict[str, int] = {}
        self._topics: dict[int, Topic] = {}
        self._counts: dict[int, int] = {}
        self._first, self._last = 0, 0  # ns
        self._settled = 0  # bytes that are on the disk
        self.flush()

    @property
    def counts(self) -> dict[str, int]:
        """Topic -> messages written."""
        return {topic.name: self._counts[channel] for channel, topic in self._topics.items()}

    def add_topic(self, topic: Topic) -> int:
        """Returns the channel to write its messages on."""
        if topic.type not in self._schemas:
            text = definition(topic.type).encode()
            self._schemas[topic.type] = self._writer.register_schema(topic.type, "ros2msg", text)
        about = {"offered_qos_profiles": _qos_text(topic.qos), "topic_type_hash": type_hash(topic.type)}
        channel = self._writer.register_channel(topic.name, "cdr", self._schemas[topic.type], about)
        self._topics[channel], self._counts[channel] = topic, 0
        return channel

    def write(self, channel: int, data: bytes, received: int, published: int, sequence: int = 0) -> None:
        """Append a serialized message as it came.

        Args:
            channel: from `add_topic`.
            data: CDR.
            received, published: ns since 1970.
            sequence: of its publisher.

        Raises:
            RecordingError: the disk does not take it.
        """
        try:
            self._writer.add_message(channel, received, data, published, sequence)
        except OSError as error:
            raise RecordingError(f"{self.folder} cannot be written: {error}") from error
        self._counts[channel] += 1
        self._first = min(self._first or received, received)
        self._last = max(self._last, received)

    def flush(self) -> None:
        """Hand everything to the system: from here on it survives this process, and what is older also the machine.

        Pages that are on the disk are let go: a recording of gigabytes leaves others' memory alone.
        """
        try:
            self._writer.flush()
            end = self._file.tell()
            if end - self._settled > SETTLE_BYTES:
                os.fdatasync(self._file.fileno())
                os.posix_fadvise(self._file.fileno(), self._settled, end - self._settled, os.POSIX_FADV_DONTNEED)
                self._settled = end
        except OSError as error:
            raise RecordingError(f"{self.folder} cannot be written: {error}") from error

    def close(self, outcome: Mapping[str, str]) -> None:
        """Finish the file, and write metadata.yaml: only a bag with one is complete.

        Args:
            outcome: what is known of the episode now that it has ended.
        """
        self._about |= outcome
        information = self._information()
        try:
            self._writer.add_metadata("rosbag2", {"serialized_metadata": _dump(information)})
            self._writer.finish()
            self._out.flush()
            os.fsync(self._file.fileno())
            self._out.close()
            write_whole(self.folder / METADATA, _dump({"rosbag2_bagfile_information": information}))
        except OSError as error:
            raise RecordingError(f"{self.folder} cannot be finished: {error}") from error

    def _information(self) -> dict[str, Any]:
        count = sum(self._counts.values())
        start, duration = {"nanoseconds_since_epoch": self._first}, {"nanoseconds": self._last - self._first}
        name = f"{self.folder.name}_0.mcap"
        return {
            "version": VERSION,
            "storage_identifier": "mcap",
            "duration": duration,
            "starting_time": start,
            "message_count": count,
            "topics_with_message_count": [
                {
                    "topic_metadata": {
                        "name": topic.name,
                        "type": topic.type,
                        "serialization_format": "cdr",
                        "offered_qos_profiles": [dict(profile) for profile in topic.qos],
                        "type_description_hash": type_hash(topic.type),
                    },
                    "message_count": self._counts[channel],
                }
                for channel, topic in self._topics.items()
            ],
            "compression_format": "",
            "compression_mode": "",
            "relative_file_paths": [name],
            "files": [{"path": name, "starting_time": start, "duration": duration, "message_count": count}],
            "custom_data": self._about,
            "ros_distro": self._distro,
        }


def write_whole(path: Path, text: str) -> None:
    """Write a file so that it is there whole, or not at all."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


class _Plain(yaml.SafeDumper):
    """Without anchors, which rosbag2's reader does not expect."""

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _dump(data: Any) -> str:
    return yaml.dump(data, Dumper=_Plain, sort_keys=False)


def _qos_text(qos: Sequence[Mapping[str, Any]]) -> str:
    return _dump([dict(profile) for profile in qos]).strip()
