"""Products with the weights of linear maps, (O, I) as torch stores them.

Shapes: B batch, T tokens, I inputs, O outputs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# A CPU first packs the right operand of a product. For few tokens that costs more than the product itself, and a
# large weight had better stand on the left; in float32 arithmetic takes over sooner.
LARGE = 1 << 18  # elements of a weight
FEW = {torch.float32: 16, torch.bfloat16: 64}  # rows


def project(x_BTI: Tensor, weight: Tensor) -> Tensor:
    """x W^T.

    Args:
        x_BTI: (B, T, I).
        weight: (O, I), or (B, O, I) where each sample has its own.

    Returns:
        (B, T, O).
    """
    b, t, _ = x_BTI.shape
    if weight.dim() == 3:
        if b > 1:
            return torch.bmm(x_BTI, weight.mT)
        weight = weight[0]
    if weight.numel() >= LARGE and left(weight, b * t):
        return (weight @ x_BTI.flatten(0, 1).mT).mT.unflatten(0, (b, t))
    return F.linear(x_BTI, weight)


def left(weight: Tensor, rows: int) -> bool:
    """Whether a large weight had better be the left operand of its product with so many rows."""
    return weight.device.type == "cpu" and rows <= FEW.get(weight.dtype, 0)


def gated(gate_up: Tensor, silu: bool) -> Tensor:
    """act(gate) * up of (..., 2 F), gate before up. Gemma's activation is tanh-GELU, that of experts SiLU."""
    gate, up = gate_up.chunk(2, dim=-1)
    return (F.silu(gate) if silu else F.gelu(gate, approximate="tanh")) * up
