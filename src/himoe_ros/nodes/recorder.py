"""The recorder node: one bag an episode, messages as they came, started and ended by services or keys."""

from __future__ import annotations

import ctypes
import functools
import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from diagnostic_msgs.msg import DiagnosticStatus
from rcl_interfaces.msg import SetParametersResult
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from rclpy.serialization import deserialize_message
from rclpy.subscription import Subscription
from std_msgs.msg import String

from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, HimoeError
from ..core.fingerprint import fingerprint
from ..recording.bag import Topic
from ..recording.contract import IMAGE, Stream, load_contract
from ..recording.grippers import GRIPPERS, told_grippers
from ..recording.recorder import EpisodeRecorder, Incoming
from ..recording.session import Session
from ..recording.status_line import figures, status_line
from ..resources import config, version
from ..terminal import Terminal
from .conversions import message_class, qos_entry, status_message
from .managed import LATCHED, RECORD, SENSOR, ManagedNode, run
from .shrinking import ImageShrinker

KEYS = {
    "r": "start",
    "right": "start",
    "s": "save",
    "left": "save",
    "f": "save_failure",
    "d": "discard",
    "backspace": "discard",
}
ORDERS = {  # service, and what becomes of the episode with it
    "start": ("start", {}),
    "save": ("save", {"outcome": "success"}),
    "save_failure": ("save", {"outcome": "failure"}),
    "discard": ("discard", {}),
}
STATUS_PERIOD_S = 0.5
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
LARGE_BLOCK_BYTES = 32 * 1024 * 1024
GOES_BEHIND = 10  # nice: a second of images may wait for the disk, a servo command for nobody
CAMERAS = QoSProfile(depth=30, reliability=SENSOR.reliability)  # a second of a camera, for the disk's pauses
INFORMED = hasattr(Subscription, "CallbackType")  # ROS 2 Humble hands over nothing but the message
NOT_SAVED = {"complete": "no", "reason": "the recorder was ended before the episode was saved"}


