"""The recorder as a process, beside cameras and joint states: services, keys, kills, full disks."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from graph import HIMOE, watcher
from screen import Screen
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String

from himoe_ros.bringup import environment
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.messages import image_array
from himoe_ros.nodes.conversions import image_message, joint_message
from himoe_ros.nodes.managed import LATCHED, RECORD, SENSOR
from himoe_ros.recording.check import Verdict, check, worst
from himoe_ros.recording.contract import load_contract
from himoe_ros.recording.reader import read_info, read_messages
from himoe_ros.resources import config, share

XARM7 = load_embodiment("xarm7", config("embodiments"))
HOME = np.append(XARM7.arms[0].bounds.rest, 0.0)
DECLARED = load_contract(config("recording.yaml"), XARM7)
# What the test publishes from its own thread, on a machine that may be busy, need not be fast.
CONTRACT = replace(DECLARED, streams=tuple(replace(s, rate_hz=s.rate_hz / 10) for s in DECLARED.streams))


class Sensors:
    """Cameras at 20 Hz, joint states at 100 Hz, an instruction."""

    def __init__(self, watching) -> None:
        node = watching.node
        self._node, self._rng = node, np.random.default_rng(0)
        self.silent: set[str] = set()
        self._cameras = {c.name: node.create_publisher(Image, c.topic, SENSOR) for c in XARM7.cameras}
        self._joints = node.create_publisher(JointState, "joint_states", RECORD)
        instruction = node.create_publisher(String, "instruction", LATCHED)
        instruction.publish(String(data="Pick up the apple"))
        self.sent = 0
        node.create_timer(0.05, self._show)
        node.create_timer(0.01, self._tell)

    def _now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def _show(self) -> None:
        for name, publisher in self._cameras.items():
            if name not in self.silent:
                picture = self._rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
                publisher.publish(image_message(picture, self._now(), name))

    def _tell(self) -> None:
        self._joints.publish(joint_message(XARM7.joint_names, HOME, self._now()))
        self.sent += 1


@pytest.fixture(scope="module")
def sensors():
    with watcher() as watching:
        sensors = Sensors(watching)
        sensors.watching = watching
        yield sensors


def start(out: Path, **parameters) -> subprocess.Popen:
    command = [sys.executable, "-m", "himoe_ros.nodes.recorder", "--ros-args", "--log-level", "error"]
    for key, value in {"embodiment": "xarm7", "out": str(out), "task": "fruit", **parameters}.items():
        command += ["-p", f"{key}:={value}"]
    return subprocess.Popen(command, env={**os.environ, **environment()}, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def recorder(sensors, tmp_path):
    process = start(tmp_path / "session")
    sensors.watching.wait(lambda: "/recorder" in sensors.watching.diagnostics, 20.0)
    yield process
    sensors.silent.clear()
    if process.poll() is None:
        process.terminate()
        assert process.wait(10) == 0
    sensors.watching.diagnostics.clear()


def session(tmp_path: Path) -> list[str]:
    return sorted(p.name for p in (tmp_path / "session").glob("episode*"))


def judged(folder: Path) -> Verdict:
    return worst(check(read_info(folder), CONTRACT, XARM7))


def test_services_start_save_and_discard_and_numbers_go_on(sensors, recorder, tmp_path):
    call = sensors.watching.call
    assert not call("recorder/save").success
    assert "recording episode_0000: fruit" in call("recorder/start").message
    again = call("recorder/start")
    assert not again.success and "recording already" in again.message
    before = sensors.sent
    time.sleep(2.0)
    sent = sensors.sent - before
    saved = call("recorder/save")
    assert saved.success and "0 messages lost" in saved.message
    assert call("recorder/start").success
    time.sleep(0.5)
    assert "episode_0001.discarded" in call("recorder/discard").message
    assert call("recorder/start").success
    time.sleep(0.5)
    assert call("recorder/save_failure").success
    third = read_info(tmp_path / "session" / "episode_0002")
    assert third.about["outcome"] == "failure"
    assert third.duration < 2.0 and third.counts["/instruction"] == 1, "what was said long ago is said at its beginning"
    assert session(tmp_path) == ["episode_0000", "episode_0001.discarded", "episode_0002"]
    folder = tmp_path / "session" / "episode_0000"
    info = read_info(folder)
    assert info.about["task"] == "fruit" and info.about["complete"] == "yes" and info.about["lost"] == "0"
    assert info.about["instruction"] == "Pick up the apple" and info.about["outcome"] == "success"
    assert info.counts["/instruction"] == 1, "what was said before belongs to it"
    assert info.counts["/joint_states"] >= 0.95 * sent
    assert judged(folder) is Verdict.PASS
    image = next(read_messages(info, ["/camera/base/image_raw"]))
    assert image_array(image.message).shape == (48, 64, 3)


def test_no_task_no_episode(sensors, tmp_path):
    process = start(tmp_path / "session", task="''")
    try:
        sensors.watching.wait(lambda: "/recorder" in sensors.watching.diagnostics, 20.0)
        answer = sensors.watching.call("recorder/start")
        assert not answer.success and "no task is set" in answer.message
    finally:
        process.terminate()
        process.wait(10)
        sensors.watching.diagnostics.clear()


def test_a_second_recorder_in_one_folder_is_refused(recorder, tmp_path):
    other = start(tmp_path / "session")
    assert other.wait(20) == 2
    assert f"another recorder (process {recorder.pid}) writes to" in other.stderr.read()


def test_24_a_killed_recorder_leaves_a_bag_that_is_repaired(sensors, recorder, tmp_path):
    assert sensors.watching.call("recorder/start").success
    before = sensors.sent
    time.sleep(2.0)
    sent = sensors.sent - before
    recorder.send_signal(signal.SIGKILL)
    recorder.wait()
    folder = tmp_path / "session" / "episode_0000"
    told = subprocess.run([HIMOE, "bag", "check", folder], capture_output=True, text=True)
    assert told.returncode == 1 and "himoe bag repair" in told.stdout
    done = subprocess.run([HIMOE, "bag", "repair", folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    info = read_info(folder.with_name("episode_0000_repaired"))
    assert info.counts["/joint_states"] >= 0.8 * sent and info.about["complete"] == "no"
    assert judged(info.folder) is Verdict.FAIL


def test_an_ended_recorder_keeps_the_episode_and_says_that_nobody_saved_it(sensors, recorder, tmp_path):
    assert sensors.watching.call("recorder/start").success
    time.sleep(1.0)
    recorder.terminate()
    assert recorder.wait(10) == 0
    about = read_info(tmp_path / "session" / "episode_0000").about
    assert about["complete"] == "no" and "before the episode was saved" in about["reason"]


def test_a_camera_that_dies_is_seen_in_the_bag(sensors, recorder, tmp_path):
    assert sensors.watching.call("recorder/start").success
    time.sleep(1.0)
    sensors.silent.add("left_wrist")
    time.sleep(1.5)
    assert sensors.watching.call("recorder/save").success
    info = read_info(tmp_path / "session" / "episode_0000")
    texts = [r.text for r in check(info, DECLARED, XARM7) if r.verdict is Verdict.FAIL]
    assert any("/camera/left_wrist/image_raw: a gap of 1." in text for text in texts), texts


def test_23_a_full_disk_ends_the_episode_with_its_reason(sensors, tmp_path):
    """Row 23: a reserve that no disk has stands for a disk that is nearly full."""
    changed = tmp_path / "share" / "himoe_ros"
    changed.mkdir(parents=True)
    for name in ("config", "launch", "urdf"):
        (changed / name).symlink_to(share() / name)
    (changed / "config").unlink()
    subprocess.run(["cp", "-r", share() / "config", changed / "config"], check=True)
    path = changed / "config" / "recording.yaml"
    contract = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**contract, "reserve_gb": 1e9}))
    code = (
        "from pathlib import Path; from himoe_ros import resources; "
        f"resources.share = lambda: Path({str(changed)!r}); from himoe_ros.nodes.recorder import main; main()"
    )
    command = [sys.executable, "-c", code, "--ros-args", "-p", "embodiment:=xarm7", "-p", "task:=fruit"]
    process = subprocess.Popen([*command, "-p", f"out:={tmp_path / 'session'}"], env={**os.environ, **environment()})
    try:
        sensors.watching.wait(lambda: "/recorder" in sensors.watching.diagnostics, 20.0)
        answer = sensors.watching.call("recorder/start")
        assert not answer.success and "the disk is full: expected 1e+09 GB free" in answer.message
        assert not session(tmp_path)
    finally:
        process.terminate()
        process.wait(10)
        sensors.watching.diagnostics.clear()


def test_images_may_be_compressed(sensors, tmp_path):
    process = start(tmp_path / "session", images="jpeg")
    try:
        sensors.watching.wait(lambda: "/recorder" in sensors.watching.diagnostics, 20.0)
        assert sensors.watching.call("recorder/start").success
        time.sleep(2.0)
        assert sensors.watching.call("recorder/save").success
    finally:
        process.terminate()
        process.wait(10)
        sensors.watching.diagnostics.clear()
    info = read_info(tmp_path / "session" / "episode_0000")
    assert info.types["/camera/base/image_raw/compressed"] == "sensor_msgs/msg/CompressedImage"
    image = next(read_messages(info, ["/camera/base/image_raw/compressed"]))
    assert bytes(image.message.data)[:2] == b"\xff\xd8" and image.message.format == "jpeg"
    assert judged(info.folder) is Verdict.PASS, check(info, CONTRACT, XARM7)


def test_keys_at_a_terminal_record_two_episodes(sensors, tmp_path):
    """r, s, t and arrows, through a pseudo-terminal as over SSH; q ends it with the terminal as it was."""
    with Screen("record", "xarm7", "--out", tmp_path / "session") as screen:
        screen.see("no task")
        screen.press("r")
        screen.see("no task is set: press t")
        screen.press("t")
        screen.see("task: ")
        screen.press("apple to blue plate\n")
        screen.see("apple to blue plate")
        screen.press("r")
        screen.see("recording episode_0000: apple to blue plate")
        screen.see("● episode_0000")
        screen.see("joint_states ")
        screen.press("\x1b[D")
        screen.see("saved episode_0000")
        screen.press("\x1b[C")
        screen.see("recording episode_0001")
        time.sleep(0.5)
        screen.press("\x7f")
        screen.see("episode_0001.discarded")
        screen.press("q")
        assert screen.ended() == 0
    assert session(tmp_path) == ["episode_0000", "episode_0001.discarded"]
