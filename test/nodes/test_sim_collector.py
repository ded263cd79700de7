"""himoe sim record: bags of the scripted expert, repeatable, resumable, and good enough to learn from."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from graph import HIMOE

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.safety import load_safety
from himoe_ros.recording.check import check
from himoe_ros.recording.contract import load_contract
from himoe_ros.recording.frames import read_frames
from himoe_ros.recording.reader import read_info, read_messages
from himoe_ros.resources import config
from himoe_ros.trials.protocol import load_protocol

XARM7 = load_embodiment("xarm7", config("embodiments"))
CONTRACT = load_contract(config("recording.yaml"), XARM7)
FRUIT = load_protocol("xarm7/fruit_to_plate", config("trials"))
LIMITS = load_safety(config("safety.yaml")).sensors


def collect(out: Path, *options: str) -> subprocess.CompletedProcess:
    command = [HIMOE, "sim", "record", "fruit_to_plate", "--out", out, "--width", "64", "--height", "64", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def session(tmp_path_factory):
    out = tmp_path_factory.mktemp("session") / "a"
    done = collect(out, "--episodes", "3", "--push", "0.05", "--switch", "0.5")
    assert done.returncode == 0, done.stderr
    return out


def test_episodes_are_good_and_of_each_instruction_in_turn(session):
    infos = [read_info(session / f"episode_{n:04d}") for n in range(3)]
    assert [i.about["task"] for i in infos] == [s.instruction for s in list(FRUIT.settings.values())[:3]]
    for info in infos:
        assert info.about["outcome"] == "success" and info.about["operator"] == "scripted expert"
        assert check(info, CONTRACT, XARM7) == []
        frames = list(read_frames(info, XARM7, LIMITS, 10))
        assert 40 < len(frames) < 200
        opening = np.array([f.action[6] for f in frames])
        assert opening.min() < 0.1 and opening[-1] > 0.9, "it closes and opens the gripper"
        steps = np.array([f.action[:3] - f.state[:3] for f in frames])
        assert np.abs(steps).max() < 0.08, "what is to be done next is near"


def contents(folder: Path) -> list[tuple]:
    """All that a bag says; the bytes between the fields are whatever was in memory."""
    return [(m.topic, m.received, repr(m.message)) for m in read_messages(read_info(folder))]


def test_a_session_goes_on_where_it_ended_and_a_seed_gives_the_same_bags(session, tmp_path):
    again = shutil.copytree(session, tmp_path / "again")
    before = contents(again / "episode_0001")
    kept = (again / "episode_0002").stat().st_mtime_ns
    shutil.rmtree(again / "episode_0001")
    done = collect(again, "--episodes", "3", "--push", "0.05", "--switch", "0.5", "--workers", "1")
    assert done.returncode == 0 and "3/3 episodes" in done.stdout
    assert contents(again / "episode_0001") == before
    assert (again / "episode_0002").stat().st_mtime_ns == kept


def test_what_cannot_be_is_refused(tmp_path):
    for options, words in (
        (("--episodes", "0"), "expected a whole number > 0"),
        (("--switch", "1.5"), "expected a share from 0 to 1"),
        (("--camera-rate-hz", "0"), "--camera-rate-hz must divide 100"),
        (("--images", "gif"), "images must be one of"),
    ):
        done = collect(tmp_path / "none", *options)
        assert done.returncode != 0 and words in done.stderr, done.stderr
        assert not list(tmp_path.glob("none/episode*"))


def test_a_collector_that_is_killed_takes_its_workers_along(tmp_path):
    command = [
        HIMOE,
        "sim",
        "record",
        "fruit_to_plate",
        "--out",
        tmp_path / "killed",
        "--episodes",
        "9",
        "--workers",
        "2",
    ]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 30.0
    while len(workers(process.pid)) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    pids = workers(process.pid)
    assert len(pids) == 2
    process.kill()
    process.wait()
    deadline = time.monotonic() + 10.0
    while any(Path(f"/proc/{pid}").exists() for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def workers(parent: int) -> list[int]:
    """Processes that record for another one."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            if int(state[1]) == parent and "spawn_main" in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:  # ended meanwhile
            continue
    return found
