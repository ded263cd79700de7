"""What evaluation on a CPU calls in place of modules: weights laid out once, not at every call.

Plain callables: at the size of a chunk, what torch.nn.Module does around a call costs as much as a small product.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .layers import EPSILON, RMSNorm


class PackedLinear:
    """x W^T + b. Its `weight` has the shape and dtype of the one it was made of, but no values that can be read."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, gelu: bool = False) -> None:
        """
        Args:
            weight: (O, I), of a dtype that `packs`.
            bias: (O,).
            gelu: whether tanh-GELU follows, which costs least while the product is at hand.
        """
        self._then = ("gelu", [], "tanh") if gelu else ("none", [], "")
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())
        self.bias = None if bias is None else bias.detach()

    def __call__(self, x: Tensor) -> Tensor:
        """(..., I) -> (..., O)."""
        return torch.ops.mkldnn._linear_pointwise.default(x, self.weight, self.bias, *self._then)


class PackedNorm:
    """An RMSNorm as x / sqrt(|x|^2 + D eps) * sqrt(D) (1 + w), of which the last factor is known beforehand."""

    def __init__(self, weight: Tensor) -> None:
        """
        Args:
            weight: (D,).
        """
        width = len(weight)
        self._scale = math.sqrt(width) * (1.0 + weight.detach().float())
        self._least = self._scale.new_full((), math.sqrt(width * EPSILON))

    def __call__(self, x: Tensor) -> Tensor:
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        return (wide / torch.hypot(length, self._least) * self._scale).to(x.dtype)


def packs(weight: Tensor) -> bool:
    """Whether this machine can pack such a weight; not under autocast, of which packed products know nothing."""
    if weight.device.type != "cpu" or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return False
    if torch.is_autocast_enabled("cpu"):
        return False
    return weight.dtype is torch.float32 or (weight.dtype is torch.bfloat16 and multiplies_bfloat16("cpu"))


def multiplies_bfloat16(device: str | torch.device) -> bool:
    """Whether that device does so itself; a CPU without AVX-512 takes many times as long as for float32."""
    if torch.device(device).type != "cpu":
        return True
    own = getattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", None)
    return own is not None and bool(own())


@torch.no_grad()
def pack(module: nn.Module) -> None:
    """Replace every nn.Linear and RMSNorm below a module; one at a time, so that little memory is needed beside."""
    for name, child in list(module.named_children()):
        if type(child) is nn.Linear and packs(child.weight):
            replace(module, name, PackedLinear(child.weight, child.bias))
        elif type(child) is RMSNorm and packs(child.weight):
            replace(module, name, PackedNorm(child.weight))
        else:
            pack(child)


def replace(module: nn.Module, name: str, call: PackedLinear | PackedNorm) -> None:
    """Put a plain callable where a module was."""
    delattr(module, name)
    setattr(module, name, call)
