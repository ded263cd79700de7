"""The feed-forward parts of the action expert that route: AS-MoE, HB-MoE (paper, section 3.2.2), and AdaMoE.

Shapes: B batch, T tokens, D width, E experts, k chosen ones, F expert width, A slots of the data mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import AdaConfig, MoEConfig
from .experts import DenseMLP, Experts, Map, Routing
from .layers import gated
from .packed import PackedLinear, packs

ROUTER_STD = 0.006  # of a router that begins nearly indifferent (AdaMoE, released default)


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
