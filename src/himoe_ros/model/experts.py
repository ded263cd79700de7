"""Experts of the action expert: a dense MLP, and many small ones side by side.

Shapes: B batch, T tokens, N = B T, D width, E experts, k chosen ones, P = N k pairs, F expert width.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import MoEConfig
from .eight_bit import EightBit
from .layers import gated
from .packed import PackedLinear, packs

SMALL = 1 << 21  # elements of a stacked weight below which all experts run on all tokens
Map = Callable[[Tensor], Tensor]


class DenseMLP(nn.Module):
    """Gated MLP: down(act(gate(x)) * up(x))."""

    def __init__(self, width: int, hidden: int, silu: bool) -> None:
        super().__init__()
        self.gate_up_proj = nn.Linear(width, 2 * hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.silu = silu

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(gated(self.gate_up_proj(x_BTD), self.silu))


@dataclass(frozen=True)
class Routing:
    """Where tokens go.

    Attributes:
        probability: (B, T, E), the router's softmax.
        chosen: (B, T, k) int64, the experts that act.
        weight: (B, T, k), how much each counts.
    """

    probability: Tensor
    chosen: Tensor
    weight: Tensor


class Experts(nn.Module):
    """E gated experts with stacked weights, of which each token hears a few."""

    def __init__(self, width: int, config: MoEConfig, silu: bool = True) -> None:
        super().__init__()
        e, f = config.experts, config.mlp
        self.silu = silu
        self.gate_up_proj = nn.Parameter(torch.empty(e, 2 * f, width))
        self.down_proj = nn.Parameter(torch.empty(e, width, f))
        # How much of each expert a token hears that did not choose it: by `join`, all of the last ones.
        self.register_buffer("unchosen", torch.zeros(e), persistent=False)
        self.packed: list[tuple[Map, Map]] | None = None  # by `arrange`: of each expert
        self.eight: tuple[EightBit, EightBit] | None = None  # by `round`
        self.together: tuple[Map, Map] | None = None  # by `arrange`: of all small experts side by side

    def forward(self, x_BTD: Tensor, routing: Routing) -> Tensor:
        """Sum over the chosen experts of weight * expert(x)."""
        x_ND = x_BTD.flatten(0, 1)
        chosen, weight = routing.chosen.flatten(0, 1), routing.weight.flatten(0, 1).to(x_BTD.dtype)
        run = self._one_by_one if self.packed is not None else self._all if self._small else self._grouped
        return run(x_ND, chosen, weight).view_as(x_BTD)

    def arrange(self) -> None:
        """Pack the weights for a CPU; see HiMoEVLA.arrange."""
        if not packs(self.gate_up_proj):
            return
        if self._small:
            gate_up, down = self._side_by_side()
            self.together = PackedLinear(gate_up), PackedLinear(down)
            return
        pairs = zip(self.gate_up_proj, self.down_proj, strict=True)
        self.packed = [(PackedLinear(gate_up), PackedLinear(down)) for gate_up, down in pairs]
        self._let_go()

    def round(self, kind: str) -> None:
        """Keep the weights in eight bits; see `EightBit`."""
        self.eight = EightBit(self.gate_up_proj, kind), EightBit(self.down_proj, kind)
        if not self.gate_up_proj.is_cuda:
            gate_up, down = self.eight
            self.packed = [(partial(gate_up.of, e), partial(down.of, e)) for e in range(len(gate_up))]
        self._let_go()

    def _let_go(self) -> None:
        """Of the weights, where another copy of them is used."""
        for name in ("gate_up_proj", "down_proj"):
            setattr(self, name, nn.Parameter(getattr(self, name).to("meta"), requires_grad=False))

    @property
    def stacked(self) -> tuple[Tensor | EightBit, Tensor | EightBit]:
        """(E, 2 F, D) and (E, D, F), as they are kept."""
        return self.eight or (self.gate_up_proj, self.down_proj)

    def join(self, shared: DenseMLP) -> bool:
        """On a CPU, take in what every token hears as so many experts more; not where experts run on their own."""
        both = self.gate_up_proj.numel() + shared.gate_up_proj.weight.numel()
        if both > SMALL or not packs(self.gate_up_proj):
            return False
        f = self.down_proj.shape[-1]
        gate_up_2SFD = shared.gate_up_proj.weight.unflatten(0, (2, -1, f))
        down_DSF = shared.down_proj.weight.unflatten(1, (-1, f))
        self.unchosen = torch.cat([self.unchosen, self.unchosen.new_ones(down_DSF.shape[1])])
        self.gate_up_proj = nn.Parameter(torch.cat([self.gate_up_proj, gate_up_2SFD.transpose(0, 1).flatten(1, 2)]))
        self.down_proj = nn.Parameter(torch.cat([self.down_proj, down_DSF.transpose(0, 1)]))
        return True

    @property
    def _small(self) -> bool:
        return self.eight is None and self.gate_up_proj.numel() <= SMALL

    def _all(self, x_ND: Tensor, chosen_NK: Tensor, weight_NK: Tensor) -> Tensor:
        """Run every expert on every token: fewest operations, for experts that fit a cache."""
        experts = len(self.gate_up_proj)
        weight_NE = self.unchosen.to(weight_NK.dtype).expand(len(x_ND), -1).scatter(-1, chosen_NK, weight_NK)
        gate_up, down = self.together or (partial(F.linear, weight=w) for w in self._side_by_side())
        gate_up_NEF = gate_up(x_ND).unflatten(-1, (experts, -1))
        return down((gated(gate_up_NEF, self.silu) * weight_NE.unsqueeze(-1)).flatten(1))

    def _side_by_side(self) -> tuple[Tensor, Tensor]:
        """(2 E F, D) and (D, E F): all experts as one dense MLP."""
        return self.gate_up_proj.flatten(0, 1), self.down_proj.transpose(0, 1).flatten(1)

    def _grouped(self, x_ND: Tensor, chosen_NK: Tensor, weight_NK: Tensor) -> Tensor:
        """Sort the (token, expert) pairs by expert and run each expert on its own: only chosen weights are read,
        and nothing waits for the device."""
        order = chosen_NK.flatten().argsort(stable=True)
        token = order // chosen_NK.shape[1]
        experts = torch.arange(len(self.gate_up_proj), device=x_ND.device)
        ends = (chosen_NK.flatten().unsqueeze(0) <= experts.unsqueeze(1)).sum(1).to(torch.int32)
        gate_up, down = self.stacked
        hidden_PF = gated(_by_expert(x_ND[token], gate_up, ends), self.silu)
        hidden_PF = hidden_PF * weight_NK.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(x_ND).index_add(0, token, _by_expert(hidden_PF, down, ends))

    def _one_by_one(self, x_ND: Tensor, chosen_NK: Tensor, weight_NK: Tensor) -> Tensor:
        """As `_grouped`, with packed or rounded weights: on a CPU a loop waits for nothing."""
        order = chosen_NK.flatten().argsort(stable=True)
        token = order // chosen_NK.shape[1]
        counts = chosen_NK.flatten().bincount(minlength=len(self.packed)).tolist()
        heard = [
            down(gated(gate_up(part), self.silu))
            for part, (gate_up, down) in zip(x_ND[token].split(counts), self.packed, strict=True)
            if len(part)
        ]
        weighted_PD = torch.cat(heard) * weight_NK.flatten()[order].unsqueeze(-1)
        return torch.zeros_like(x_ND).index_add(0, token, weighted_PD)


def _by_expert(x_PI: Tensor, weight_EOI: Tensor | EightBit, ends: Tensor) -> Tensor:
    """(P, O): rows of expert e end at ends[e], and are multiplied with its weight."""
    if isinstance(weight_EOI, EightBit):
        return weight_EOI.by_expert(x_PI, ends)
    return F.grouped_mm(x_PI, weight_EOI.mT.to(x_PI.dtype), offs=ends)  # autocast leaves it alone
