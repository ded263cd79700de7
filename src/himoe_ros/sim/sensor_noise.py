"""A sensor is never quite still: noise on rendered images, as cheap as an addition."""

from __future__ import annotations

import numpy as np

from ..core.observation import Image

LEVELS = 2  # at most so many of 255
PICTURES = 8  # of noise, which take turns


class SensorNoise:
    """Adds noise to images of one size."""

    def __init__(self, height: int, width: int) -> None:
        shape = (PICTURES, height, width, 3)
        self._noise = np.random.default_rng(0).integers(-LEVELS, LEVELS + 1, shape, dtype=np.int8)
        self._count = 0

    def __call__(self, image: Image) -> Image:
        """(H, W, 3) uint8 -> the same with noise, a new array."""
        noise = self._noise[self._count % PICTURES]
        self._count += 1
        return np.clip(image + noise.astype(np.int16), 0, 255).astype(np.uint8)
