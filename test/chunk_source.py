"""A scripted stand-in for a policy: plans with real motion."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
from diagnostic_msgs.msg import DiagnosticStatus
from graph import Watcher
from trajectory_msgs.msg import JointTrajectory

from himoe_ros.core import chunk_source
from himoe_ros.core.embodiment import Embodiment, load_embodiment
from himoe_ros.core.fingerprint import fingerprint
from himoe_ros.core.observation import ActionChunk
from himoe_ros.nodes.conversions import chunk_message, source_message
from himoe_ros.nodes.managed import COMMAND, LATCHED
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))


class ChunkSource:
    """Publishes plans of one second twice a second: a sway of every joint about a place, grippers too."""

    def __init__(self, watching: Watcher, robot: Embodiment = XARM7) -> None:
        self._arms, self._names = robot.arms, robot.action_space("joints").names
        self._node = watching.node
        self._publisher = self._node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._about = self._node.create_publisher(DiagnosticStatus, "chunk_source", LATCHED)
        self.about = chunk_source.ChunkSource(fingerprint(robot), "joints", "a sway", "", {})
        self._node.create_timer(0.5, self._tell)
        self._running = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin = 0.0
        self.now = lambda: self._node.get_clock().now().nanoseconds * 1e-9  # s, of the stamps
        self.change: Callable[[JointTrajectory], JointTrajectory] = lambda message: message  # before it is sent
        self.sway = 0.2  # rad
        self.place = np.zeros(0)  # rad

    def start(self, place: np.ndarray) -> None:
        """Sway about the joints' places, rad, those of all arms in a row; from rest."""
        self.stop()
        self.place, self._begin = np.asarray(place), self.now()
        self._running.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._running.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def send(self) -> None:
        """One plan from now on."""
        self._publisher.publish(self.change(self.plan()))

    def plan(self) -> JointTrajectory:
        stamp, times = self.now(), np.arange(1, 11) / 10
        share = np.sin(np.pi * (stamp + times - self._begin) / 2)  # 4 s a sway
        joints, opening = self.place + self.sway * share[:, None], 0.5 + 0.4 * share
        parts = np.split(joints, np.cumsum([len(arm.joints) for arm in self._arms])[:-1], axis=1)
        values = np.hstack([np.column_stack([part, opening]) for part in parts])
        return chunk_message(ActionChunk(stamp, self._names, values, times))

    def publish(self, message: JointTrajectory) -> None:
        self._publisher.publish(message)

    def _tell(self) -> None:
        self._about.publish(source_message("sway", self.about))

    def _run(self) -> None:
        while self._running.is_set():
            self.send()
            time.sleep(0.5)
