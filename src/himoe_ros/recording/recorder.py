"""Records episodes one after another: messages and orders go through one queue, which one thread empties."""

from __future__ import annotations

import queue
import shutil
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from ..core.errors import HimoeError, RecordingError
from .bag import Topic
from .contract import Contract
from .episode import Episode
from .session import Session, discard

ANSWER_WITHIN_S = 10.0
LOOK_AT_DISK_S = 0.5
GB = 1e9


@dataclass(frozen=True)
class Incoming:
    """A serialized message; see Episode.write."""

    topic: str
    data: bytes
    received: int
    published: int
    sequence: int
    publisher: bytes


@dataclass(frozen=True)
class _Order:
    name: str
    outcome: Mapping[str, str]
    answer: queue.SimpleQueue


class EpisodeRecorder:
    """`take` and `order` may be called from any thread; `run` belongs to one of its own."""

    def __init__(
        self,
        session: Session,
        contract: Contract,
        about: Mapping[str, str],
        topics: Callable[[], Mapping[str, Topic]],
        convert: Callable[[str, bytes], bytes],
        complain: Callable[[HimoeError], None],
    ) -> None:
        """
        Args:
            session: where episodes go.
            contract: what they hold.
            about: the same for every episode; `ros_distro` among it.
            topics: asked at the start of each episode.
            convert: (topic, message) -> what is written of it.
            complain: told what ended an episode that nobody ended.
        """
        self._session = session
        self._contract = contract
        self._about = about
        self._topics = topics
        self._convert = convert
        self._complain = complain
        self._queue: queue.SimpleQueue[Incoming | _Order] = queue.SimpleQueue()
        self._recording = threading.Event()
        self._kept: dict[str, Incoming] = {}
        self._latched = {s.topic for s in contract.streams if s.latched}
        self.task = ""
        self.episode: Episode | None = None  # the one being recorded

    @property
    def recording(self) -> bool:
        return self._recording.is_set()

    def take(self, message: Incoming) -> None:
        """A message came."""
        if message.topic in self._latched:
            self._kept[message.topic] = message
        if self.recording:
            self._queue.put(message)

    def order(self, name: str, outcome: Mapping[str, str]) -> str:
        """Start, save or discard; waits until it is done.

        Args:
            name: `start`, `save` or `discard`.
            outcome: what to write down about the episode that ends.

        Returns:
            What was done, in words.

        Raises:
            RecordingError: it cannot be done now, or the disk does not take it.
        """
        if name == "start" and not self.task:
            raise RecordingError("no task is set: press t, or set the parameter 'task', and start again")
        if (name == "start") == self.recording:
            state = "recording already" if name == "start" else "not recording"
            raise RecordingError(f"cannot {name}: the recorder is {state}")
        if name != "start":
            self._recording.clear()  # what is in the queue still belongs to the episode
        order = _Order(name, outcome, queue.SimpleQueue())
        self._queue.put(order)
        try:
            told = order.answer.get(timeout=ANSWER_WITHIN_S)
        except queue.Empty as error:
            raise RecordingError(f"the disk is too slow: {name} took more than {ANSWER_WITHIN_S:g} s") from error
        if isinstance(told, HimoeError):
            raise told
        return told

    def run(self, running: Callable[[], bool]) -> None:
        """Write until `running` is false and the queue is empty."""
        flushed = looked = time.monotonic()
        while running() or not self._queue.empty():
            try:
                item = self._queue.get(timeout=self._contract.flush_s)
            except queue.Empty:
                item = None
            now = time.monotonic()
            try:
                if isinstance(item, _Order):
                    self._obey(item)
                elif item is not None and self.episode is not None:
                    self._write(self.episode, item)
                if self.episode is not None and now - flushed > self._contract.flush_s:
                    self.episode.flush()
                    flushed = now
                if self.episode is not None and now - looked > LOOK_AT_DISK_S:
                    self._look_at_disk()
                    looked = now
            except RecordingError as error:
                self._fail(error)

    def _obey(self, order: _Order) -> None:
        try:
            order.answer.put(self._start() if order.name == "start" else self._finish(order.name, order.outcome))
        except HimoeError as error:
            order.answer.put(error)

    def _start(self) -> str:
        self._look_at_disk()
        about = {**self._about, "task": self.task}
        self.episode = Episode(self._session.next_episode(), about, self._topics(), about["ros_distro"])
        for message in list(self._kept.values()):  # said before, and it still holds: the episode begins now
            self._write(self.episode, replace(message, received=time.time_ns()))
        self._recording.set()
        return f"recording {self.episode.folder.name}: {self.task}"

    def _finish(self, name: str, outcome: Mapping[str, str]) -> str:
        episode, self.episode = self.episode, None
        if episode is None:
            raise RecordingError(f"cannot {name}: the episode has ended already")
        if name == "discard":
            episode.close({"complete": "no", "reason": "discarded by the operator"})
            return f"discarded: {discard(episode.folder).name}"
        episode.close({"complete": "yes", **outcome})
        return f"saved {episode.folder.name}: {episode.seconds:.1f} s, {episode.lost.total()} messages lost"

    def _write(self, episode: Episode, m: Incoming) -> None:
        try:
            data = self._convert(m.topic, m.data)
        except HimoeError as error:
            episode.lost[m.topic] += 1
            self._complain(error)
            return
        episode.write(m.topic, data, m.received, m.published, m.sequence, m.publisher)

    def free_gb(self) -> float:
        """Room on the disk."""
        return shutil.disk_usage(self._session.folder).free / GB

    def _look_at_disk(self) -> None:
        free, reserve = self.free_gb(), self._contract.reserve_gb
        if free < reserve:
            raise RecordingError(
                f"the disk is full: expected {reserve:g} GB free for {self._session.folder}, there are {free:.2f}; "
                "make room, or record elsewhere"
            )

    def _fail(self, error: RecordingError) -> None:
        """The episode ends here, marked as failed; what was written is kept."""
        self._recording.clear()
        episode, self.episode = self.episode, None
        self._complain(error)
        if episode is not None:
            try:
                episode.close({"complete": "no", "reason": str(error)})
            except RecordingError as another:  # then it has no metadata.yaml, which says the same
                self._complain(another)
