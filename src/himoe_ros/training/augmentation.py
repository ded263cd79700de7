"""What is changed at random in a picture: colours in every view, the frame where the camera is not on a wrist."""

from __future__ import annotations

import cv2
import numpy as np

from ..core.observation import Image


def recoloured(image: Image, rng: np.random.Generator, most: float) -> Image:
    """Other brightness, contrast and saturation, each by the share `most` at most; all three are one linear map."""
    light, contrast, saturation = 1.0 + rng.uniform(-most, most, 3)
    grey = np.full((3, 3), (1.0 - saturation) / 3.0)
    colours = contrast * light * (saturation * np.eye(3) + grey)
    middle = (1.0 - contrast) * light * image.mean()
    return cv2.transform(image, np.column_stack([colours, np.full(3, middle)]))


def reframed(image: Image, rng: np.random.Generator, crop: float, rotate: float) -> Image:
    """A part of a square picture, turned, at the picture's size.

    Args:
        image: (S, S, 3).
        crop: share of the side that is cut away, at a random place.
        rotate: rad, at most, either way.
    """
    side = image.shape[0]
    left, upper = rng.uniform(0.0, crop * side, 2)
    zoom = 1.0 / (1.0 - crop)
    turned = cv2.getRotationMatrix2D((side / 2, side / 2), np.degrees(rng.uniform(-rotate, rotate)), 1.0)
    turned[:, :2] *= zoom
    turned[:, 2] = zoom * (turned[:, 2] - (left, upper))
    return cv2.warpAffine(image, turned, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
