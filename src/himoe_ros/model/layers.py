"""What every transformer layer is built of: products, norm, rotary positions.

Shapes: B batch, T tokens, I inputs, O outputs, H heads, C head size.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

EPSILON = 1e-6  # of every RMS norm


def gated(gate_up: Tensor, silu: bool) -> Tensor:
    """act(gate) * up of (..., 2 F), gate before up. Gemma's activation is tanh-GELU, that of experts SiLU."""
    gate, up = gate_up.chunk(2, dim=-1)
    return (F.silu(gate) if silu else F.gelu(gate, approximate="tanh")) * up


class RMSNorm(nn.Module):
    """See rms_norm."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return rms_norm(x, self.weight)


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """x / rms(x) * (1 + w), computed in float32, as Gemma does."""
    wide = x.float()
    normed = wide * (wide.square().mean(-1, keepdim=True) + EPSILON).rsqrt()
    return torch.addcmul(normed, normed, weight.float()).to(x.dtype)


# An operator of its own: torch.compile would put it into every kernel that rotates, a fifth of a training step.
@torch.library.custom_op("himoe::rope", mutates_args=())
def rope(position_BT: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary embedding, half-split, base 1e4: two (B, T, 1, C) float32."""
    half = head_dim // 2
    frequency = 1e4 ** (-torch.arange(half, dtype=torch.float32, device=position_BT.device) / half)
    angle = position_BT[:, :, None, None].float() * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


@rope.register_fake
def _(position_BT: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    cos = position_BT.new_empty((*position_BT.shape, 1, head_dim), dtype=torch.float32)
    return cos, torch.empty_like(cos)


def rotate(x_BTHC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, in float32."""
    x = x_BTHC.float()
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).to(x_BTHC.dtype)


def attend(q_BTHC: Tensor, k_BKLC: Tensor, v_BKLC: Tensor, mask: Tensor | None) -> Tensor:
    """Grouped-query attention, (B, T, H C).

    Nothing here is causal, so the query heads that share a key/value head are just more queries of it.

    Args:
        mask: (B or 1, 1, T or 1, L) bool, False where a token (third axis) must not look; None hides nothing.
    """
    b, t, heads, c = q_BTHC.shape
    kv = k_BKLC.shape[1]
    if mask is not None and mask.shape[2] > 1:
        mask = mask.repeat_interleave(heads // kv, dim=2)
    q = q_BTHC.view(b, t, kv, -1, c).transpose(1, 2).reshape(b, kv, -1, c)
    learning = q.requires_grad and q.dtype is torch.bfloat16 and q.device.type == "cpu"
    attention = _attention if learning else F.scaled_dot_product_attention
    out = attention(q, k_BKLC, v_BKLC, attn_mask=mask)
    return out.view(b, kv, t, -1, c).transpose(1, 2).reshape(b, t, -1)


def recomputed(wanted: bool, function: Callable[..., Any], *arguments: Any) -> Any:
    """The function's value; where wanted, what it computes on the way is not kept but computed again for gradients."""
    if wanted and torch.is_grad_enabled():
        return checkpoint(function, *arguments, use_reentrant=False)
    return function(*arguments)


def _attention(q: Tensor, k: Tensor, v: Tensor, attn_mask: Tensor | None) -> Tensor:
    """What torch's fused attention computes, whose gradients in bfloat16 take a CPU five times as long."""
    score = (q @ k.mT).float() * q.shape[-1] ** -0.5
    if attn_mask is not None:
        score = score.masked_fill(~attn_mask, float("-inf"))
    return score.softmax(-1).to(v.dtype) @ v
