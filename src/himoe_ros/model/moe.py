"""The feed-forward parts of the action expert: dense, AS-MoE, HB-MoE (paper, section 3.2.2), and AdaMoE.

Shapes: B batch, T tokens, N = B T, D width, E experts, k chosen ones, P = N k pairs, F expert width,
A slots of the data mask.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import AdaConfig, MoEConfig
from .eight_bit import EightBit
from .layers import gated
from .packed import PackedLinear, packs

SMALL = 1 << 21  # elements of a stacked weight below which all experts run on all tokens
ROUTER_STD = 0.006  # of a router that begins nearly indifferent (AdaMoE, released default)
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
        together = self._small and self.eight is None
        run = self._one_by_one if self.packed is not None else self._all if together else self._grouped
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
        return self.gate_up_proj.numel() <= SMALL

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
    return F.grouped_mm(x_PI, weight_EOI.mT, offs=ends)


class Router(nn.Module):
    """softmax(W x) over experts, the k best kept (paper, section 4, implementation details).

    Kept weights are renormalised to sum 1 for k > 1; a single winner keeps its raw probability, as in
    the released code.
    """

    def __init__(self, inputs: int, config: MoEConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.experts, inputs))
        self.top_k = config.top_k

    def forward(self, x_BTI: Tensor) -> Routing:
        probability = F.linear(x_BTI.float(), self.weight.float()).softmax(-1)
        best, chosen = probability.topk(self.top_k, dim=-1)
        if self.top_k > 1:
            best = best / (best.sum(-1, keepdim=True) + 1e-20)
        return Routing(probability, chosen, best)


@dataclass(frozen=True)
class Chosen:
    """The action-space experts of each sample as one dense MLP, their weight in the routing multiplied in.

    Attributes:
        probability: (B, 1, E), the router's softmax.
        gate_up: (B, T, D) -> (B, T, 2 k F).
        down: (B, T, k F) -> (B, T, D).
    """

    probability: Tensor
    gate_up: Map
    down: Map


def _own_linear(weight_BOI: Tensor) -> Map:
    """(B, T, I) -> (B, T, O), each sample with its own weight."""
    if len(weight_BOI) == 1 and packs(weight_BOI):
        return PackedLinear(weight_BOI[0])
    return lambda x_BTI: torch.bmm(x_BTI, weight_BOI.mT)


class ActionSpaceMoE(nn.Module):
    """AS-MoE: the data mask alone chooses the expert, so one action space meets one expert."""

    def __init__(self, width: int, slots: int, config: MoEConfig) -> None:
        super().__init__()
        self.gate = Router(slots, config)
        self.experts = Experts(width, config)

    def route(self, mask_BA: Tensor) -> Routing:
        """The choice for all tokens of a sample, (B, 1, ...); it holds for every layer input and flow step."""
        return self.gate(mask_BA.unsqueeze(1))

    def choose(self, space: Routing) -> Routing | Chosen:
        """Gather the chosen experts' weights, for many forward passes with one routing; packed ones stay apart."""
        if self.experts.packed is not None:
            return space
        chosen, weight = space.chosen[:, 0], space.weight[:, 0]
        gate_up_BKFD, down_BKDF = (stacked[chosen] for stacked in self.experts.stacked)
        down_BKDF = down_BKDF * weight[..., None, None].to(gate_up_BKFD.dtype)
        # The k experts side by side are one wider MLP: all gates, then all ups.
        gate_up = gate_up_BKFD.unflatten(2, (2, -1)).transpose(1, 2).flatten(1, 3)
        down = down_BKDF.transpose(1, 2).flatten(2, 3)
        return Chosen(space.probability, _own_linear(gate_up), _own_linear(down))

    def forward(self, x_BTD: Tensor, space: Routing | Chosen) -> tuple[Tensor, Tensor]:
        """Returns the output (B, T, D) and the routing probabilities (B, T, E); `space` is from `route` or `choose`."""
        tokens = x_BTD.shape[1]
        probability = space.probability.expand(-1, tokens, -1)
        if isinstance(space, Chosen):
            return space.down(gated(space.gate_up(x_BTD), self.experts.silu)), probability
        spread = Routing(probability, *(t.expand(-1, tokens, -1) for t in (space.chosen, space.weight)))
        return self.experts(x_BTD, spread), probability


