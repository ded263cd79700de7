"""Sessions of trials through the running graph: the scripted expert in simulation, and an operator who judges."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path

import pytest
from graph import end, himoe, himoe_without, nodes_alive, pid_of, watcher
from sensor_msgs.msg import Image

from himoe_ros.bringup import simulated_address
from himoe_ros.resources import config
from himoe_ros.trials.gather import gather, judge_anew
from himoe_ros.trials.log import read_log
from himoe_ros.trials.session import LOG, read_session

FOLDER = config("trials")


def records(folder: Path, kind: str) -> list[dict]:
    return [r for r in read_log(folder / LOG) if r["kind"] == kind] if (folder / LOG).is_file() else []


def until(condition, within: float, process) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_session_survives_a_lost_camera_and_a_kill_and_its_bags_tell_the_same(tmp_path):
    process = himoe(
        "trials", "run", "xarm7/fruit_to_plate", "--policy", "expert", "--trials", "1", "--out", str(tmp_path)
    )
    until(lambda: len(records(tmp_path, "begun")) == 2, 90.0, process)
    time.sleep(2.5)  # the arm is on its way
    cameras = pid_of("sim_cameras")
    os.kill(cameras, signal.SIGSTOP)
    until(lambda: records(tmp_path, "void"), 10.0, process)
    os.kill(cameras, signal.SIGCONT)
    until(lambda: len(records(tmp_path, "begun")) == 4, 60.0, process)
    time.sleep(2.0)
    trials = pid_of("trials")
    os.kill(trials, signal.SIGKILL)
    assert process.wait(20.0) != 0
    finished = len(records(tmp_path, "finished"))
    process = himoe("trials", "resume", str(tmp_path))
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    assert not nodes_alive()

    header, results, voids = read_session(tmp_path)
    assert header.simulated and finished == 2
    assert [r.index for r in results] == list(range(4)), "none lost, none repeated"
    reasons = [reason for each in voids.values() for reason in each]
    assert re.match("nothing came for 1.5 s from camera (base|left_wrist)", reasons[0])
    assert any(reason.startswith("interrupted") for reason in reasons)
    assert sum(r.success for r in results) >= 3, results
    for r in results:
        assert (tmp_path / r.files["video"]).stat().st_size > 10_000 and (tmp_path / r.files["last_frame"]).is_file()
        assert r.latency[0] < 200 and "running: following chunks" in dict(map(reversed, r.events))

    (told,) = gather([tmp_path], FOLDER)
    (again,), differences = judge_anew([tmp_path], FOLDER, config("embodiments"))
    assert differences == []
    assert [t.result for t in again.trials] == [t.result for t in told.trials], "the bags alone tell the same"


@pytest.fixture
def workplace():
    """The simulated box and its cameras, as far as a lab's own robot is concerned."""
    others = ("controller", "policy")
    process = himoe_without(*others)
    yield
    end(process)


def test_an_operator_judges_and_nothing_succeeds_by_mistake(workplace, tmp_path):
    process = himoe(
        *("trials", "run", "xarm7/fruit_to_plate", "--policy", "himoe_small", "--policy", "expert"),
        *("--trials", "1", "--time-limit-s", "2"),
        *("--hardware", "real", "--robot-ip", simulated_address("xarm7"), "--out", str(tmp_path)),
    )
    lines: list[str] = []

    def asked(words: str) -> bool:
        lines.append(process.stdout.readline())
        assert "error:" not in lines[-1], lines
        return words in lines[-1]

    with watcher() as watching:
        overlays = watching.collect(Image, "trials/overlay")
        until(lambda: asked("the arm goes home now: is its way clear?"), 60.0, process)
        watching.call("trials/next")
        until(lambda: asked("reset: Fruit in front, plates behind"), 60.0, process)
        assert "apple at x 0." in lines[-1] and "pink_plate at x 0." in lines[-1], "the drawn start is told"
        watching.call("trials/next")
        until(lambda: asked("timeout. pick:"), 30.0, process)
        watching.call("trials/success")
        watching.call("trials/failure")
        until(lambda: asked("expected one answer, got success and failure"), 5.0, process)
        watching.call("trials/success")
        until(lambda: asked("timeout. place:"), 5.0, process)
        watching.call("trials/failure")
        assert not overlays
        until(lambda: asked("the arm goes home now"), 20.0, process)
        watching.call("trials/success")
        watching.call("trials/next")
        until(lambda: asked("As in trial 1: see /trials/overlay"), 20.0, process)
        watching.wait(lambda: overlays, 5.0)
        assert (overlays[0].height, overlays[0].width) == (512, 896), "start and present, one over the other"
        watching.call("trials/next")
        until(lambda: asked("timeout. pick:"), 30.0, process)
        code, _ = end(process)  # the operator leaves without a verdict
    assert code != 0
    header, results, _ = read_session(tmp_path)
    assert not header.simulated
    (result,) = results
    assert header.untrained == ["himoe_small"]
    assert result.stages == {"pick": True, "place": False} and result.judged == "operator"
    begun = records(tmp_path, "begun")
    assert [r["index"] for r in begun] == [0, 1] and len(results) == 1, "what nobody judged is no result"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "xarm7/juggling", "--policy", "expert"), "'xarm7/juggling' is no protocol in .* there are: aloha/"),
        (
            ("run", "xarm7/cup_in_cup", "--policy", "xarm7_smal"),
            "there is no policy 'xarm7_smal'; there are aloha_small, xarm7_small, untrained adamoe_4b",
        ),
        (("run", "xarm7/cup_in_cup", "--policy", "a,b"), "different policies without commas"),
        (("report", "/nowhere"), "expected the log of a session at /nowhere"),
        (("resume", "/nowhere"), "expected the log of a session at /nowhere"),
        (("run", "xarm7/cup_in_cup", "--policy", "expert", "--seed", "-1"), "seed must be >= 0, got -1"),
        (("run", "xarm7/cup_in_cup", "--policy", "expert", "--json", "/nowhere/a"), "its folder does not exist"),
    ],
)
def test_what_cannot_be_is_told_at_once(arguments, words, tmp_path):
    process = himoe("trials", *arguments, cwd=tmp_path)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 2

    assert re.search(words, output), output
    assert not list(tmp_path.glob("**/trials.jsonl"))


def test_the_protocols_are_listed():
    output, _ = himoe("trials", "list").communicate(timeout=30)
    assert "xarm7/cup_in_cup_distractors" in output and "6 x 3   pick, insert" in output
