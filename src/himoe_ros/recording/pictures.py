"""Pictures out of recorded messages, however the recorder kept them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..core.errors import ObservationError
from ..core.messages import image_array
from ..core.observation import Image

if TYPE_CHECKING:
    from ..video import StreamDecoder


class PictureReader:
    """Reads the messages of one bag, in order: a video's pictures need those before."""

    def __init__(self) -> None:
        self._decoders: dict[str, StreamDecoder] = {}

    def __call__(self, topic: str, body: Any) -> Image:
        """(H, W, 3) uint8 RGB of a sensor_msgs/Image or CompressedImage; ObservationError where there is none."""
        if not hasattr(body, "format"):
            return image_array(body)
        decoded = self._video(topic, body) if body.format == "h264" else _still(body)
        if decoded is None:
            raise ObservationError(f"{topic}: a picture of format '{body.format}' cannot be decoded")
        return decoded

    def _video(self, topic: str, body: Any) -> Image | None:
        if topic not in self._decoders:
            from ..video import StreamDecoder  # noqa: PLC0415 - needs PyAV

            self._decoders[topic] = StreamDecoder()
        return self._decoders[topic](bytes(body.data))


def _still(body: Any) -> Image | None:
    decoded = cv2.imdecode(np.frombuffer(body.data, np.uint8), cv2.IMREAD_COLOR)
    return None if decoded is None else np.ascontiguousarray(decoded[..., ::-1])
