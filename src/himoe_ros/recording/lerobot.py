"""Writes a LeRobot dataset (format v3.0): Parquet and MP4, one data file and one video a camera for each episode.

An episode is there whole or not at all, so that an export that was interrupted goes on where it ended.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.embodiment import SLOTS
from ..core.errors import RecordingError
from ..core.observation import Floats, Image
from ..video import VideoFile
from .bag import write_whole
from .frames import Frame

VERSION = "v3.0"
QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
CHUNK = 1000  # files in a folder
# Intra frames every other picture: random access costs two decodes. 4:2:0 limits what a smaller crf could gain.
OPTIONS = {"g": "2", "crf": "18", "preset": "veryfast"}
COUNTERS = ("frame_index", "episode_index", "index", "task_index")
VECTORS = {"observation.state": "state", "action": "action"}
WORLD = "observation.environment_state"  # true places out of a simulator, for training only; NaN where there is none


@dataclass
class EpisodeColumns:
    """The numbers of one episode while it is written.

    Attributes:
        vectors: feature -> list of (24,).
        world: (W,) for each frame.
        pictures: camera feature -> list of (H, W, 3), a few of them, for statistics.
    """

    vectors: dict[str, list[Floats]] = field(default_factory=lambda: {name: [] for name in VECTORS})
    world: list[list[float]] = field(default_factory=list)
    pictures: dict[str, list[Image]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.vectors["action"])


def write_episode(
    root: Path, number: int, task: int, frames: Iterator[Frame], rate_hz: int, world: Sequence[str] = ()
) -> int:
    """Write the data, videos and statistics of one episode; `write_meta` numbers its frames among all others.

    Args:
        root: of the dataset.
        number: of the episode.
        task: its number.
        frames: of the episode; images of one size a camera.
        rate_hz: frames a second.
        world: labels of the true places to keep.

    Returns:
        Number of frames.
    """
    columns, videos = EpisodeColumns(), {}
    for frame in frames:
        for name, attribute in VECTORS.items():
            columns.vectors[name].append(getattr(frame, attribute))
        columns.world.append([frame.world.get(label, np.nan) for label in world])
        for camera, image in frame.observation.images.items():
            key = camera_key(camera)
            if key not in videos:
                videos[key] = VideoFile(root / place(VIDEO, number, key), image, rate_hz, OPTIONS)
                columns.pictures[key] = []
            videos[key].write(image)
            if frame.index % max(rate_hz, 1) == 0:  # one a second is enough for the statistics of pictures
                columns.pictures[key].append(image)
    for video in videos.values():
        video.close()
    _write_data(root / place(DATA, number), columns, number, task, rate_hz)
    shapes = {key: list(images[0].shape) for key, images in columns.pictures.items()}
    about = {"length": len(columns), "task": task, "shapes": shapes, "stats": _statistics(columns)}
    (root / "episodes").mkdir(exist_ok=True)
    write_whole(root / "episodes" / f"{number:06d}.json", json.dumps(about))  # last: it says that the rest is whole
    return len(columns)


def camera_key(camera: str) -> str:
    """Camera name -> feature."""
    return f"observation.images.{camera}"


def place(pattern: str, number: int, key: str = "") -> str:
    """Where an episode's file lies."""
    return pattern.format(chunk_index=number // CHUNK, file_index=number % CHUNK, video_key=key)


def write_meta(
    root: Path,
    robot: str,
    names: Sequence[str],
    tasks: Sequence[str],
    rate_hz: int,
    held_out: int,
    world: Sequence[str] = (),
) -> dict[str, list[Floats]]:
    """Number all frames, and write info.json, stats.json, tasks and episodes from what each episode left behind.

    Args:
        names: of the 24 slots.
        tasks: instructions by task number.
        held_out: how many episodes, the last ones, are not for training.
        world: labels of the true places.

    Returns:
        `observation.state` and `action` -> (T, 24) of each episode.
    """
    episodes = [json.loads(path.read_text()) for path in sorted((root / "episodes").glob("*.json"))]
    vectors = _number_frames(root, [e["length"] for e in episodes])
    cameras = episodes[0]["shapes"]
    for number, episode in enumerate(episodes):
        if episode["shapes"] != cameras:
            raise RecordingError(
                f"episode {number} of {root} has images of {episode['shapes']}, the first one of {cameras}; "
                "export images of different sizes apart"
            )
    (root / "meta").mkdir(exist_ok=True)
    total = sum(e["length"] for e in episodes)
    info = {
        "codebase_version": VERSION,
        "robot_type": robot,
        "total_episodes": len(episodes),
        "total_frames": total,
        "total_tasks": len(tasks),
        "chunks_size": CHUNK,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "fps": rate_hz,
        "splits": _splits(len(episodes), held_out),
        "data_path": DATA,
        "video_path": VIDEO if cameras else None,
        "features": _features(cameras, names, rate_hz, world),
    }
    write_whole(root / "meta" / "info.json", json.dumps(info, indent=1))
    stats = _joined([e["stats"] for e in episodes])
    stats |= {name: _summary(np.vstack(rows)) for name, rows in vectors.items()}  # exact, of all frames together
    write_whole(root / "meta" / "stats.json", json.dumps(stats, indent=1))
    _write_tasks(root / "meta" / "tasks.parquet", tasks)
    _write_episodes(root / "meta" / "episodes" / "chunk-000" / "file-000.parquet", episodes, tasks, rate_hz)
    return vectors


def _number_frames(root: Path, lengths: Sequence[int]) -> dict[str, list[Floats]]:
    """Give every frame its number among all of the dataset; what was numbered before stays."""
    vectors: dict[str, list[Floats]] = {name: [] for name in VECTORS}
    first = 0
    for number, length in enumerate(lengths):
        path = root / place(DATA, number)
        table = pq.read_table(path)
        for name, rows in vectors.items():
            rows.append(table[name].combine_chunks().flatten().to_numpy().reshape(length, SLOTS).astype(np.float64))
        if table["index"][0].as_py() != first:
            column = pa.array(first + np.arange(length), pa.int64())
            numbered = table.set_column(table.schema.get_field_index("index"), "index", column)
            partial = path.with_suffix(".partial")
            pq.write_table(numbered, partial, compression="snappy")
            partial.replace(path)
        first += length
    return vectors


def _splits(episodes: int, held_out: int) -> dict[str, str]:
    kept = episodes - held_out
    return {"train": f"0:{kept}"} | ({"val": f"{kept}:{episodes}"} if held_out else {})


def _features(
    cameras: Mapping[str, Sequence[int]], names: Sequence[str], rate_hz: int, world: Sequence[str]
) -> dict[str, Any]:
    features: dict[str, Any] = {name: {"dtype": "float32", "shape": [SLOTS], "names": list(names)} for name in VECTORS}
    if world:
        features[WORLD] = {"dtype": "float32", "shape": [len(world)], "names": list(world)}
    for key, (height, width, _) in cameras.items():
        video = {
            "video.height": height,
            "video.width": width,
            "video.codec": "h264",
            "video.pix_fmt": "yuv420p",
            "video.is_depth_map": False,
            "video.fps": rate_hz,
            "video.channels": 3,
            "has_audio": False,
        }
        shape, axes = [height, width, 3], ["height", "width", "channels"]
        features[key] = {"dtype": "video", "shape": shape, "names": axes, "info": video}
    features["timestamp"] = {"dtype": "float32", "shape": [1], "names": None}
    return features | {name: {"dtype": "int64", "shape": [1], "names": None} for name in COUNTERS}


def _write_data(path: Path, columns: EpisodeColumns, number: int, task: int, rate_hz: int) -> None:
    length = len(columns)
    vector = pa.list_(pa.float32(), SLOTS)
    table = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(np.float32(rows).ravel()), type=vector)
        for name, rows in columns.vectors.items()
    }
    if columns.world and columns.world[0]:
        kind = pa.list_(pa.float32(), len(columns.world[0]))
        table[WORLD] = pa.FixedSizeListArray.from_arrays(pa.array(np.float32(columns.world).ravel()), type=kind)
    table["timestamp"] = pa.array(np.float32(np.arange(length) / rate_hz))
    counters = (np.arange(length), np.full(length, number), np.arange(length), np.full(length, task))
    table |= {name: pa.array(values, pa.int64()) for name, values in zip(COUNTERS, counters, strict=True)}
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path, compression="snappy")


