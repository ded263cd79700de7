"""Linear maps for evaluation on a CPU: weights laid out once as oneDNN multiplies them, not at every product."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST = 1 << 17  # elements: smaller products in float32 take less time as they are


class PackedLinear(nn.Module):
    """x W^T + b. Its `weight` has the shape and dtype of the one it was made of, but no values that can be read."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        """
        Args:
            weight: (O, I), of a dtype that `packs`.
            bias: (O,).
        """
        super().__init__()
        packed = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.weight = nn.Parameter(packed, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return torch.ops.mkldnn._linear_pointwise(x, self.weight, self.bias, "none", [], "")


def packs(weight: Tensor) -> bool:
    """Whether this machine can pack such a weight, and gains by it."""
    if weight.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if weight.dtype is torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return weight.dtype is torch.float32 and weight.numel() >= SMALLEST


@torch.no_grad()
def pack_linears(module: nn.Module) -> None:
    """Replace every nn.Linear below a module; one at a time, so that little memory is needed beside the weights."""
    for name, child in module.named_children():
        if type(child) is nn.Linear and packs(child.weight):
            setattr(module, name, PackedLinear(child.weight, child.bias))
        else:
            pack_linears(child)
