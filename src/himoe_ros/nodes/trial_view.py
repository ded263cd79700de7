"""What the trials node sees of the graph: everything a trial is judged, filmed and told by."""

from __future__ import annotations

import functools
import math
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from trajectory_msgs.msg import JointTrajectory

from ..core.embodiment import Embodiment
from ..core.errors import ObservationError
from ..core.messages import seconds
from ..core.observation import Image as Picture
from ..core.unified import named_positions
from ..trials.judges import AnyJudge
from ..trials.truth import Truth, truth_from_state
from ..trials.verdict import Verdict
from ..trials.video import VideoWriter, compose
from .conversions import image_array
from .managed import COMMAND, LATCHED, RECORD, SENSOR

RESET_TOLERANCE_M, RESET_TOLERANCE_RAD, RESET_SPEED_M_S = 0.01, 0.1, 0.02
LOST_S = 1.5  # without a message for so long, a camera or the robot is lost
VIDEO_FPS = 10


@dataclass
class Watched:
    """One trial, as it goes on.

    Attributes:
        judge: None where an operator judges.
        video: what the cameras see.
        began: s of the steady clock.
        events: (s since then, what happened).
        holds, held_s: times the controller waited for a plan, and for how long.
        latencies: s from a plan's observation to its arrival.
    """

    judge: AnyJudge | None
    video: VideoWriter
    began: float
    title: str
    events: list[tuple[float, str]] = field(default_factory=list)
    holds: int = 0
    held_s: float = 0.0
    latencies: list[float] = field(default_factory=list)
    _verdict: Verdict = field(default_factory=Verdict)
    _mode_since: float = 0.0

    def observe(self, truth: Truth) -> None:
        """Let the judge look, and remember when a stage was reached."""
        if self.judge is None:
            return
        verdict = self.judge.observe(truth)
        for stage, reached in verdict.stages.items():
            if reached and not self._verdict.stages.get(stage, False):
                self.tell(stage)
        if verdict.wrong_object and not self._verdict.wrong_object:
            self.tell(f"lifted {verdict.wrong_object}")
        self._verdict = verdict

    def mode(self, mode: str, before: str, reason: str) -> None:
        """The controller's mode has changed."""
        now = time.monotonic()
        if before == "holding":
            self.held_s += now - self._mode_since
        if mode == "holding":
            self.holds += 1
        self._mode_since = now
        self.tell(f"{mode}: {reason}")

    def end(self, mode: str) -> None:
        """Nothing is watched any more."""
        if mode == "holding":
            self.held_s += time.monotonic() - self._mode_since

    def tell(self, event: str) -> None:
        self.events.append((round(time.monotonic() - self.began, 2), event))


