"""`himoe sim trials`: a policy folder tried in simulated time, in several processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from himoe_ros.resources import policy_place
from himoe_ros.rollout.policy_trials import Wanted, tried


def himoe(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "himoe_ros.cli", "sim", "trials", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_shipped_policy_is_tried_and_every_trial_told(tmp_path):
    done = himoe(
        *("fruit_to_plate", "--policy", "xarm7_small", "--trials", "1", "--seed", "5", "--time-limit-s", "1.5"),
        *("--json", str(tmp_path / "told.json")),
    )
    assert done.returncode == 0, done.stderr
    assert "pick 0/4  0 % [0, 49]" in done.stdout and "wrong object 0, wrong target 0" in done.stdout
    told = json.loads((tmp_path / "told.json").read_text())
    assert [t["scene"] for t in told["trials"]] == [5, 6, 7, 8] and len({t["setting"] for t in told["trials"]}) == 4
    assert all(t["seconds"] == pytest.approx(1.5, abs=0.02) and not t["place"] for t in told["trials"])


def test_what_comes_of_a_trial_depends_on_its_scene_alone(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    wanted = Wanted("xarm7/fruit_to_plate", policy_place("xarm7_small"), "end_effector", 0.0, 2.0, 64, 0.1)
    one, two = (list(tried(wanted, each=1, seed=40, workers=n)) for n in (1, 2))
    assert one == two and len(one) == 4


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ("fruit_to_plate", "--policy", "xarm7_small", "--latency-s", "-0.1"),
            "expected --latency-s >= 0 and --replan-period-s > 0, got -0.1 and 0.5",
        ),
        (("fruit_to_plate", "--policy", "xarm7_small", "--latency-s", "2"), "expected plans late by less than 1.5 s"),
        (("fruit_to_plate", "--policy", "xarm7_small", "--execution", "slowly"), "execution must be one of"),
        (("fruit_to_plate", "--policy", "nobody"), "expected a policy folder with stats.json, found none"),
        (("juggling", "--policy", "xarm7_small"), "'xarm7/juggling' is no protocol"),
        (("aloha/cup_handover", "--policy", "xarm7_small"), "action space"),
    ],
)
def test_what_cannot_be_tried_is_told(words, error):
    done = himoe(*words)
    assert done.returncode == 2 and error in done.stderr and "Traceback" not in done.stderr
