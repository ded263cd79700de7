"""A LeRobot dataset of bags: what is in it, resuming, and what is refused."""

from __future__ import annotations

import json
import shutil

import av
import numpy as np
import pyarrow.parquet as pq
import pytest
from recording.test_frames import LIMITS, RATE, XARM7, record

from himoe_ros.core.errors import RecordingError
from himoe_ros.policy.statistics import Statistics
from himoe_ros.recording import export as exporting
from himoe_ros.recording.export import Terms, export
from himoe_ros.recording.frames import read_frames
from himoe_ros.recording.reader import read_info


@pytest.fixture(scope="module")
def bags(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bags")
    return [record(folder / f"episode_{n:04d}", task=task) for n, task in enumerate(("lift", "place", "lift"))]


def run(bags, out, **terms):
    told = []
    total = export(bags, out, XARM7, LIMITS, Terms(round(RATE), **terms), told.append)
    return total, told


def test_a_dataset_holds_the_frames_of_its_bags(bags, tmp_path):
    total, told = run(bags, tmp_path / "data")
    frames = list(read_frames(read_info(bags[1]), XARM7, LIMITS, RATE))
    info = json.loads((tmp_path / "data/meta/info.json").read_text())
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, total, 2)
    assert [p.frames for p in told] == [len(frames)] * 3
    table = pq.read_table(tmp_path / "data/data/chunk-000/file-001.parquet").to_pydict()
    assert table["index"][0] == len(frames) and table["frame_index"] == list(range(len(frames)))
    assert set(table["task_index"]) == {1} and table["timestamp"][3] == pytest.approx(0.3)
    for name in ("state", "action"):
        column = "observation.state" if name == "state" else name
        assert np.array_equal(np.float32(table[column]), np.float32([getattr(f, name) for f in frames]))
    tasks = pq.read_table(tmp_path / "data/meta/tasks.parquet").to_pydict()
    assert tasks == {"task_index": [0, 1], "__index_level_0__": ["lift", "place"]}
    rows = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [r["dataset_from_index"] for r in rows] == [0, len(frames), 2 * len(frames)]
    assert [r["tasks"] for r in rows] == [["lift"], ["place"], ["lift"]]
    names = info["features"]["action"]["names"]
    assert names[0] == "end_effector.x" and names[8] == "joints.joint1" and names[7] == "unused_7"


def test_videos_show_the_images_frame_by_frame(bags, tmp_path):
    run(bags[:1], tmp_path / "data")
    frames = list(read_frames(read_info(bags[0]), XARM7, LIMITS, RATE))
    path = tmp_path / "data/videos/observation.images.base/chunk-000/file-000.mp4"
    with av.open(str(path)) as container:
        shown = [(f.time, f.to_ndarray(format="rgb24").astype(float)) for f in container.decode(video=0)]
    assert len(shown) == len(frames)
    assert [t for t, _ in shown] == pytest.approx(np.arange(len(frames)) / RATE)
    blurred = [picture.reshape(6, 8, 8, 8, 3).mean((1, 3)) for _, picture in shown]  # noise is what codecs are worst at
    meant = [f.observation.images["base"].reshape(6, 8, 8, 8, 3).mean((1, 3)) for f in frames]
    apart = np.abs(np.array(blurred)[:, None] - np.array(meant)[None]).mean((2, 3, 4))
    assert (apart.argmin(1) == np.arange(len(frames))).all(), "each frame is the picture of its own moment"


def test_statistics_are_those_of_all_frames(bags, tmp_path):
    run(bags, tmp_path / "data")
    stats = json.loads((tmp_path / "data/meta/stats.json").read_text())
    rows = np.vstack([f.action for bag in bags for f in read_frames(read_info(bag), XARM7, LIMITS, RATE)])
    assert stats["action"]["mean"] == pytest.approx(rows.mean(0), abs=1e-6)
    assert stats["action"]["std"] == pytest.approx(rows.std(0), abs=1e-6)
    assert stats["action"]["q01"] == pytest.approx(np.quantile(rows, 0.01, axis=0), abs=1e-6), "exact, not joined"
    assert stats["action"]["count"] == [len(rows)]
    assert 0.4 < np.mean(stats["observation.images.base"]["mean"]) < 0.6


