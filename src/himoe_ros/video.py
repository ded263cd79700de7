"""Images as H.264 files."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av

from .core.observation import Image

CODEC = "libx264"


class VideoFile:
    """One video being written. Width and height are even, as yuv420p wants them."""

    def __init__(self, path: Path, image: Image, rate_hz: int, options: Mapping[str, str]) -> None:
        """
        Args:
            path: made here, with its folders.
            image: (H, W, 3) uint8 RGB, of the size that all will have.
            rate_hz: frames a second.
            options: of the encoder.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._container = av.open(str(path), "w", options={"movflags": "faststart"})
        self._stream = self._container.add_stream(CODEC, rate=Fraction(rate_hz), options=dict(options))
        self._stream.height, self._stream.width = image.shape[:2]
        self._stream.pix_fmt = "yuv420p"
        self._stream.codec_context.thread_count = 1
        self._rate = rate_hz
        self._next = 0

    def write(self, image: Image, index: int | None = None) -> None:
        """(H, W, 3) uint8 RGB, to be shown `index` periods after the first; one after the last without it."""
        frame = av.VideoFrame.from_ndarray(image, format="rgb24")
        frame.pts = self._next if index is None else index
        frame.time_base = Fraction(1, self._rate)
        self._container.mux(self._stream.encode(frame))
        self._next = frame.pts + 1

    def close(self) -> None:
        """Finish the file."""
        self._container.mux(self._stream.encode())
        self._container.close()
