"""What the model is given, and what it refuses.

Shapes: B batch, V views, S image size, W words, A = 24 slots.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.errors import ObservationError
from .config import HiMoEConfig

MAX_VIEWS = 3


@dataclass(frozen=True)
class ModelInputs:
    """One batch.

    Attributes:
        images: (B, V, 3, S, S) float in [-1, 1], views in the order base, left wrist, right wrist.
        view_mask: (B, V) bool, False where a view is missing; None if all are there.
        tokens: (B, W) int64.
        token_mask: (B, W) bool, False at padding; None if there is none.
        state: (B, A) float, normalised values, 0 in masked slots.
        data_mask: (B, A) float, 1 in the slots of the action space.
        space: (B,) int64, which action space; read only by the variants that number them.
        state_mask: (B, A) float, 1 in the slots that the state tells of; None for all of the action space.
    """

    images: Tensor
    view_mask: Tensor | None
    tokens: Tensor
    token_mask: Tensor | None
    state: Tensor
    data_mask: Tensor
    space: Tensor | None = None
    state_mask: Tensor | None = None


def check_inputs(inputs: ModelInputs, config: HiMoEConfig) -> None:
    """Refuse inputs that do not fit the model, by what can be told without waiting for a device.

    Raises:
        ObservationError: the first thing that is wrong, with what was expected and what came.
    """
    b, v = inputs.images.shape[:2] if inputs.images.dim() == 5 else (len(inputs.images), 0)
    size, slots, words = config.image_size, config.action_dim, inputs.tokens.shape[-1]
    if not 1 <= v <= MAX_VIEWS:
        raise ObservationError(
            f"{config.name}: images must be (B, V, 3, {size}, {size}) with 1 to {MAX_VIEWS} views, "
            f"got {tuple(inputs.images.shape)}"
        )
    if words > config.max_text_tokens:
        raise ObservationError(
            f"{config.name}: an instruction has at most {config.max_text_tokens} tokens, got {words}; shorten it"
        )
    if config.expert.conditioning != "mask" and inputs.space is None:
        raise ObservationError(f"{config.name} numbers its action spaces; the inputs must say which one")
    expected = {
        "images": ((b, v, 3, size, size), (torch.float32, torch.bfloat16, torch.float16)),
        "view_mask": ((b, v), (torch.bool,)),
        "tokens": ((b, words), (torch.int64,)),
        "token_mask": ((b, words), (torch.bool,)),
        "state": ((b, slots), (torch.float32,)),
        "data_mask": ((b, slots), (torch.float32,)),
        "space": ((b,), (torch.int64,)),
        "state_mask": ((b, slots), (torch.float32,)),
    }
    for name, (shape, kinds) in expected.items():
        tensor = getattr(inputs, name)
        if tensor is not None and (tensor.shape != shape or tensor.dtype not in kinds):
            raise ObservationError(
                f"{config.name}: {name} must be {shape} {' or '.join(map(_name, kinds))}, "
                f"got {tuple(tensor.shape)} {_name(tensor.dtype)}"
            )


def check_values(inputs: ModelInputs, config: HiMoEConfig) -> None:
    """Refuse values that no model can use. On a GPU this waits for the device; call it before they go there.

    Raises:
        ObservationError: what is wrong, and where.
    """
    for name in ("images", "state", "data_mask"):
        bad = (~torch.isfinite(getattr(inputs, name))).nonzero()
        if len(bad):
            raise ObservationError(
                f"{config.name}: {name} must be finite, {len(bad)} values are not, the first at {bad[0].tolist()}"
            )
    low, high = (int(t) for t in inputs.tokens.aminmax()) if inputs.tokens.numel() else (0, 0)
    if low < 0 or high >= config.language.vocab:
        raise ObservationError(
            f"{config.name}: tokens must lie in 0..{config.language.vocab - 1}, got {low}..{high}; "
            "use the tokenizer of this model"
        )


def _name(kind: torch.dtype) -> str:
    return str(kind).removeprefix("torch.")