class TrialView:
    """Takes messages on the executor's thread; the session's thread looks."""

    def __init__(self, node: Node, embodiment: Embodiment, simulated: bool) -> None:
        """
        Args:
            node: whose topics are watched.
            embodiment: of the robot.
            simulated: whether a simulator tells the truth.
        """
        self._node, self._embodiment, self._simulated = node, embodiment, simulated
        self._lock = threading.Lock()
        self._heard: dict[str, float] = {}  # stream -> s of the steady clock
        self._watched: Watched | None = None
        self.images: dict[str, Picture] = {}
        self.truth: Truth | None = None
        # The controller's mode and its reason, and when that was told, s of the steady clock.
        self.state = ("", "", 0.0)
        self.told: dict[str, str] = {}  # node -> its trouble
        self.trouble = ""  # why the present trial cannot count
        for camera in embodiment.cameras:
            node.create_subscription(Image, camera.topic, functools.partial(self._on_image, camera.name), SENSOR)
        node.create_subscription(JointState, "joint_states", self._on_joints, COMMAND)
        node.create_subscription(JointTrajectory, "action_chunk", self._on_chunk, COMMAND)
        node.create_subscription(DiagnosticStatus, "controller/state", self._on_state, LATCHED)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        if simulated:
            node.create_subscription(JointState, "sim/state", self._on_truth, RECORD)

    def watch(self, watched: Watched | None) -> None:
        """From now on this trial is judged and filmed; None ends it, and its video."""
        with self._lock:
            before, self._watched = self._watched, watched
        if watched is not None:
            self.trouble = ""
        if before is not None:
            before.end(self.state[0])
            try:
                before.video.close()
            except OSError as error:
                self._spoiled(error)

    def lost(self) -> str:
        """What has not been heard of for too long, in words, or ""."""
        now = time.monotonic()
        streams = [*(f"camera {c.name}" for c in self._embodiment.cameras), "joint_states"]
        streams += ["sim/state"] if self._simulated else []
        silent = [s for s in streams if now - self._heard.get(s, 0.0) > LOST_S]
        return f"nothing came for {LOST_S:g} s from {', '.join(silent)}" if silent else ""

    def picture(self) -> Picture:
        """All cameras side by side, (H, W, 3) uint8 RGB."""
        return compose(self._views(), *self._caption())

    def laid_out(self, layout: Mapping[str, tuple[float, float, float]]) -> bool:
        """Whether every thing lies where it was drawn (m, m, rad), and rests, nothing of it folded."""
        truth = self.truth
        return truth is not None and all(
            math.hypot(*(truth.things[n].place[:2] - (x, y))) < RESET_TOLERANCE_M
            and truth.things[n].speed < RESET_SPEED_M_S
            and all(abs(angle) < RESET_TOLERANCE_RAD for angle in truth.things[n].hinges.values())
            for n, (x, y, _) in layout.items()
        )

    def _spoiled(self, error: OSError) -> None:
        self.trouble = f"the video cannot be written: {error}"

    def _views(self) -> Sequence[Picture]:
        return [self.images[c.name] for c in self._embodiment.cameras]

    def _caption(self) -> tuple[str, str]:
        watched = self._watched
        if watched is None:
            return "", ""
        stages = watched.judge.verdict.stages if watched.judge else {}
        reached = "  ".join(f"{stage} {'yes' if done else '-'}" for stage, done in stages.items())
        return watched.title, f"{time.monotonic() - watched.began:4.1f} s   {self.state[0]:<8}   {reached}"

    def _on_image(self, camera: str, message: Image) -> None:
        try:
            self.images[camera] = image_array(message)
        except ObservationError:
            return  # the policy tells of it; a camera that sends nothing else is lost
        self._heard[f"camera {camera}"] = time.monotonic()
        if camera != self._embodiment.cameras[0].name or len(self.images) < len(self._embodiment.cameras):
            return
        with self._lock:
            if self._watched is not None:
                try:
                    self._watched.video.add(self.picture(), seconds(message.header.stamp))
                except OSError as error:  # FFmpeg's errors are of that kind, too
                    self._spoiled(error)

    def _on_joints(self, message: JointState) -> None:
        try:
            named_positions(message.name, message.position, self._embodiment.joint_names)
        except ObservationError:
            return
        self._heard["joint_states"] = time.monotonic()

    def _on_truth(self, message: JointState) -> None:
        self._heard["sim/state"] = time.monotonic()
        arms, stamp = self._embodiment.arms, seconds(message.header.stamp)
        self.truth = truth_from_state(stamp, arms, message.name, message.position, message.velocity)
        with self._lock:
            if self._watched is not None:
                self._watched.observe(self.truth)

    def _on_chunk(self, message: JointTrajectory) -> None:
        age = self._node.get_clock().now().nanoseconds * 1e-9 - seconds(message.header.stamp)
        with self._lock:
            if self._watched is not None:
                self._watched.latencies.append(age)

    def _on_state(self, message: DiagnosticStatus) -> None:
        mode = next((v.value for v in message.values if v.key == "mode"), "")
        before, self.state = self.state[0], (mode, message.message, time.monotonic())
        with self._lock:
            if self._watched is not None and mode != before:
                self._watched.mode(mode, before, message.message)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.level == DiagnosticStatus.OK:
                self.told.pop(status.name, None)
            else:
                self.told[status.name] = status.message
