"""How a session of trials is told and filmed."""

from __future__ import annotations

import json

import av
import numpy as np

from himoe_ros.trials.results import TrialResult, save, table
from himoe_ros.trials.video import VideoWriter, compose

RESULTS = [
    TrialResult(
        0, "Pick up the apple and place it onto the blue plate", 3, {"pick": True, "place": True}, "success", 9.1
    ),
    TrialResult(
        1,
        "Pick up the orange and place it onto the pink plate",
        4,
        {"pick": True, "place": False},
        "timeout",
        20.0,
        "wrong plate",
    ),
]


def test_the_table_shows_every_trial_and_every_rate():
    lines = table(RESULTS, "some policy").splitlines()
    assert lines[0] == "policy: some policy"
    assert "success" in lines[2]
    assert lines[3].endswith("wrong plate")
    assert lines[-1] == "in simulation: pick 2/2, place 1/2"


def test_results_are_written_whole_and_say_that_they_are_simulated(tmp_path):
    save(RESULTS, "some policy", tmp_path / "results.json")
    data = json.loads((tmp_path / "results.json").read_text())
    assert data["simulated"] is True
    assert data["policy"] == "some policy"
    assert [t["stages"] for t in data["trials"]] == [r.stages for r in RESULTS]
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


def test_a_video_keeps_time_and_shows_both_views(tmp_path):
    red, blue = np.zeros((2, 224, 224, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    frame = compose([red, blue], "Pick up the apple", "trial 1")
    assert frame.shape == (512, 896, 3)
    assert tuple(frame[300, 200]) == (255, 0, 0)
    assert tuple(frame[300, 700]) == (0, 0, 255)
    assert frame[:64].max() > 200, "the instruction stands above the views"
    writer = VideoWriter(tmp_path / "v.mp4", fps=10)
    for i in range(21):
        writer.add(frame, 50.0 + i * 0.1)
    writer.add(frame, 52.01)
    writer.close()
    with av.open(str(tmp_path / "v.mp4")) as video:
        assert sum(1 for _ in video.decode(video=0)) == 21
        assert abs(video.duration / 1e6 - 2.1) < 0.11
