"""Recording for ten minutes beside a moving robot, and recorders killed at random moments (`make soak`).

HIMOE_SOAK_S: length in s; HIMOE_KILLS: how many recorders; HIMOE_SEED: of the moments.
"""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
from fault_graph import FaultGraph, fault_graph
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.recording.reader import read_info, read_messages
from himoe_ros.recording.repair import repair
from himoe_ros.resources import config

SOAK_S = float(os.environ.get("HIMOE_SOAK_S", "600"))
KILLS = int(os.environ.get("HIMOE_KILLS", "20"))
SEED = int(os.environ.get("HIMOE_SEED", "0"))
BEFORE_S = 60.0  # without a recorder
CAMERAS = tuple(c.name for c in load_embodiment("aloha", config("embodiments")).cameras)
IMAGES = {name: f"/camera/{name}/image_raw" for name in CAMERAS}
PRIVATE_JOINTS = "joint_states:=synthetic/joint_states"  # those of the robot are recorded
CPU_SHARE = 0.35
PERIOD_GROWTH = 1.10
RECOVERED, LOST_S = 0.95, 1.0


class RecordingGraph(FaultGraph):
    """Controller and box, a swaying robot, three synthetic cameras of 640x480 at 30 Hz, and a recorder."""

    def sensors(self, active: bool) -> None:
        """Start, pause or go on; every message that was published is on its way then."""
        if "synthetic_sensors" not in self._processes:
            self.start("synthetic_sensors", remap=(PRIVATE_JOINTS,), embodiment="aloha", autostart=False)
            self._change("synthetic_sensors", "configure")
        self._change("synthetic_sensors", "activate" if active else "deactivate")

    def record(self, out: Path) -> None:
        self.watching.diagnostics.pop("/recorder", None)
        self.start("recorder", embodiment="aloha", out=str(out), task="sway")
        self.watching.wait(lambda: "/recorder" in self.watching.diagnostics, 30.0)
        time.sleep(1.0)  # until its services are found, beside those of one that was killed
        assert self.watching.call("recorder/start").success

    def published(self) -> int:
        """Images sent so far, told after the cameras have paused."""
        time.sleep(2.5)
        values = self.watching.diagnostics["/synthetic_sensors"][1]
        return sum(int(values[f"images {name}"]) for name in CAMERAS)

    def periods(self, since: float) -> np.ndarray:
        """s between servo commands as the box received them."""
        return np.diff([e.time for e in self.log.commands(since)])

    def _change(self, node: str, transition: str) -> None:
        number = getattr(Transition, f"TRANSITION_{transition.upper()}")
        request = ChangeState.Request(transition=Transition(id=number))
        assert self.watching.ask(ChangeState, f"{node}/change_state", request).success, transition


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_nothing_is_lost_and_the_control_loop_does_not_notice(tmp_path):
    with fault_graph(tmp_path, RecordingGraph) as graph:
        graph.run()
        graph.sensors(True)
        time.sleep(5.0)
        begin = time.monotonic()
        time.sleep(BEFORE_S)
        before = graph.periods(begin)
        graph.sensors(False)
        sent = graph.published()
        graph.record(tmp_path / "session")
        graph.sensors(True)
        begin, used = time.monotonic(), cpu_s(graph.pid("recorder"))
        time.sleep(SOAK_S)
        lasted, used = time.monotonic() - begin, cpu_s(graph.pid("recorder")) - used
        during = graph.periods(begin)
        graph.sensors(False)
        sent = graph.published() - sent
        saved = graph.watching.call("recorder/save")
        assert saved.success, saved.message
        info = read_info(tmp_path / "session" / "episode_0000")
        counts = {topic: info.counts[topic] for topic in (*IMAGES.values(), "/joint_states", "/action")}
        images = sum(counts[topic] for topic in IMAGES.values())
        p99 = [1e3 * float(np.quantile(p, 0.99)) for p in (before, during)]
        size = sum(path.stat().st_size for path in info.files) / 1e9
        print(
            f"\n{lasted:.0f} s, {size:.1f} GB: {images} of {sent} images, {info.about['lost']} messages lost by their "
            f"numbers, joint_states {counts['/joint_states'] / lasted:.1f} Hz; recorder {100 * used / lasted:.0f} % of "
            f"a core; period of servo commands p99 {p99[0]:.2f} ms without, {p99[1]:.2f} ms with it"
        )
        assert images == sent and info.about["lost"] == "0"
        assert used / lasted < CPU_SHARE
        assert p99[1] < PERIOD_GROWTH * p99[0]
        graph.check_always()
    shutil.rmtree(tmp_path / "session")


def test_24_recorders_killed_at_random_moments_leave_what_they_had(tmp_path):
    rng = np.random.default_rng(SEED)
    worst, longest = 1.0, 0.0
    with fault_graph(tmp_path, RecordingGraph) as graph:
        graph.run()
        graph.sensors(True)
        for number in range(KILLS):
            out = tmp_path / f"session_{number}"
            graph.record(out)
            seen = len(graph.joints)
            time.sleep(rng.uniform(6.0, 12.0))  # up to flush_s of config/recording.yaml is lost: 5 % of 5 s
            graph.end("recorder", signal.SIGKILL)
            killed = time.time()
            sent = len(graph.joints) - seen
            folder = out / "episode_0000"
            assert not (folder / "metadata.yaml").exists()
            repaired = folder.with_name("repaired")
            repair(folder, repaired)
            info = read_info(repaired)
            assert info.about["complete"] == "no" and info.about["task"] == "sway"
            images = sum(info.counts[topic] for topic in IMAGES.values())
            last = max(m.received for m in read_messages(info, ["/joint_states"]))
            expected = 30 * len(IMAGES) * (killed - info.start)
            share, gone = min(info.counts["/joint_states"] / sent, images / expected), killed - last
            worst, longest = min(worst, share), max(longest, gone)
            kept = f"{info.counts['/joint_states']} of {sent} states, {images} of {expected:.0f} images"
            told = f"{kept} since {info.start:.2f}"
            assert share >= RECOVERED and gone <= LOST_S, f"kill {number}: {told}, last {gone:.2f} s ago"
            shutil.rmtree(out)
    print(f"\n{KILLS} kills: at least {100 * worst:.1f} % of messages saved, at most {longest:.2f} s lost")
