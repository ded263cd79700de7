"""Datasets as training samples: our own, and LeRobot's v2.1 and v3.0 as others write them."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from recording.test_frames import LIMITS, RATE, XARM7, record

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, RecordingError
from himoe_ros.recording.export import Terms, export
from himoe_ros.recording.frames import read_frames
from himoe_ros.recording.lerobot_reader import LeRobotData
from himoe_ros.recording.reader import read_info
from himoe_ros.recording.samples import Samples, load_layout, own_layout, shuffled
from himoe_ros.resources import config

ALOHA = load_embodiment("aloha", config("embodiments"))
JOINTS = ALOHA.action_space("joints")
LAYOUT = config("datasets") / "aloha.yaml"
LENGTHS = (7, 5)


def coarse(picture):
    """Means of 8 x 8 pixels: the pictures are noise, which no codec keeps pixel by pixel."""
    return picture.reshape(6, 8, 8, 8, 3).mean((1, 3))


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A dataset of ours, and the frames that are in it."""
    folder = tmp_path_factory.mktemp("own")
    bags = [record(folder / f"episode_{n:04d}", task=task) for n, task in enumerate(("lift", "place"))]
    export(bags, folder / "data", XARM7, LIMITS, Terms(round(RATE)), lambda progress: None)
    return LeRobotData(folder / "data"), [list(read_frames(read_info(bag), XARM7, LIMITS, RATE)) for bag in bags]


@pytest.mark.parametrize("space", ["end_effector", "joints"])
def test_samples_are_the_frames_in_one_action_space(own, space):
    data, episodes = own
    space = XARM7.action_space(space)
    samples = Samples(data, own_layout(XARM7), space, chunk_steps=4)
    assert len(samples) == sum(map(len, episodes))
    frames = [(n, i) for n, e in enumerate(episodes) for i in range(len(e))]
    for index in shuffled(len(samples), seed=0, epoch=0)[:12]:
        number, i = frames[index]
        episode, sample = episodes[number], samples[index]
        assert sample.instruction == ("lift", "place")[number]
        assert sample.state == pytest.approx(episode[i].state * space.mask, abs=1e-6)
        left = len(episode) - i
        assert sample.valid.tolist() == [k < left for k in range(4)], "nothing beyond the end is to be learned"
        for k in range(min(4, left)):
            assert sample.actions[k] == pytest.approx(episode[i + k].action * space.mask, abs=1e-6)
        shown = coarse(sample.images["base"].astype(float))
        apart = [np.abs(shown - coarse(f.observation.images["base"].astype(float))).mean() for f in episode]
        assert int(np.argmin(apart)) == i
    with pytest.raises(IndexError):
        samples[len(samples)]


def test_a_chunk_goes_by_time_whatever_the_rate_of_the_dataset(own):
    data, episodes = own
    space = XARM7.action_space("joints")
    half = Samples(data, own_layout(XARM7), space, chunk_steps=3, rate_hz=RATE / 2)
    for k, ahead in enumerate((1, 3, 5)):
        assert half[0].actions[k] == pytest.approx(episodes[0][ahead].action * space.mask, abs=1e-6)


def test_a_dataset_slower_than_its_chunks_is_refused_and_taken_as_it_is_by_default(own):
    data, episodes = own
    space = XARM7.action_space("joints")
    with pytest.raises(ConfigError, match="has 10 frames a second, a chunk of 20 Hz needs as many"):
        Samples(data, own_layout(XARM7), space, chunk_steps=3, rate_hz=2 * RATE)
    fast = replace(space, rate_hz=50.0)
    assert Samples(data, own_layout(XARM7), fast, chunk_steps=3)[0].actions[1] == pytest.approx(
        episodes[0][1].action * space.mask, abs=1e-6
    )


def test_every_sample_comes_once_an_epoch_and_in_another_order_in_the_next():
    first, second = shuffled(100, 0, 0), shuffled(100, 0, 1)
    assert sorted(first) == sorted(second) == list(range(100)) and (first != second).any()
    assert (first == shuffled(100, 0, 0)).all()


def values(episode: int, frame: int) -> list[float]:
    return [episode + frame / 100 + column / 10_000 for column in range(14)]


def picture(episode: int, frame: int) -> np.ndarray:
    return np.full((16, 16, 3), (40 * episode, 20 * frame, 200), np.uint8)


def rows(episodes, start: int = 0) -> pa.Table:
    columns: dict[str, list] = {"observation.state": [], "action": [], "episode_index": [], "frame_index": []}
    cameras = [f"observation.images.cam_{name}" for name in ("high", "left_wrist", "right_wrist")]
    columns |= {camera: [] for camera in cameras}
    for episode in episodes:
        for frame in range(LENGTHS[episode]):
            columns["observation.state"].append(values(episode, frame))
            columns["action"].append(values(episode, frame + 1))
            columns["episode_index"].append(episode)
            columns["frame_index"].append(frame)
            _, png = cv2.imencode(".png", picture(episode, frame)[..., ::-1])
            for camera in cameras:
                columns[camera].append({"bytes": png.tobytes(), "path": None})
    return pa.table(columns)