def _statistics(columns: EpisodeColumns) -> dict[str, dict[str, Any]]:
    """Feature -> its min, max, mean, std, count and quantiles; of pictures in [0, 1], by channel."""
    stats = {name: _summary(np.array(rows)) for name, rows in columns.vectors.items()}
    for key, images in columns.pictures.items():
        pixels = np.stack([image[::4, ::4] for image in images]).reshape(-1, 3) / 255.0
        summary = _summary(pixels)
        stats[key] = {n: v if n == "count" else np.reshape(v, (3, 1, 1)).tolist() for n, v in summary.items()}
        stats[key]["count"] = [len(images)]
    return stats


def _summary(rows: Floats) -> dict[str, Any]:
    told = {"min": rows.min(0), "max": rows.max(0), "mean": rows.mean(0), "std": rows.std(0)}
    told |= {name: np.quantile(rows, share, axis=0) for name, share in QUANTILES.items()}
    return {name: values.tolist() for name, values in told.items()} | {"count": [len(rows)]}


def _joined(parts: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, dict[str, Any]]:
    """Statistics of all episodes together; quantiles of pictures as means weighted by count, as LeRobot joins them."""
    joined = {}
    for feature in parts[0]:
        rows = [{name: np.array(value) for name, value in part[feature].items()} for part in parts]
        counts = np.array([r["count"][0] for r in rows], dtype=float)
        share = counts / counts.sum()
        mean = sum(w * r["mean"] for w, r in zip(share, rows, strict=True))
        square = sum(w * (r["std"] ** 2 + (r["mean"] - mean) ** 2) for w, r in zip(share, rows, strict=True))
        told = {"min": np.min([r["min"] for r in rows], axis=0), "max": np.max([r["max"] for r in rows], axis=0)}
        told |= {"mean": mean, "std": np.sqrt(square)}
        told |= {q: sum(w * r[q] for w, r in zip(share, rows, strict=True)) for q in QUANTILES}
        joined[feature] = {name: values.tolist() for name, values in told.items()} | {"count": [int(counts.sum())]}
    return joined


