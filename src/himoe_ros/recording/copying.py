"""Copies messages of bags into a new one, serialized as they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import yaml
from mcap.records import Channel, Message

from .bag import BagWriter, Topic


class BagCopy:
    """A new bag whose topics are made as their first channel is seen."""

    def __init__(self, out: Path, about: Mapping[str, str]) -> None:
        self._writer = BagWriter(out, about, about.get("ros_distro", "unknown"))
        self._channels: dict[int, int] = {}
        self.messages = 0

    def add_channel(self, channel: Channel, kind: str) -> None:
        """A channel of the source, whose messages are of this type."""
        if channel.id not in self._channels:
            qos = yaml.safe_load(channel.metadata.get("offered_qos_profiles", "[]")) or []
            self._channels[channel.id] = self._writer.add_topic(Topic(channel.topic, kind, qos))

    def put(self, message: Message, received: int | None = None) -> None:
        """A message of a channel that was added; `received` in ns where it shall differ."""
        at = message.log_time if received is None else received
        self._writer.write(self._channels[message.channel_id], message.data, at, message.publish_time, message.sequence)
        self.messages += 1

    def close(self, outcome: Mapping[str, str]) -> None:
        """Finish the bag."""
        self._writer.close(outcome)