def foreign(root, version: str):
    """A dataset of ALOHA with pictures among its numbers."""
    vector = {"dtype": "float32", "shape": [14], "names": None}
    image = {"dtype": "image", "shape": [16, 16, 3], "names": None}
    features = {"observation.state": vector, "action": vector}
    features |= {f"observation.images.cam_{n}": image for n in ("high", "left_wrist", "right_wrist")}
    info = {"codebase_version": version, "fps": 50, "robot_type": "aloha", "features": features, "chunks_size": 1000}
    (root / "meta/episodes").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    if version == "v2.1":
        info["data_path"] = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
        lines = [json.dumps({"episode_index": n, "tasks": [f"task {n}"], "length": k}) for n, k in enumerate(LENGTHS)]
        (root / "meta/episodes.jsonl").write_text("\n".join(lines))
        (root / "meta/tasks.jsonl").write_text('{"task_index": 0, "task": "task 0"}')
        for n in range(2):
            pq.write_table(rows([n]), root / f"data/chunk-000/episode_{n:06d}.parquet")
    else:
        info["data_path"] = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
        about = [
            {"episode_index": n, "tasks": [f"task {n}"], "length": k, "data/chunk_index": 0, "data/file_index": 0}
            for n, k in enumerate(LENGTHS)
        ]
        (root / "meta/episodes/chunk-000").mkdir()
        pq.write_table(pa.Table.from_pylist(about), root / "meta/episodes/chunk-000/file-000.parquet")
        pq.write_table(pa.table({"task_index": [0]}), root / "meta/tasks.parquet")
        pq.write_table(rows([0, 1]), root / "data/chunk-000/file-000.parquet")
    (root / "meta/info.json").write_text(json.dumps(info))
    return root


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_dataset_of_others_is_read_through_its_description(tmp_path, version):
    data = LeRobotData(foreign(tmp_path / "aloha", version))
    samples = Samples(data, load_layout(LAYOUT, ALOHA, JOINTS), JOINTS, chunk_steps=3)
    assert len(samples) == sum(LENGTHS) and data.fps == 50
    sample = samples[LENGTHS[0] + 1]
    assert sample.instruction == "task 1"
    assert sample.state[8:15] == pytest.approx(values(1, 1)[:7]) and sample.state[16:23] == pytest.approx(
        values(1, 1)[7:]
    )
    assert not sample.state[[*range(8), 15, 23]].any() and sample.mask.sum() == 14
    assert sample.actions[1, 8:15] == pytest.approx(values(1, 3)[:7])
    assert (sample.images["left_wrist"] == picture(1, 1)).all()
    assert samples[len(samples) - 1].valid.tolist() == [True, False, False]


def test_what_does_not_fit_is_told_by_name(tmp_path, own):
    root = foreign(tmp_path / "aloha", "v3.0")
    with pytest.raises(ConfigError, match=r"is for aloha/joints, expected xarm7/joints"):
        load_layout(LAYOUT, XARM7, XARM7.action_space("joints"))
    with pytest.raises(ConfigError, match="has no cameras.*observation.images.base"):
        Samples(LeRobotData(root), own_layout(XARM7), XARM7.action_space("joints"), 3)
    short = yaml.safe_load(LAYOUT.read_text())
    short["state"] = {"feature": "action", "columns": short["state"]["columns"] + ["unused"]}
    (tmp_path / "short.yaml").write_text(yaml.safe_dump(short))
    with pytest.raises(ConfigError, match="'action' has 14 columns, 15 are described"):
        Samples(LeRobotData(root), load_layout(tmp_path / "short.yaml", ALOHA, JOINTS), JOINTS, 3)
    (root / "meta/tasks.parquet").unlink()
    with pytest.raises(RecordingError, match=r"lacks meta/tasks.parquet; is it downloaded whole"):
        LeRobotData(root)
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v1.6"}))
    with pytest.raises(RecordingError, match=r"version v1.6, expected one of \['v2.1', 'v3.0'\]"):
        LeRobotData(root)
    with pytest.raises(RecordingError, match="must be a LeRobot dataset with meta/info.json"):
        LeRobotData(tmp_path)
    cut = LeRobotData(shutil.copytree(own[0].root, tmp_path / "cut"))
    path = cut.episodes[0].data
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(RecordingError, match="cannot be read"):
        Samples(cut, own_layout(XARM7), XARM7.action_space("joints"), 3)[0]
