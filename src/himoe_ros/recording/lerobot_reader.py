"""Reads LeRobot datasets (formats v2.1 and v3.0): numbers by episode, pictures at random."""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.errors import RecordingError
from ..core.observation import Floats, Image

VERSIONS = ("v2.1", "v3.0")
OPEN_VIDEOS = 32
PARTS = {"v2.1": ("info.json", "episodes.jsonl", "tasks.jsonl"), "v3.0": ("info.json", "tasks.parquet", "episodes")}


@dataclass(frozen=True)
class EpisodeEntry:
    """Where an episode lies.

    Attributes:
        index: its number.
        length: frames.
        task: the first of its tasks, in words.
        data: Parquet file, which may hold others too.
        videos: feature -> MP4 file, and the s at which the episode begins there.
    """

    index: int
    length: int
    task: str
    data: Path
    videos: Mapping[str, tuple[Path, float]]


class LeRobotData:
    """A dataset folder. Not thread-safe; each process opens its own."""

    def __init__(self, root: Path) -> None:
        """
        Raises:
            RecordingError: no dataset, or one of another version.
        """
        self.root = root
        try:
            info = json.loads((root / "meta" / "info.json").read_text())
            self.version = str(info["codebase_version"])
        except (OSError, ValueError, KeyError) as error:
            raise RecordingError(f"{root} must be a LeRobot dataset with meta/info.json: {error!r}") from error
        if self.version not in VERSIONS:
            raise RecordingError(f"{root} is a dataset of version {self.version}, expected one of {list(VERSIONS)}")
        missing = [name for name in PARTS[self.version] if not (root / "meta" / name).exists()]
        if missing:
            raise RecordingError(f"{root} lacks meta/{', meta/'.join(missing)}; is it downloaded whole?")
        self.fps = float(info["fps"])
        self.robot = info.get("robot_type") or "unknown"
        self.features: dict[str, dict[str, Any]] = info["features"]
        self.cameras = tuple(k for k, f in self.features.items() if f["dtype"] in ("video", "image"))
        self.splits: dict[str, str] = info.get("splits", {})
        read = self._episodes_v3 if self.version == "v3.0" else self._episodes_v21
        try:
            self.episodes: Sequence[EpisodeEntry] = list(read(info))
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise RecordingError(f"{root}: its list of episodes cannot be read: {error!r}") from error
        self._starts = np.cumsum([0, *(e.length for e in self.episodes)])
        self._videos: OrderedDict[Path, Any] = OrderedDict()
        self._pictures: tuple[int, Mapping[str, list[bytes]]] = (-1, {})

    def __len__(self) -> int:
        return int(self._starts[-1])

    def place(self, index: int) -> tuple[int, int]:
        """Frame of the dataset -> place of its episode in `episodes`, and frame of that."""
        episode = int(np.searchsorted(self._starts, index, side="right")) - 1
        return episode, int(index - self._starts[episode])

    def columns(self, episode: int, names: Sequence[str]) -> dict[str, Floats]:
        """Feature -> (T, D) of one episode.

        Raises:
            RecordingError: a feature is not there, or the file is damaged.
        """
        unknown = [name for name in names if name not in self.features]
        if unknown:
            raise RecordingError(f"{self.root} has no features {unknown}; there are {sorted(self.features)}")
        table = self._rows(episode, names)
        return {n: np.array(table[n].to_pylist(), dtype=np.float64).reshape(table.num_rows, -1) for n in names}

    def picture(self, camera: str, episode: int, frame: int) -> Image:
        """(H, W, 3) uint8 RGB of a camera feature at one frame of an episode.

        Raises:
            RecordingError: the picture cannot be read.
        """
        if self.features[camera]["dtype"] == "image":
            return self._stored(camera, episode, frame)
        path, begin = self.episodes[episode].videos[camera]
        try:
            return self._decoded(path, begin + frame / self.fps)
        except (OSError, av.FFmpegError, StopIteration) as error:
            raise RecordingError(f"{path} has no picture at {begin + frame / self.fps:.3f} s: {error!r}") from error

    def pictures(self, camera: str, episode: int) -> Iterator[Image]:
        """(H, W, 3) uint8 RGB of every frame of an episode, in order, each decoded once.

        Raises:
            RecordingError: a picture cannot be read.
        """
        entry = self.episodes[episode]
        if self.features[camera]["dtype"] == "image":
            yield from (self._stored(camera, episode, frame) for frame in range(entry.length))
            return
        path, begin = entry.videos[camera]
        count, half = 0, 0.5 / self.fps
        try:
            with av.open(str(path)) as container:
                stream = container.streams.video[0]
                container.seek(max(0, int((begin - half) / stream.time_base)), stream=stream)
                after = (f for f in container.decode(stream) if f.time > begin - half)
                for frame in islice(after, entry.length):  # others may follow in the file
                    yield frame.to_ndarray(format="rgb24")
                    count += 1
        except (OSError, av.FFmpegError) as error:
            raise RecordingError(f"{path} cannot be decoded: {error!r}") from error
        if count < entry.length:
            raise RecordingError(f"{path} has {count} pictures of episode {entry.index}, expected {entry.length}")

    def _decoded(self, path: Path, time: float) -> Image:
        if path not in self._videos:
            self._videos[path] = av.open(str(path))
            self._videos[path].streams.video[0].thread_count = 1
            if len(self._videos) > OPEN_VIDEOS:
                self._videos.popitem(last=False)[1].close()
        self._videos.move_to_end(path)
        container = self._videos[path]
        stream, half = container.streams.video[0], 0.5 / self.fps
        container.seek(max(0, int((time - half) / stream.time_base)), stream=stream)
        frame = next(f for f in container.decode(stream) if f.time > time - half)
        if abs(frame.time - time) > half:
            raise StopIteration(f"the nearest is at {frame.time:.3f} s")
        return frame.to_ndarray(format="rgb24")

    def _stored(self, camera: str, episode: int, frame: int) -> Image:
        """Of a dataset that keeps pictures among its numbers, as PNG or JPEG; one episode of them is kept."""
        if self._pictures[0] != episode:
            rows = self._rows(episode, [c for c in self.cameras if self.features[c]["dtype"] == "image"])
            kept = {name: [entry["bytes"] for entry in rows[name].to_pylist()] for name in rows.column_names}
            self._pictures = (episode, kept)
        decoded = cv2.imdecode(np.frombuffer(self._pictures[1][camera][frame], np.uint8), cv2.IMREAD_COLOR)
        if decoded is None:
            raise RecordingError(f"{self.episodes[episode].data}: frame {frame} of {camera} cannot be decoded")
        return np.ascontiguousarray(decoded[..., ::-1])

    def _rows(self, episode: int, names: Sequence[str]) -> pa.Table:
        entry = self.episodes[episode]
        try:
            chosen = [("episode_index", "=", entry.index)]
            table = pq.read_table(entry.data, columns=list(names), filters=chosen)
        except (OSError, pa.ArrowException) as error:
            raise RecordingError(f"{entry.data} cannot be read: {error}") from error
        if table.num_rows != entry.length:
            raise RecordingError(
                f"{entry.data} has {table.num_rows} rows of episode {entry.index}, expected {entry.length}"
            )
        return table

    def _episodes_v3(self, info: Mapping[str, Any]) -> Iterator[EpisodeEntry]:
        for path in sorted((self.root / "meta" / "episodes").rglob("*.parquet")):
            names = [n for n in pq.read_schema(path).names if not n.startswith("stats/")]
            for row in pq.read_table(path, columns=names).to_pylist():

                def file(pattern: str, kind: str, key: str = "", row: Mapping[str, Any] = row) -> Path:
                    chunk, number = row[f"{kind}/chunk_index"], row[f"{kind}/file_index"]
                    return self.root / pattern.format(chunk_index=chunk, file_index=number, video_key=key)

                videos = {
                    c: (file(info["video_path"], f"videos/{c}", c), float(row[f"videos/{c}/from_timestamp"]))
                    for c in self.cameras
                    if self.features[c]["dtype"] == "video"
                }
                data = file(info["data_path"], "data")
                yield EpisodeEntry(row["episode_index"], row["length"], row["tasks"][0], data, videos)

    def _episodes_v21(self, info: Mapping[str, Any]) -> Iterator[EpisodeEntry]:
        for line in (self.root / "meta" / "episodes.jsonl").read_text().splitlines():
            row = json.loads(line)
            number = row["episode_index"]
            place = {"episode_index": number, "episode_chunk": number // info["chunks_size"]}
            videos = {
                c: (self.root / info["video_path"].format(video_key=c, **place), 0.0)
                for c in self.cameras
                if self.features[c]["dtype"] == "video"
            }
            data = self.root / info["data_path"].format(**place)
            yield EpisodeEntry(number, row["length"], row["tasks"][0], data, videos)
