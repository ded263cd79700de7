"""Observation -> model inputs, and model outputs -> ActionChunk.

Small steps, each usable alone; training calls the same ones, so what a policy was trained on and
what it sees live are built by one function.
"""

from __future__ import annotations

import cv2
import numpy as np
from torch import Tensor

from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ObservationError
from ..core.observation import ActionChunk, Floats, Image, Observation
from ..core.unified import difference
from .statistics import Normalizer


def require_cameras(embodiment: Embodiment, observation: Observation) -> None:
    """Raise ObservationError where an image of the embodiment's cameras is missing."""
    missing = [c.name for c in embodiment.cameras if c.name not in observation.images]
    if missing:
        raise ObservationError(f"the observation lacks camera {missing}, it has {sorted(observation.images)}")


def resize_with_pad(image: Image, size: int) -> Image:
    """(H, W, 3) -> (size, size, 3): aspect kept, black bars around, as in the released model."""
    height, width = image.shape[:2]
    if (height, width) == (size, size):
        return image
    scale = size / max(height, width)
    h, w = max(1, round(height * scale)), max(1, round(width * scale))
    shrunk = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    top, left = (size - h) // 2, (size - w) // 2
    return np.asarray(
        cv2.copyMakeBorder(shrunk, top, size - h - top, left, size - w - left, cv2.BORDER_CONSTANT), dtype=np.uint8
    )


def model_image(image: Image, size: int) -> np.ndarray:
    """(H, W, 3) uint8 -> (3, size, size) float32 in [-1, 1]."""
    resized = resize_with_pad(image, size)
    return np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1.0


def scale_pixels(images: Tensor) -> Tensor:
    """The second half of `model_image` for a batch: (..., S, S, 3) uint8 -> (..., 3, S, S) float32 in [-1, 1]."""
    return images.movedim(-1, -3).float() / 127.5 - 1.0


def model_state(values: Floats, mask: Floats, normalizer: Normalizer) -> np.ndarray:
    """(24,) unified values -> (24,) float32 normalised, 0 in masked slots."""
    return (normalizer.normalize(values) * mask).astype(np.float32)


def model_actions(space: ActionSpace, targets: Floats, state: Floats, normalizer: Normalizer) -> np.ndarray:
    """Absolute targets (T, 24) -> normalised actions (T, 24) float32, relative to the state in delta slots."""
    origin = np.zeros_like(state)
    origin[space.slots[space.delta]] = state[space.slots[space.delta]]
    actions = normalizer.normalize(difference(space, targets, origin))
    return (actions * space.mask).astype(np.float32)


def robot_targets(space: ActionSpace, actions: np.ndarray, state: Floats, normalizer: Normalizer) -> Floats:
    """The inverse of `model_actions`: normalised actions (T, 24) -> absolute targets (T, N), `space.names`."""
    restored = normalizer.restore(actions.astype(np.float64))[:, space.slots]
    return restored + np.where(space.delta, state[space.slots], 0.0)


def action_chunk(space: ActionSpace, targets: Floats, stamp: float) -> ActionChunk:
    """Targets (T, N) one step of the action space apart, the first one step after `stamp`."""
    return ActionChunk(stamp, space.names, targets, step_times(space, len(targets)))


def step_times(space: ActionSpace, steps: int) -> Floats:
    """(T,) s after an observation, at which a model's steps stand."""
    return np.arange(1, steps + 1) / space.rate_hz
