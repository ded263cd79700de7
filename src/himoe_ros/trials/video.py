"""An MP4 of what the policy saw, with the instruction written over it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ..core.observation import Image
from ..video import VideoFile

VIEW_PX = 448  # height of each view in the video
STRIP_PX = 64
TEXT, QUIET = (240, 240, 240), (170, 170, 170)


def compose(views: Sequence[Image], title: str, subtitle: str) -> Image:
    """Views side by side under two lines of text -> (64 + 448, W, 3) uint8 RGB, sides even."""
    scaled = []
    for view in views:
        width = 2 * round(view.shape[1] * VIEW_PX / view.shape[0] / 2)
        scaled.append(cv2.resize(view, (width, VIEW_PX), interpolation=cv2.INTER_LINEAR))
    body = np.hstack(scaled)
    strip = np.full((STRIP_PX, body.shape[1], 3), 24, np.uint8)
    for text, y, size, colour in ((title, 27, 0.62, TEXT), (subtitle, 52, 0.5, QUIET)):
        cv2.putText(strip, text, (12, y), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
    return np.vstack([strip, body])


class VideoWriter:
    """Frames with their times -> an H.264 MP4."""

    def __init__(self, path: Path, fps: int) -> None:
        self._path, self._fps = path, fps
        self._file: VideoFile | None = None
        self._start = 0.0
        self._last = -1

    def add(self, frame: Image, time: float) -> None:
        """Append (H, W, 3) uint8 RGB as seen at `time`, s; frames closer than 1/fps are left out."""
        if self._file is None:
            self._start, self._file = time, VideoFile(self._path, frame, self._fps, {"preset": "veryfast"})
        index = round((time - self._start) * self._fps)
        if index > self._last:
            self._file.write(frame, index)
            self._last = index

    def close(self) -> None:
        """Finish the file; there is none where nothing was added."""
        if self._file is not None:
            self._file.close()
