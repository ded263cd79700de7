"""Pictures of a dataset at the size that the model sees, decoded once and then read from a file in any order."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

from ..core.errors import TrainingError
from ..policy.processing import resize_with_pad
from ..recording.lerobot_reader import LeRobotData

TELL_EVERY = 20  # episodes


def kept_pictures(data: LeRobotData, feature: str, size: int) -> np.ndarray:
    """(frames, S, S, 3) uint8, mapped from `cache/` in the dataset's folder, where they are written the first time.

    Raises:
        TrainingError: there is no room for them.
        RecordingError: a video is damaged.
    """
    folder = data.root / "cache"
    path = folder / f"{feature}_{size}.npy"
    if not path.is_file():
        partial = path.with_suffix(f".{os.uname().nodename}.partial")  # other machines may write theirs
        try:
            folder.mkdir(exist_ok=True)
            _require_room(folder, len(data) * size * size * 3)
            kept = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(data), size, size, 3))
            _fill(kept, data, feature, size)
            kept.flush()
            partial.rename(path)
        except OSError as error:
            raise TrainingError(
                f"{partial} cannot be written: {error.strerror}; free space, or cache: false"
            ) from error
    return np.load(path, mmap_mode="r")


def _fill(kept: np.ndarray, data: LeRobotData, feature: str, size: int) -> None:
    at = 0
    for episode in range(len(data.episodes)):
        for image in data.pictures(feature, episode):
            kept[at] = resize_with_pad(image, size)
            at += 1
        if episode % TELL_EVERY == 0 or episode == len(data.episodes) - 1:
            end = "\n" if episode == len(data.episodes) - 1 else ""
            print(f"\r{feature}: {episode + 1}/{len(data.episodes)} episodes at {size} px", end=end, file=sys.stderr)


def _require_room(folder: Path, size: int) -> None:
    left = os.statvfs(folder)
    if left.f_bavail * left.f_frsize < size:
        raise OSError(28, f"{size / 1e9:.1f} GB are needed, {left.f_bavail * left.f_frsize / 1e9:.1f} GB are free")
