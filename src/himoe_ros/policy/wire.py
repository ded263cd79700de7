"""Observations and action chunks as openpi's clients and servers write them: msgpack maps with numpy arrays.

Keys are those of the HiMoE release's clients. Nothing that arrives is trusted: only numbers and texts are unpacked.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import msgpack
import numpy as np

from ..core.committed import Committed
from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ConfigError, ObservationError
from ..core.observation import ActionChunk, Observation
from ..core.unified import decode_state, scatter
from .processing import action_chunk

IMAGES = {  # view of the model -> key
    "base_0_rgb": "observation/image",
    "left_wrist_0_rgb": "observation/wrist_image",
    "right_wrist_0_rgb": "observation/wrist_image2",
}
STATE, PROMPT, ACTIONS = "observation/state", "prompt", "actions"
COMMITTED = "himoe/committed"  # ours: what the plan should agree with
DTYPES = {np.dtype(t).str: np.dtype(t) for t in ("u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "?")}
LARGEST_SIDE = 4096  # px, of an image
LONGEST_PROMPT = 2000  # characters
LONGEST_PLAN = 1000  # steps


def pack(value: Mapping[str, Any]) -> bytes:
    """A map with arrays and numbers of numpy in it."""
    return msgpack.packb(value, default=_packed)


def unpack(data: bytes) -> dict[str, Any]:
    """The inverse of `pack`.

    Raises:
        ObservationError: it is no such map.
    """
    try:
        value = msgpack.unpackb(data, object_hook=_unpacked, strict_map_key=False)
    except (ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ObservationError(f"expected a msgpack map with numpy arrays, this cannot be read: {reason}") from error
    if not isinstance(value, dict):
        raise ObservationError(f"expected a msgpack map, got {type(value).__name__}")
    return value


def request(
    embodiment: Embodiment,
    values: np.ndarray,
    observation: Observation,
    jpeg: int = 0,
    committed: Committed | None = None,
) -> dict[str, Any]:
    """What a client sends.

    Args:
        values: (N,) state in the order of the action space.
        observation: with every camera of the embodiment.
        jpeg: quality of the images, 1 to 100; 0 sends them as they are.
        committed: see Policy.act; told in s after the observation.
    """
    told: dict[str, Any] = {STATE: values.astype(np.float32), PROMPT: observation.instruction}
    for camera in embodiment.cameras:
        image = observation.images[camera.name]
        told[IMAGES[camera.view]] = _jpeg(image, jpeg) if jpeg else image
    if committed is not None:
        plan = committed.plan
        told[COMMITTED] = {
            "values": plan.values,
            "times": plan.stamp + plan.times - observation.stamp,
            "until": committed.until - observation.stamp,
        }
    return told


def observation_of(told: Mapping[str, Any], embodiment: Embodiment, space: ActionSpace) -> Observation:
    """What a client has seen.

    Args:
        told: images (H, W, 3) uint8 or JPEG bytes; the state, (N,) in the order of the action space or (24,) unified,
            m, rad, opening; and the prompt.

    Raises:
        ObservationError: a key is missing, or a value is of another kind or shape.
    """
    keys = [*(IMAGES[c.view] for c in embodiment.cameras), STATE, PROMPT]
    if missing := [key for key in keys if key not in told]:
        raise ObservationError(f"expected the keys {keys}, missing are {missing}, got {sorted(map(str, told))[:20]}")
    images = {c.name: _image(told[IMAGES[c.view]], IMAGES[c.view]) for c in embodiment.cameras}
    prompt = told[PROMPT]
    if not isinstance(prompt, str) or not 0 < len(prompt) <= LONGEST_PROMPT:
        raise ObservationError(f"{PROMPT}: expected a text of 1 to {LONGEST_PROMPT} characters, got {_kind(prompt)}")
    state = decode_state(embodiment, space, _state(told[STATE], space))
    return Observation(0.0, images, state, prompt)


def committed_of(told: Mapping[str, Any], space: ActionSpace) -> Committed | None:
    """What a client's robot goes on doing, by the clock of `observation_of`; None where nothing is told.

    Raises:
        ObservationError: it is no plan of the action space that lasts longer than until the next one.
    """
    if COMMITTED not in told:
        return None
    given = told[COMMITTED] if isinstance(told[COMMITTED], dict) else {}
    values, times, until = given.get("values"), given.get("times"), given.get("until")
    n = len(space.names)
    arrays = all(isinstance(a, np.ndarray) and a.dtype.kind == "f" and np.isfinite(a).all() for a in (values, times))
    shapes = arrays and times.ndim == 1 and 0 < len(times) <= LONGEST_PLAN and values.shape == (len(times), n)
    if not shapes or not isinstance(until, float) or not np.all(np.diff(times) > 0) or not until < times[-1]:
        raise ObservationError(
            f"{COMMITTED}: expected a map of values (T, {n}), increasing times (T,) in s after the observation, and "
            f"until, s before the last of them; at most {LONGEST_PLAN} steps"
        )
    plan = ActionChunk(0.0, space.names, values.astype(np.float64), times.astype(np.float64))
    return Committed(plan, until)


def chunk_of(told: Mapping[str, Any], space: ActionSpace, stamp: float) -> ActionChunk:
    """A server's answer: absolute targets, a step of the action space apart.

    Raises:
        ObservationError: it holds no actions of the action space.
    """
    values = told.get(ACTIONS)
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind != "f" or not len(values):
        raise ObservationError(f"expected '{ACTIONS}' (T, {len(space.names)}) from the server, got {_kind(values)}")
    if values.shape[1] < len(space.names):
        raise ObservationError(
            f"expected {len(space.names)} values a step, {', '.join(space.names)}, the server sent {values.shape[1]}"
        )
    return action_chunk(space, values[:, : len(space.names)].astype(np.float64), stamp)


def read_token(file: str | Path) -> str:
    """What both sides must know; "" without a file.

    Raises:
        ConfigError: it cannot be read, or is empty.
    """
    if not str(file):
        return ""
    try:
        token = Path(file).read_text().strip()
    except OSError as error:
        raise ConfigError(f"expected a file with a token, {file} cannot be read: {error.strerror}") from error
    if not token:
        raise ConfigError(f"{file} is empty; write a token into it, such as that of: openssl rand -hex 32")
    return token


def _packed(value: Any) -> Any:
    if isinstance(value, np.ndarray) and value.dtype.str in DTYPES:
        return {b"__ndarray__": True, b"data": value.tobytes(), b"dtype": value.dtype.str, b"shape": value.shape}
    if isinstance(value, np.generic) and value.dtype.str in DTYPES:
        return value.item()
    raise TypeError(f"expected numbers, texts and arrays of numbers, got {_kind(value)}")


def _unpacked(value: dict) -> Any:
    if b"__ndarray__" in value:
        return _array(value.get(b"data"), value.get(b"dtype"), value.get(b"shape"))
    if b"__npgeneric__" in value:
        number = value.get(b"data")
        if not isinstance(number, int | float):
            raise ValueError(f"expected a number, got {_kind(number)}")
        return number
    return value


def _array(data: Any, dtype: Any, shape: Any) -> np.ndarray:
    if dtype not in DTYPES:
        raise ValueError(f"expected an array of {', '.join(DTYPES)}, got {str(dtype)[:20]!r}")
    sizes = isinstance(shape, list | tuple) and len(shape) <= 8 and all(type(n) is int and n >= 0 for n in shape)
    if not sizes or not isinstance(data, bytes) or math.prod(shape) * DTYPES[dtype].itemsize != len(data):
        raise ValueError("expected an array whose data have the size of its shape")
    return np.frombuffer(data, DTYPES[dtype]).reshape(shape)


def _image(value: Any, key: str) -> np.ndarray:
    if isinstance(value, bytes):
        value = _decoded(value)
    good = isinstance(value, np.ndarray) and value.dtype == np.uint8 and value.ndim == 3 and value.shape[2] == 3
    if not good or not min(value.shape) > 0 or max(value.shape) > LARGEST_SIDE:
        raise ObservationError(
            f"{key}: expected (H, W, 3) uint8 of at most {LARGEST_SIDE} px, or JPEG bytes, got {_kind(value)}"
        )
    return value


def _jpeg(image: np.ndarray, quality: int) -> bytes:
    _, data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])
    return data.tobytes()


def _decoded(data: bytes) -> np.ndarray | None:
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        return None
    return None if image is None else np.ascontiguousarray(image[..., ::-1])


def _state(value: Any, space: ActionSpace) -> np.ndarray:
    """(24,) unified values."""
    numbers = isinstance(value, np.ndarray) and value.dtype.kind in "fiu" and value.ndim == 1
    if not numbers or value.shape[0] not in (len(space.names), len(space.mask)) or not np.isfinite(value).all():
        raise ObservationError(
            f"{STATE}: expected finite numbers, {len(space.names)} in the order {', '.join(space.names)} or the "
            f"{len(space.mask)} unified ones, got {_kind(value)}"
        )
    wide = value.astype(np.float64)
    return wide * space.mask if len(wide) == len(space.mask) else scatter(space, list(wide))


def _kind(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {value.shape} of {value.dtype}"
    return f"{type(value).__name__} of {len(value)}" if isinstance(value, str | bytes) else type(value).__name__
