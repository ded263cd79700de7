"""Images as H.264 files."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .core.observation import Image

CODEC = "libx264"
STREAM_GOP = 10  # packets from one that stands alone to the next


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


class StreamEncoder:
    """Images -> H.264 packets, one for one, so that each can be a message of its own."""

    def __init__(self, image: Image) -> None:
        """`image`: (H, W, 3) uint8 RGB, of the size that all will have; an odd side loses its last row."""
        height, width = image.shape[:2]
        self._codec = av.CodecContext.create(CODEC, "w")
        self._codec.height, self._codec.width = height - height % 2, width - width % 2
        self._codec.pix_fmt, self._codec.time_base = "yuv420p", Fraction(1, 1000)
        self._codec.thread_count = 1
        self._codec.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "18", "g": str(STREAM_GOP)}
        self._count = 0

    def __call__(self, image: Image) -> bytes:
        """One packet, Annex B; every STREAM_GOPth can be decoded without those before."""
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(image[: self._codec.height, : self._codec.width]), format="rgb24"
        )
        frame.pts, frame.time_base = self._count, self._codec.time_base
        self._count += 1
        return b"".join(bytes(packet) for packet in self._codec.encode(frame))


class StreamDecoder:
    """The inverse of StreamEncoder, up to what the codec loses."""

    def __init__(self) -> None:
        self._codec = av.CodecContext.create("h264", "r")
        self._codec.thread_count = 1
        self._codec.flags |= av.codec.context.Flags.low_delay

    def __call__(self, packet: bytes) -> Image | None:
        """(H, W, 3) uint8 RGB; None for a packet that needs one that is not there."""
        try:
            frames = self._codec.decode(av.Packet(packet))
        except av.FFmpegError:
            return None
        return frames[-1].to_ndarray(format="rgb24") if frames else None