class HeterogeneityBalancingMoE(nn.Module):
    """HB-MoE: each token chooses k of E experts, weights renormalised, beside ungated shared ones."""

    def __init__(self, width: int, config: MoEConfig) -> None:
        super().__init__()
        self.gate = Router(width, config)
        self.experts = Experts(width, config)
        self.shared_experts = DenseMLP(width, config.mlp * config.shared, silu=True) if config.shared else None

    def arrange(self) -> None:
        """Small shared experts run beside the routed ones; see HiMoEVLA.arrange."""
        if self.shared_experts is not None and self.experts.join(self.shared_experts):
            self.shared_experts = None

    def forward(self, x_BTD: Tensor, _space: None) -> tuple[Tensor, Tensor]:
        """Returns the output (B, T, D) and the routing probabilities (B, T, E)."""
        routing = self.gate(x_BTD)
        out = self.experts(x_BTD, routing)
        if self.shared_experts is not None:
            out = out + self.shared_experts(x_BTD)
        return out, routing.probability


class AdaMoE(nn.Module):
    """AdaMoE (arXiv 2510.14300): which experts act, and how much, are decided apart.

    out = (shared(x) + sum over the k best of (softmax(router)_i + (W_scale x)_i) expert_i(x)) / 2

    The router selects; the weight adds an independent scale adapter and is not renormalised. The sibling
    "csmoe" takes softmax(W_weight [x ; softmax(router)])_i as the weight; "router", to compare with, softmax(router)_i.
    """

    def __init__(self, width: int, mlp: int, config: AdaConfig) -> None:
        super().__init__()
        self.gate = Router(width, config)
        self.experts = Experts(width, config, silu=False)
        self.shared_experts = DenseMLP(width, mlp, silu=False)
        self.weight = config.weight
        inputs = {"additive": width, "csmoe": width + config.experts, "router": 0}[config.weight]
        self.scale_adapter = nn.Linear(inputs, config.experts, bias=False) if inputs else None

    def forward(self, x_BTD: Tensor, _space: None) -> tuple[Tensor, Tensor]:
        """Returns the output (B, T, D) and the router's probabilities (B, T, E)."""
        selected = self.gate(x_BTD)
        probability_BTE = selected.probability.to(x_BTD.dtype)
        if self.weight == "router":
            weight_BTE = probability_BTE
        elif self.weight == "additive":
            weight_BTE = probability_BTE + self.scale_adapter(x_BTD)
        else:
            weight_BTE = self.scale_adapter(torch.cat([x_BTD, probability_BTE], dim=-1)).softmax(-1)
        routing = Routing(selected.probability, selected.chosen, weight_BTE.gather(-1, selected.chosen))
        return 0.5 * (self.shared_experts(x_BTD) + self.experts(x_BTD, routing)), selected.probability


@torch.no_grad()
def upcycle(moe: AdaMoE, dense: DenseMLP, noise: float, generator: torch.Generator) -> None:
    """Begin an AdaMoE layer as copies of a dense model's feed-forward part.

    Args:
        moe: filled in place: shared part and every expert are the dense one, the router is nearly indifferent
            (standard deviation 0.006), the scale adapter is 0.
        dense: of the same width.
        noise: standard deviation added to each expert, relative to that of its weights; 0 for exact copies.
        generator: of the noise and the router.
    """
    moe.shared_experts.load_state_dict(dense.state_dict())
    for name in ("gate_up_proj", "down_proj"):
        weight = getattr(dense, name).weight
        stacked = getattr(moe.experts, name)
        stacked.copy_(weight.expand_as(stacked))
        if noise:
            spread = torch.empty_like(stacked).normal_(0.0, 1.0, generator=generator)
            stacked.add_(spread, alpha=noise * weight.std().item())
    moe.gate.weight.normal_(0.0, ROUTER_STD, generator=generator)
    if moe.scale_adapter is not None:
        moe.scale_adapter.weight.zero_()
