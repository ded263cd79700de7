"""Robots that are only in datasets: moves add up, what is not told is 0, and the paper's mixture names them all."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from himoe_ros.core.errors import ConfigError
from himoe_ros.recording.data_robots import data_robot
from himoe_ros.recording.lerobot_reader import LeRobotData
from himoe_ros.recording.normalisation import chunk_statistics
from himoe_ros.recording.samples import Samples
from himoe_ros.resources import config
from himoe_ros.training.config import load_training

OPEN_X = config("datasets") / "open_x.yaml"
LENGTH = 40
RNG = np.random.default_rng(3)
MOVES = np.column_stack(
    [RNG.uniform(-1.0, 1.0, (LENGTH, 6)), RNG.integers(0, 2, LENGTH)]
)  # rotations beyond pi in a chunk
STATES = RNG.uniform(-1.0, 1.0, (LENGTH, 8))


def dataset(root: Path, robot: str, fps: float) -> Path:
    """One episode, as the converter writes it."""
    cameras = sorted(data_robot(OPEN_X, robot)[1].cameras.values())
    features = {n: {"dtype": "float32", "shape": [w]} for n, w in (("observation.state", 8), ("action", 7))}
    features |= {camera: {"dtype": "image", "shape": [16, 16, 3]} for camera in cameras}
    info = {"codebase_version": "v2.1", "fps": fps, "robot_type": robot, "features": features, "chunks_size": 1000}
    info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
    (root / "meta").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/episodes.jsonl").write_text(json.dumps({"episode_index": 0, "tasks": ["push"], "length": LENGTH}))
    (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "push"}')
    _, png = cv2.imencode(".png", np.full((16, 16, 3), 90, np.uint8))
    told = {"observation.state": STATES.tolist(), "action": MOVES.tolist(), "episode_index": [0] * LENGTH}
    told |= {
        "frame_index": range(LENGTH),
        **{camera: [{"bytes": png.tobytes(), "path": None}] * LENGTH for camera in cameras},
    }
    pq.write_table(pa.table(told), root / "data/chunk-000/episode_000000.parquet")
    return root


def samples_of(root: Path, robot: str, fps: float, steps: int) -> Samples:
    embodiment, layout = data_robot(OPEN_X, robot)
    space = embodiment.action_space("end_effector")
    return Samples(LeRobotData(dataset(root, robot, fps)), layout, space, steps, space.rate_hz)


@pytest.mark.parametrize(("robot", "fps", "stride"), [("bridge", 5.0, 1), ("viola", 20.0, 2), ("dobbe", 3.0, 1)])
def test_a_chunk_tells_how_far_its_moves_lead_from_where_the_robot_is(tmp_path, robot, fps, stride):
    samples = samples_of(tmp_path / "data", robot, fps, steps=8)
    for frame in (0, 11):
        sample = samples[frame]
        for k in range(8):
            rows = slice(frame, frame + stride * (k + 1))
            assert sample.actions[k, :6] - sample.state[:6] == pytest.approx(MOVES[rows, :6].sum(0), abs=1e-5)
            assert sample.actions[k, 6] == MOVES[rows, 6][-1], "an opening is told as it is"
    assert set(sample.images) == ({"base", "left_wrist"} if robot == "viola" else {"base"})


def test_what_a_state_does_not_tell_is_zero_and_said_to_be_unknown(tmp_path):
    tool = samples_of(tmp_path / "bridge", "bridge", 5.0, 2)[4]
    assert tool.state[:7] == pytest.approx([*STATES[4, :6], STATES[4, 7]]) and not tool.state[7:].any()
    assert (tool.known == tool.mask).all()
    joints = samples_of(tmp_path / "viola", "viola", 20.0, 2)[4]
    assert joints.state[6] == pytest.approx(STATES[4, 7]) and not joints.state[:6].any()
    assert joints.known.nonzero()[0].tolist() == [6] and joints.mask.sum() == 7


def test_statistics_are_of_what_is_learned(tmp_path):
    samples = samples_of(tmp_path / "data", "viola", 20.0, steps=3)
    vectors = samples.vectors(0)
    space = data_robot(OPEN_X, "viola")[0].action_space("end_effector")
    told = chunk_statistics(space, [(vectors.begins, vectors.actions)], 3, samples.stride)
    ahead = [samples[i].actions[2, :6] - samples[i].state[:6] for i in range(LENGTH - 5)]
    assert told["mean"][2, :6] == pytest.approx(np.mean(ahead, axis=0), abs=1e-6)
    assert told["std"][2, :6] == pytest.approx(np.std(ahead, axis=0), abs=1e-6)


def test_the_papers_mixture_names_26_datasets_and_every_robot_that_is_described():
    told = load_training(config("training") / "pretraining.yaml")
    robots = [m.embodiment for m in told.members if m.layout == "open_x.yaml"]
    assert len(told.members) == 26 and sum(m.weight for m in told.members) == pytest.approx(100.0, abs=0.5)
    assert sorted(robots) == sorted(yaml.safe_load(OPEN_X.read_text())["robots"])
    for robot in robots:
        embodiment, layout = data_robot(OPEN_X, robot)
        assert set(layout.cameras) == {c.name for c in embodiment.cameras} <= {"base", "left_wrist"}
        assert (layout.state[1].width, layout.action[1].width) == (8, 7)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("columns: [x, y, z, roll", "columns: [x, x, z, roll", "action.columns: expected a list of different names"),
        ("columns: [x, y, z, roll", "columns: xyz}  # [", "action.columns: expected a list of different names"),
        ("left_wrist: obs", "wirst: obs", "cameras.*wirst"),
        ("rate_hz: 5", "rate_hz: 0", "rate_hz: expected a number > 0"),
    ],
)
def test_a_bad_description_is_told(tmp_path, old, new, words):
    bad = tmp_path / "open_x.yaml"
    bad.write_text(OPEN_X.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=words):
        for robot in yaml.safe_load(bad.read_text())["robots"]:
            data_robot(bad, robot)


def test_a_robot_that_is_not_described_is_told():
    with pytest.raises(ConfigError, match="expected a robot out of fractal, .* got 'spot'"):
        data_robot(OPEN_X, "spot")
    assert data_robot(config("datasets") / "aloha.yaml", "aloha") is None
