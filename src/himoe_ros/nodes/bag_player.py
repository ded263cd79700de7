"""Plays a bag: its messages again, serialized as they are, at the pace at which they came."""

from __future__ import annotations

import re
import struct
import time
from pathlib import Path

from rclpy.publisher import Publisher

from ..core.errors import ConfigError
from ..recording.contract import COMPRESSED, IMAGE
from ..recording.reader import BagInfo, read_info, read_raw
from .conversions import message_class
from .managed import LATCHED, RECORD, SENSOR, ManagedNode, run

MOVES = ("action_chunk", "action")  # a controller would follow these: only where they are asked for by name
HEADER_FIRST = re.compile(r"\A(\s*#.*\n|\s*\n)*\s*std_msgs/Header\s")
LISTENERS_WITHIN_S, MOMENT_S = 5.0, 0.5
STAMP = slice(4, 12)  # of a serialized message whose first field is a header


class BagPlayer(ManagedNode):
    """One thread publishes; the process ends with the bag."""

    def __init__(self) -> None:
        super().__init__("bag_player")
        self._worker = self.worker("bag")
        self._bag = self.require("bag", "the folder of a bag")
        self._rate = self.parameter("rate", 1.0)
        self._topics = self.parameter("topics", "")
        self._keep_stamps = self.parameter("keep_stamps", False)
        self._players: dict[str, Publisher] = {}
        self._count = 0

    def setup(self) -> None:
        if not self._rate > 0:
            raise ConfigError(f"parameter 'rate' must be > 0, got {self._rate}")
        self._info = read_info(Path(self._bag))
        chosen = _chosen(self._info, self._topics)
        for topic in chosen:
            kind = self._info.types[topic]
            qos = LATCHED if topic in self._info.latched else SENSOR if kind in (IMAGE, COMPRESSED) else RECORD
            self._players[topic] = self.create_publisher(message_class(kind), topic, qos)

    def begin(self) -> None:
        self._worker.start(self._play)

    def end(self) -> None:
        self._worker.stop()

    def teardown(self) -> None:
        while self._players:
            self.destroy_publisher(self._players.popitem()[1])

    def status(self) -> dict[str, object]:
        return {"bag": self._bag, "messages": self._count}

    def _play(self) -> None:
        self._await_listeners()
        if not self._topics and (taken := self._taken()):
            self.get_logger().fatal(
                f"others publish {', '.join(taken)} already: a robot would see recorded and real states mixed. "
                "End them, or name the topics to play"
            )
            self.exit_code = 2
            return
        begin, first = time.monotonic(), self._info.start
        shift = 0 if self._keep_stamps else self.get_clock().now().nanoseconds - round(first * 1e9)
        for schema, channel, message in read_raw(self._info, list(self._players)):
            due = begin + (message.log_time * 1e-9 - first) / self._rate
            while (left := due - time.monotonic()) > 0 and self._worker.running:
                time.sleep(min(left, 0.1))
            if not self._worker.running:
                return
            stamped = HEADER_FIRST.match(schema.data.decode()) and not self._keep_stamps
            # At another pace the stamps are stretched with it, so that they stay those of now.
            moved = shift + round((message.log_time - first * 1e9) * (1 / self._rate - 1))
            self._players[channel.topic].publish(_restamped(message.data, moved) if stamped else message.data)
            self._count += 1
        print(f"{self._bag}: {self._count} messages played", flush=True)
        self.exit_code = 0

    def _taken(self) -> list[str]:
        """Topics that somebody else publishes too."""
        return [topic for topic in self._players if len(self.get_publishers_info_by_topic(topic)) > 1]

    def _await_listeners(self) -> None:
        """Until somebody listens, and whoever else is about to has had a moment for it."""
        deadline = time.monotonic() + LISTENERS_WITHIN_S
        while time.monotonic() < deadline and self._worker.running:
            if any(player.get_subscription_count() for player in self._players.values()):
                deadline = min(deadline, time.monotonic() + MOMENT_S)
            time.sleep(0.05)


def _chosen(info: BagInfo, topics: str) -> list[str]:
    """Topics to play: those named, with or without their namespace, or all but commands and chunks."""
    if not topics:
        return [topic for topic in info.types if not topic.endswith(tuple(f"/{name}" for name in MOVES))]
    wanted = [name.strip() for name in topics.split(",")]
    chosen = [topic for topic in info.types if topic in wanted or any(topic.endswith(f"/{name}") for name in wanted)]
    if not chosen:
        raise ConfigError(f"none of '{topics}' is in {info.folder}; it has {', '.join(info.types)}")
    return chosen


def _restamped(data: bytes, shift: int) -> bytes:
    """A serialized message with its header's stamp moved by so many ns."""
    order = "<iI" if data[1] & 1 else ">iI"
    seconds, nanoseconds = struct.unpack(order, data[STAMP])
    stamp = divmod(seconds * 1_000_000_000 + nanoseconds + shift, 1_000_000_000)
    return data[: STAMP.start] + struct.pack(order, *stamp) + data[STAMP.stop :]


def main() -> None:
    run(BagPlayer)


if __name__ == "__main__":
    main()
