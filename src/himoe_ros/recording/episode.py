"""One episode being recorded: messages to a bag, what is lost counted, rates kept for the status line."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from pathlib import Path

from .bag import BagWriter, Topic

WINDOW = 2_000_000_000  # ns, over which rates are told


class Episode:
    """Not thread-safe: one thread writes."""

    def __init__(self, folder: Path, about: Mapping[str, str], topics: Mapping[str, Topic], distro: str) -> None:
        """
        Args:
            folder: of the bag, made here.
            about: task, instruction, operator and the like.
            topics: by the name under which messages are given to `write`.
        """
        self._bag = BagWriter(folder, about, distro)
        self._channels = {name: self._bag.add_topic(topic) for name, topic in topics.items()}
        self._last: dict[tuple[str, bytes], int] = {}  # sequence number by topic and publisher
        self._single = {name for name, topic in topics.items() if len(topic.qos) == 1}  # they have one publisher
        self._recent: dict[str, deque[int]] = {name: deque() for name in topics}  # ns
        self.lost: Counter[str] = Counter()
        self._begin = self._end = 0  # ns

    @property
    def folder(self) -> Path:
        return self._bag.folder

    @property
    def seconds(self) -> float:
        """From the first message to the last."""
        return (self._end - self._begin) * 1e-9

    def write(self, name: str, data: bytes, received: int, published: int, sequence: int, publisher: bytes) -> None:
        """One serialized message.

        Args:
            name: one of the topics.
            data: CDR.
            received, published: ns since 1970.
            sequence: counted by its publisher; what is skipped was lost on the way.
            publisher: empty where ROS does not tell; then losses are counted of topics with a single one.
        """
        if publisher or name in self._single:
            skipped = sequence - self._last.get((name, publisher), sequence) - 1
            if skipped > 0:
                self.lost[name] += skipped
            self._last[name, publisher] = sequence
        self._bag.write(self._channels[name], data, received, published, sequence & 0xFFFFFFFF)
        self._begin = self._begin or received
        self._end = max(self._end, received)
        recent = self._recent[name]
        recent.append(received)
        while recent[0] < received - WINDOW:
            recent.popleft()

    def rates(self) -> dict[str, float]:
        """Topic -> messages a second, of late."""
        since = max(self._begin, self._end - WINDOW)
        span = max((self._end - since) * 1e-9, 1e-3)
        # Copied at once: another thread goes on writing.
        return {name: sum(t > since for t in tuple(recent)) / span for name, recent in self._recent.items()}

    def flush(self) -> None:
        """What was written so far survives this process."""
        self._bag.flush()

    def close(self, outcome: Mapping[str, str]) -> None:
        """Finish the bag, with how many messages were lost."""
        lost = {f"lost {name}": str(count) for name, count in self.lost.items()}
        self._bag.close({"seconds": f"{self.seconds:.2f}", "lost": str(self.lost.total()), **lost, **outcome})
