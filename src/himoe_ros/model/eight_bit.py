"""Routed experts' weights in eight bits: half the memory of bfloat16, and half of what a GPU reads in a flow step.

Every output of every expert has a scale of its own. `int8` rounds weights alone, for CPUs with little memory: they are
made wide again where they are used. `float8` (e4m3) rounds what is multiplied with them too, token by token, and is
multiplied by torch's grouped product on GPUs from Hopper on; a CPU does the same, slowly, to tell what that costs.

Shapes: E experts, O outputs, I inputs, P (token, expert) pairs.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.functional import ScalingType

from ..core.errors import ConfigError

LARGEST = {"int8": 127.0, "float8": torch.finfo(torch.float8_e4m3fn).max}
HOPPER = (9, 0)
TINY = 1e-12  # the scale of nothing but zeros


class EightBit:
    """Stacked weights of experts, which never change: a copy of a model shares them."""

    def __init__(self, weight_EOI: Tensor, kind: str) -> None:
        """
        Args:
            weight_EOI: where they will be multiplied.
            kind: int8 or float8.

        Raises:
            ConfigError: another kind, or one that this device does not multiply.
        """
        if kind not in LARGEST:
            raise ConfigError(f"expert weights must be {' or '.join(LARGEST)}, got '{kind}'")
        cuda = weight_EOI.is_cuda
        if cuda and (kind != "float8" or torch.cuda.get_device_capability(weight_EOI.device) < HOPPER):
            raise ConfigError(f"expert weights in {kind} are for {'CPUs' if kind == 'int8' else 'GPUs from Hopper on'}")
        self._kind, self._dtype = kind, weight_EOI.dtype
        self._values, self._scale_EO = _rounded(weight_EOI, kind)

    def __deepcopy__(self, _memo: object) -> EightBit:
        return self

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, experts: Tensor | slice | int) -> Tensor:
        """(..., O, I) of these experts, what their weights have become, in the dtype that they had."""
        return (self._values[experts].float() * self._scale_EO[experts].unsqueeze(-1)).to(self._dtype)

    def of(self, expert: int, x_PI: Tensor) -> Tensor:
        """(P, I) -> (P, O), one expert's product; on a CPU. Gradients know of rounded weights alone."""
        if self._kind == "float8" and not x_PI.requires_grad:
            rounded, scale_P = _rounded(x_PI, self._kind)
            x_PI = (rounded.float() * scale_P.unsqueeze(-1)).to(x_PI.dtype)
        return F.linear(x_PI, self[expert])

    def by_expert(self, x_PI: Tensor, ends: Tensor) -> Tensor:
        """(P, I) -> (P, O): rows of expert e end at ends[e]; on a GPU. Gradients know of rounded weights alone."""
        if x_PI.requires_grad:
            return F.grouped_mm(x_PI, self[:].mT, offs=ends)
        rounded, scale_P = _rounded(x_PI, self._kind)
        row = ScalingType.RowWise
        return F.scaled_grouped_mm(
            rounded, self._values.mT, scale_P, row, self._scale_EO, row, offs=ends, output_dtype=x_PI.dtype
        )


def _rounded(values: Tensor, kind: str) -> tuple[Tensor, Tensor]:
    """Values in eight bits, and by what each row of the last axis is to be multiplied, float32."""
    wide = values.detach().float()
    scale = (wide.abs().amax(-1) / LARGEST[kind]).clamp(min=TINY)
    scaled = wide / scale.unsqueeze(-1)
    return (scaled.round().to(torch.int8) if kind == "int8" else scaled.to(torch.float8_e4m3fn)), scale