def _write_tasks(path: Path, tasks: Sequence[str]) -> None:
    """task_index, and the text as the index of a pandas table, which readers of this format expect."""
    index = "__index_level_0__"
    column = {"name": "task_index", "field_name": "task_index", "pandas_type": "int64", "numpy_type": "int64"}
    label = {"name": None, "field_name": index, "pandas_type": "unicode", "numpy_type": "object"}
    text_type = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object"}
    pandas = {
        "index_columns": [index],
        "column_indexes": [{**text_type, "metadata": {"encoding": "UTF-8"}}],
        "columns": [{**column, "metadata": None}, {**label, "metadata": None}],
        "pandas_version": "2.2.0",
    }
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), index: pa.array(tasks, pa.string())})
    pq.write_table(table.replace_schema_metadata({"pandas": json.dumps(pandas)}), path)


def _write_episodes(path: Path, episodes: Sequence[Mapping[str, Any]], tasks: Sequence[str], rate_hz: int) -> None:
    rows, start = [], 0
    for number, episode in enumerate(episodes):
        chunk, file = divmod(number, CHUNK)
        row: dict[str, Any] = {
            "episode_index": number,
            "tasks": [tasks[episode["task"]]],
            "length": episode["length"],
            "data/chunk_index": chunk,
            "data/file_index": file,
            "dataset_from_index": start,
            "dataset_to_index": start + episode["length"],
        }
        for key in episode["shapes"]:
            row |= {f"videos/{key}/chunk_index": chunk, f"videos/{key}/file_index": file}
            row |= {f"videos/{key}/from_timestamp": 0.0, f"videos/{key}/to_timestamp": episode["length"] / rate_hz}
        for feature, stats in episode["stats"].items():
            row |= {f"stats/{feature}/{name}": value for name, value in stats.items()}
        rows.append(row | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0})
        start += episode["length"]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path, compression="snappy")
