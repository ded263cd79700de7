"""Images as a recorder keeps them: as they came, or compressed on the way to the disk."""

from __future__ import annotations

import array
from collections.abc import Callable

import cv2
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import CompressedImage, Image

from ..core.errors import ConfigError, ObservationError
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

    def begin(self) -> None:
        """A new bag: its first pictures need nothing from before."""
        self._encoders.clear()

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


def _video_encoder() -> Callable[[np.ndarray], Callable[[np.ndarray], bytes]]:
    try:
        from ..video import StreamEncoder  # noqa: PLC0415 - needs PyAV, which not every recorder has
    except ImportError as error:
        raise ConfigError(f"images as h264 need PyAV ({error}): pip install 'himoe_ros[train]'") from error
    return StreamEncoder