class Recorder(ManagedNode):
    """Glue around EpisodeRecorder: the executor's thread takes messages, one worker writes, one reads keys."""

    def __init__(self) -> None:
        super().__init__("recorder")
        self._writer, self._keyboard = self.worker("writer"), self.worker("keys")
        self._recorder: EpisodeRecorder | None = None
        self._session: Session | None = None
        self._embodiment_name = self.require("embodiment", "the name of a file in config/embodiments")
        self._out = self.require("out", "the folder of the session's episodes")
        self._task = self.parameter("task", "")
        self._operator = self.parameter("operator", os.environ.get("USER", ""))
        self._wanted = self.parameter("episodes", 0)
        self._images = self.parameter("images", "")
        self._keys = self.parameter("keys", False)
        self.parameter("about", "{}")  # JSON, text -> text: what else is told of the episode that is saved next
        self._calibration = self.parameter("calibration", "")
        self._line = self.create_publisher(DiagnosticStatus, "recorder/status", LATCHED)
        self.add_on_set_parameters_callback(self._on_parameters)
        for name in ORDERS:
            self.trigger(f"recorder/{name}", functools.partial(self._order, name))
        self.every(STATUS_PERIOD_S, self._tell)

    def setup(self) -> None:
        embodiment = load_embodiment(self._embodiment_name, config("embodiments"))
        self._contract = load_contract(config("recording.yaml"), embodiment)
        self._shrink = ImageShrinker(self._images, self._contract)
        self._session = Session(Path(self._out))
        self._about = {
            "embodiment": embodiment.name,
            "config": fingerprint(embodiment),
            GRIPPERS: told_grippers(embodiment),
            "operator": self._operator,
            "calibration": _text_of(self._calibration),
            "version": version(),
            "ros_distro": os.environ.get("ROS_DISTRO", "kilted"),
        }
        self._recorder = EpisodeRecorder(
            self._session, self._contract, self._about, self._topics, self._shrink, self.complain
        )
        self._recorder.task = self._task
        on_message = self._on_message if INFORMED else self._on_bare_message
        self._inputs = [
            self.create_subscription(
                message_class(stream.type),
                stream.topic,
                functools.partial(on_message, stream.topic),
                LATCHED if stream.latched else RECORD if stream.reliable and stream.type != IMAGE else CAMERAS,
                raw=True,
            )
            for stream in self._contract.streams
        ]

    def begin(self) -> None:
        self._writer.start(lambda: self._recorder.run(lambda: self._writer.running))
        if self._keys:
            self._keyboard.start(self._listen)

    def end(self) -> None:
        """An episode that is being recorded is kept, and says that nobody saved it."""
        self._keyboard.stop()
        if self._writer.running and self._recorder.recording:
            self._recorder.order("save", NOT_SAVED)
        self._writer.stop()

    def teardown(self) -> None:
        for subscription in self.__dict__.pop("_inputs", []):
            self.destroy_subscription(subscription)
        if self._session is not None:
            self._session.close()
            self._session = None
        self._recorder = None

    def status(self) -> dict[str, object]:
        return {} if self._recorder is None else dict(figures(self._recorder, self._contract, self._session.saved()))

    def _on_bare_message(self, topic: str, data: bytes) -> None:
        self._on_message(topic, data, {})

    def _on_message(self, topic: str, data: bytes, info: Mapping[str, Any]) -> None:
        """Of a message, ROS tells as much as its version and middleware know."""
        if topic == "instruction":
            self._about["instruction"] = deserialize_message(data, String).data
        if self._recorder is not None:
            received = info.get("received_timestamp") or time.time_ns()
            published = info.get("source_timestamp") or received
            publisher = bytes((info.get("publisher_gid") or {"data": b""})["data"])  # ROS 2 Jazzy tells none
            sequence = info.get("publication_sequence_number") or 0
            self._recorder.take(Incoming(topic, data, received, published, sequence, publisher))

    def _order(self, name: str) -> str:
        if self._recorder is None or not self._writer.running:
            raise ConfigError("the recorder is not active; configure and activate it first")
        order, outcome = ORDERS[name]
        about = json.loads(self.get_parameter("about").value) if order == "save" else {}
        return self._recorder.order(order, {**outcome, **about, **self._shrink.remarks()})

    def _topics(self) -> dict[str, Topic]:
        """Asked as an episode begins."""
        self._shrink.begin()
        return {stream.topic: self._topic(stream) for stream in self._contract.streams}

    def _topic(self, stream: Stream) -> Topic:
        name = self.resolve_topic_name(stream.topic)
        qos = [qos_entry(info.qos_profile) for info in self.get_publishers_info_by_topic(name)]
        return Topic(*self._shrink.topic(name, stream.type), qos)

    def _tell(self) -> None:
        if self._recorder is None:
            return
        self._line.publish(status_message(self.get_fully_qualified_name(), "", self.status()))
        if self._keys:
            line = status_line(self._recorder, self._contract, self._session.saved(), self._wanted)
            self._show(line[: max(shutil.get_terminal_size().columns - 1, 20)])

    def _show(self, text: str, end: str = "") -> None:
        print(f"\r\x1b[K{text}", end=end, flush=True)

    def _listen(self) -> None:
        """The keyboard's thread."""
        with Terminal() as terminal:
            while self._keyboard.running:
                for key in terminal.keys(0.1):
                    self._press(key, terminal)

    def _press(self, key: str, terminal: Terminal) -> None:
        if key in ("q", "end"):
            self.exit_code = 0
        elif key == "t" and (told := terminal.line("\r\x1b[Ktask: ")):
            (result,) = self.set_parameters([Parameter("task", value=told)])
            self._show(result.reason or f"task: {told}", "\n")
        elif key in KEYS:
            try:
                self._show(self._order(KEYS[key]), "\n")
            except HimoeError as error:
                self._show(str(error), "\n")

    def _on_parameters(self, parameters: Sequence[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == "about":
                if reason := _not_told(parameter.value):
                    return SetParametersResult(successful=False, reason=reason)
                continue
            if parameter.name != "task":
                reason = f"parameter '{parameter.name}' is read when the node starts; restart it to change"
                return SetParametersResult(successful=False, reason=reason)
            if self._recorder is not None and self._recorder.recording:
                return SetParametersResult(successful=False, reason="the task stays while an episode is recorded")
            self._task = parameter.value
            if self._recorder is not None:
                self._recorder.task = self._task
        return SetParametersResult(successful=True)


def _not_told(about: str) -> str:
    """Why something cannot be told about an episode, in words, or ""."""
    try:
        told = json.loads(about)
    except ValueError:
        told = None
    fits = isinstance(told, dict) and all(isinstance(value, str) for value in told.values())
    return "" if fits else f"parameter 'about' must be JSON, text -> text, got {about[:80]!r}"


def _text_of(path: str) -> str:
    """Of a file, which then stands in every bag; "" without one."""
    try:
        return Path(path).read_text() if path else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"parameter 'calibration' must be a text file, {path}: {error}") from error


def _keep_large_blocks() -> None:
    """glibc hands memory of an image's size back to the system and asks for it anew, page by page, for every image."""
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, 8 * LARGE_BLOCK_BYTES)


def main() -> None:
    _keep_large_blocks()
    os.nice(GOES_BEHIND)
    run(Recorder)


if __name__ == "__main__":
    main()
