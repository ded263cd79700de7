"""How graphs end: by Ctrl-C at any moment, by a node that cannot start, by success."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import av
import pytest
from graph import end, himoe, nodes_alive, shared_memory

from himoe_ros.bringup import graph
from himoe_ros.resources import config
from himoe_ros.runner import run_graph
from himoe_ros.trials.protocol import load_protocol

FRUIT = load_protocol("xarm7/fruit_to_plate", config("trials"))


@pytest.mark.parametrize("moment", [0.4, 2.0, pytest.param(8.0, marks=pytest.mark.slow)])
def test_ctrl_c_at_any_moment_ends_all_within_5_s_and_leaves_nothing(moment):
    before = shared_memory()
    process = himoe("up", "xarm7")
    time.sleep(moment)
    begin = time.monotonic()
    code, _ = end(process)
    assert time.monotonic() - begin < 5.0
    assert code in (0, 130, -signal.SIGINT), "-SIGINT: before Python had taken the signal over; a shell says 130"
    assert not nodes_alive()
    assert shared_memory() <= before


def test_a_killed_runner_takes_its_nodes_along():
    process = himoe("up", "xarm7")
    time.sleep(5.0)
    assert nodes_alive()
    process.send_signal(signal.SIGKILL)
    process.wait()
    deadline = time.monotonic() + 5.0
    while nodes_alive() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not nodes_alive()


def test_the_demo_of_an_untrained_policy_ends_with_no_success_and_no_error(tmp_path):
    told = ("--time-limit-s", "3", "--out", str(tmp_path), "--json", str(tmp_path / "copy.json"))
    process = himoe("demo", "--policy", "himoe_small", *told)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "UNTRAINED" in output.splitlines()[1]
    assert "himoe_small (untrained): pick 0/4  0 % [0, 49]   place 0/4" in output
    told = json.loads((tmp_path / "copy.json").read_text())
    assert told["session"]["simulated"] and told["voids"] == {}
    assert [t["ended"] for t in told["trials"]] == ["timeout"] * 4
    assert {t["instruction"] for t in told["trials"]} == {s.instruction for s in FRUIT.settings.values()}
    with av.open(str(tmp_path / told["trials"][0]["files"]["video"])) as video:
        frames = sum(1 for _ in video.decode(video=0))
        assert (video.streams.video[0].width, video.streams.video[0].height) == (896, 512)
    assert 10 <= frames <= 35  # of 30: a busy machine draws fewer
    assert not nodes_alive()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["up", "spot"], "'spot' is no embodiment.*there are: aloha, xarm7"),
        (["up", "aloha", "--protocol", "xarm7/cup_in_cup"], "'xarm7/cup_in_cup' is none of the aloha's"),
        (["up", "xarm7", "--hardware", "real"], "needs robot_ip"),
        (["up", "xarm7", "--hardware", "cardboard"], "hardware must be sim or real, got 'cardboard'"),
        (["up", "xarm7", "--seed", "many"], "'seed' must be of type int, got 'many'"),
        (["up", "xarm7", "--params-file", "none.yaml"], "none.yaml must be a readable YAML file"),
        (["up", "xarm7", "--policy", "himoe_huge"], "himoe_huge.*himoe_4b, himoe_small,"),
        (["up", "xarm7", "--action-space", "thought"], "'thought' is no action space.*end_effector, joints"),
        (["up", "xarm7", "--image-width", "0"], "width, height and rate_hz must be > 0, got 0"),
        pytest.param(
            ["up", "xarm7", "--hardware", "real", "--robot-ip", "127.9.9.9"],
            "no xArm controller answers at 127.9.9.9",
            marks=pytest.mark.slow,  # it tries for 10 s
        ),
    ],
)
def test_bad_input_is_one_clear_error_and_a_code(arguments, message):
    process = himoe(*arguments)
    output, _ = process.communicate(timeout=40)
    assert process.returncode not in (0, None)
    assert "Traceback" not in output
    assert re.search(message, output), output
    assert not nodes_alive()


@pytest.mark.slow
def test_a_missing_camera_is_named_with_its_topic(tmp_path):
    specs = graph("xarm7", {"out": str(tmp_path)}, trials=True)
    kept = [s for s in specs if s.executable != "sim_cameras"]
    trials = replace(kept[-1], parameters={**kept[-1].parameters, "ready_within_s": 15.0})
    begin = time.monotonic()
    code = run_graph([*kept[:-1], trials], logs=tmp_path / "logs", foreground="nothing")
    assert code == 2
    assert time.monotonic() - begin < 50
    told = (tmp_path / "logs" / "trials.log").read_text()
    assert "no image came on camera/base/image_raw within 15 s" in told
    assert "/policy: nothing received yet from: camera 'base', camera 'left_wrist'" in told


def test_a_drawing_library_that_cannot_be_loaded_is_told_with_the_cure():
    process = himoe("up", "xarm7", env={**os.environ, "MUJOCO_GL": "crayons"})
    output, _ = process.communicate(timeout=40)
    assert process.returncode not in (0, None)
    assert "apt-get install libegl1 libosmesa6 libgl1" in output
    assert "Traceback" not in output


def test_make_says_which_python_it_needs(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo Python 3.9.2 && exit 0\nexit 1\n')
    old.chmod(0o755)
    root = Path(__file__).parents[2]
    shutil.copy(root / "Makefile", tmp_path)
    (tmp_path / "setup.py").touch()
    (tmp_path / "constraints.txt").touch()
    done = subprocess.run(["make", "demo", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "expected Python 3.11, got Python 3.9.2" in done.stderr + done.stdout
    assert not (tmp_path / ".venv").exists()


def test_a_busy_port_is_told_with_address_and_port():
    with socket.create_server(("127.0.0.2", 30001)):
        process = himoe("up", "xarm7")
        output, _ = process.communicate(timeout=40)
    assert process.returncode not in (0, None)
    assert "cannot listen on 127.0.0.2:30001" in output
    assert "Traceback" not in output