def test_normalisation_is_what_a_policy_folder_keeps(bags, tmp_path):
    """Of training episodes alone, actions relative to the state at their chunk's beginning."""
    run(bags, tmp_path / "data", held_out=0.34, chunk_steps=3)
    frames = [list(read_frames(read_info(bag), XARM7, LIMITS, RATE)) for bag in (bags[0], bags[2])]
    space = XARM7.action_space("joints")
    statistics = Statistics.load(tmp_path / "data/meta/normalisation/joints.json")
    statistics.require(XARM7, space)
    steps = [
        np.where(np.arange(24) == 15, e[i + k].action, e[i + k].action - e[i].state)
        for e in frames
        for k in range(3)
        for i in range(len(e) - k)
    ]
    assert statistics.action.mean[space.slots] == pytest.approx(np.mean(steps, axis=0)[space.slots], abs=1e-6)
    assert statistics.action.q99[space.slots] == pytest.approx(np.quantile(steps, 0.99, axis=0)[space.slots], abs=1e-6)
    assert not statistics.action.mean[:8].any(), "slots of other spaces are not touched"


def test_episodes_are_held_out_evenly_and_come_last(bags, tmp_path):
    run(bags, tmp_path / "data", held_out=0.34)
    info = json.loads((tmp_path / "data/meta/info.json").read_text())
    assert info["splits"] == {"train": "0:2", "val": "2:3"}
    rows = pq.read_table(tmp_path / "data/meta/episodes/chunk-000/file-000.parquet").to_pylist()
    assert [r["tasks"] for r in rows] == [["lift"], ["lift"], ["place"]]
    numbers = [exporting.split([*range(320)], share) for share in (0.1, 0.0)]
    assert [len(held) for _, held in numbers] == [32, 0] and np.diff(numbers[0][1]).max() == 10


def test_what_was_saved_as_a_failure_is_left_out(bags, tmp_path):
    failed = record(tmp_path / "failed", outcome="failure")
    total, told = run([failed, bags[0]], tmp_path / "data")
    assert [p.bag for p in told] == [bags[0]] and total == told[0].frames
    with pytest.raises(RecordingError, match="of 1 bags 1 were saved as failures"):
        run([failed], tmp_path / "none")
    with pytest.raises(RecordingError, match="1 are held out"):
        run(bags[:1], tmp_path / "none", held_out=0.9)


def test_all_that_cannot_be_used_is_told_at_once_and_nothing_is_there(bags, tmp_path):
    blind = [record(tmp_path / f"blind_{n}", blind=(0.8, 1.3)) for n in range(2)]
    for workers in (1, 2):
        with pytest.raises(RecordingError, match=r"(?s)2 of 3 bags cannot be used.*blind_0: .*blind_1: "):
            run([blind[0], bags[0], blind[1]], tmp_path / "data", workers=workers)
        assert not (tmp_path / "data").exists()


def test_workers_write_the_same(bags, tmp_path):
    run(bags, tmp_path / "one")
    run(bags, tmp_path / "two", workers=2)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != "plan.json"}


def test_an_interrupted_export_goes_on_and_comes_out_the_same(bags, tmp_path, monkeypatch):
    run(bags, tmp_path / "whole")
    real, calls = exporting.write_episode, []

    def dying(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(exporting, "write_episode", dying)
    with pytest.raises(KeyboardInterrupt):
        run(bags, tmp_path / "again")
    assert not (tmp_path / "again").exists()
    run(bags, tmp_path / "again")
    assert len(calls) == 4, "the first episode was not written again"
    assert contents(tmp_path / "whole") == contents(tmp_path / "again")


def test_what_is_not_alike_is_refused_by_name(bags, tmp_path):
    with pytest.raises(RecordingError, match="is not complete"):
        run([record(tmp_path / "a", complete="no")], tmp_path / "data")
    with pytest.raises(RecordingError, match="was recorded on aloha, expected xarm7"):
        run([bags[0], record(tmp_path / "b", embodiment="aloha")], tmp_path / "data")
    with pytest.raises(RecordingError, match="has no task"):
        run([record(tmp_path / "c", task="")], tmp_path / "data")
    with pytest.raises(RecordingError, match="another version of config/embodiments/xarm7.yaml"):
        run([bags[0], record(tmp_path / "d", config="other")], tmp_path / "data")
    assert not list(tmp_path.glob("data*"))
    run(bags[:1], tmp_path / "data")
    with pytest.raises(RecordingError, match="exists, and nothing is ever overwritten"):
        run(bags[:1], tmp_path / "data")
    shutil.move(tmp_path / "data", tmp_path / "other.partial")
    with pytest.raises(RecordingError, match="an export of other bags"):
        run(bags[1:], tmp_path / "other")
