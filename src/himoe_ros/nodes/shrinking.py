"""Images as a recorder keeps them: as they came, or compressed on the way to the disk."""

from __future__ import annotations

import array
import zlib
from collections.abc import Callable

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from ..core.errors import ConfigError, ObservationError
from ..recording.check import FROZEN, FROZEN_AFTER
from ..recording.contract import COMPRESSED, IMAGE, IMAGES, Contract
from .conversions import image_array


class ImageShrinker:
    """Serialized sensor_msgs/Image -> serialized CompressedImage; other topics pass."""

    def __init__(self, choice: str, contract: Contract) -> None:
        """
        Args:
            choice: raw, jpeg, png or h264; that of the contract without it.
            contract: which topics are images.
        """
        self.choice = choice or contract.images
        if self.choice not in IMAGES:
            raise ConfigError(f"images must be one of {list(IMAGES)}, got '{choice}'")
        self._quality = contract.jpeg_quality
        self._topics = {s.topic for s in contract.streams if s.type == IMAGE and self.choice != "raw"}
        self._encoders: dict[str, Callable[[np.ndarray], bytes]] = {}
        self._encoder = _video_encoder() if self.choice == "h264" else None
        self._still: dict[str, tuple[int, int, int]] = {}  # checksum of the last picture, equal ones in a row, at most

    def begin(self) -> None:
        """A new bag: its first pictures need nothing from before."""
        self._encoders.clear()
        self._still.clear()

    def remarks(self) -> dict[str, str]:
        """What can no longer be told from the pictures as they are kept: `frozen TOPIC` -> equal ones in a row."""
        return {f"{FROZEN} {topic}": str(most) for topic, (_, _, most) in self._still.items() if most >= FROZEN_AFTER}

    def topic(self, name: str, kind: str) -> tuple[str, str]:
        """Name and type under which a topic is kept."""
        return (f"{name}/compressed", COMPRESSED) if name.lstrip("/").endswith(tuple(self._topics)) else (name, kind)

    def __call__(self, topic: str, data: bytes) -> bytes:
        """What is written of a message; ObservationError where its picture cannot be compressed."""
        if topic not in self._topics:
            return data
        message = deserialize_message(data, Image)
        small = CompressedImage(header=message.header, format=self.choice)
        small.data = array.array("B", self._encoded(topic, message))
        return serialize_message(small)

    def _encoded(self, topic: str, message: Image) -> bytes:
        picture = image_array(message)
        if self.choice == "h264":
            self._look_at(topic, zlib.crc32(message.data))
            if topic not in self._encoders:
                self._encoders[topic] = self._encoder(picture)
            try:
                return self._encoders[topic](picture)
            except (ValueError, OSError) as error:  # as PyAV tells of a picture of another size
                raise ObservationError(f"{topic}: an image cannot be compressed: {error}") from error
        options = [cv2.IMWRITE_JPEG_QUALITY, self._quality] if self.choice == "jpeg" else []
        done, encoded = cv2.imencode(f".{self.choice}", picture[..., ::-1], options)
        if not done:
            raise ObservationError(f"{topic}: a {message.width}x{message.height} image cannot be compressed")
        return encoded.tobytes()

    def _look_at(self, topic: str, checksum: int) -> None:
        """A codec makes equal pictures of nearly equal ones, so a frozen camera is found before it."""
        last, row, most = self._still.get(topic, (None, 0, 0))
        row = row + 1 if checksum == last else 1
        self._still[topic] = (checksum, row, max(most, row))


def _video_encoder() -> Callable[[np.ndarray], Callable[[np.ndarray], bytes]]:
    try:
        from ..video import StreamEncoder  # noqa: PLC0415 - needs PyAV, which not every recorder has
    except ImportError as error:
        raise ConfigError(f"images as h264 need PyAV ({error}): pip install 'himoe_ros[train]'") from error
    return StreamEncoder
