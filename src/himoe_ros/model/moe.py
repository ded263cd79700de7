"""The feed-forward parts of the action expert: dense, AS-MoE, HB-MoE (paper, section 3.2.2), and AdaMoE.

Shapes: B batch, T tokens, D width, E experts, F expert width, A slots of the data mask.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import AdaConfig, MoEConfig

ROUTER_STD = 0.006  # of a router that begins nearly indifferent (AdaMoE, released default)


class DenseMLP(nn.Module):
    """Gated MLP: down(act(gate(x)) * up(x)). Gemma's uses tanh-GELU, experts use SiLU."""

    def __init__(self, width: int, hidden: int, silu: bool) -> None:
        super().__init__()
        self.gate_proj = nn.Linear(width, hidden, bias=False)
        self.up_proj = nn.Linear(width, hidden, bias=False)
        self.down_proj = nn.Linear(hidden, width, bias=False)
        self.silu = silu

    def forward(self, x_BTD: Tensor) -> Tensor:
        return self.down_proj(_activated(self.gate_proj(x_BTD), self.silu) * self.up_proj(x_BTD))


class Experts(nn.Module):
    """E gated experts with stacked weights, mixed by a weight for each token and expert."""

    def __init__(self, width: int, config: MoEConfig, silu: bool = True) -> None:
        super().__init__()
        e, f = config.experts, config.mlp
        self.silu = silu
        self.gate_proj = nn.Parameter(torch.empty(e, f, width))
        self.up_proj = nn.Parameter(torch.empty(e, f, width))
        self.down_proj = nn.Parameter(torch.empty(e, width, f))

    def forward(self, x_BTD: Tensor, weight_BTE: Tensor) -> Tensor:
        """Sum over experts of weight * expert(x); a weight of 0 leaves an expert out."""
        b, t, d = x_BTD.shape
        x_ND = x_BTD.reshape(1, b * t, d)
        hidden_ENF = _activated(x_ND @ self.gate_proj.mT, self.silu) * (x_ND @ self.up_proj.mT)
        hidden_ENF = hidden_ENF * weight_BTE.reshape(b * t, -1).mT.unsqueeze(-1)
        return (hidden_ENF @ self.down_proj.mT).sum(0).view(b, t, d)


class Router(nn.Module):
    """softmax(W x) over experts, the k best kept (paper, Eq. 2-3 and section 4, implementation details).

    Kept weights are renormalised to sum 1 for k > 1; a single winner keeps its raw probability, as in
    the released code.
    """

    def __init__(self, inputs: int, config: MoEConfig) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(config.experts, inputs))
        self.top_k = config.top_k

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(..., inputs) -> probabilities (..., E) and weights (..., E), 0 for all but the k best."""
        probability = F.linear(x.float(), self.weight.float()).softmax(-1)
        best, chosen = probability.topk(self.top_k, dim=-1)
        if self.top_k > 1:
            best = best / (best.sum(-1, keepdim=True) + 1e-20)
        return probability, torch.zeros_like(probability).scatter(-1, chosen, best)


class ActionSpaceMoE(nn.Module):
    """AS-MoE: the data mask alone chooses the expert, so one action space meets one expert."""

    def __init__(self, width: int, slots: int, config: MoEConfig) -> None:
        super().__init__()
        self.gate = Router(slots, config)
        self.experts = Experts(width, config)

    def forward(self, x_BTD: Tensor, mask_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output (B, T, D) and the routing probabilities (B, T, E)."""
        probability_BE, weight_BE = self.gate(mask_BA)
        tokens = x_BTD.shape[1]
        weight_BTE = weight_BE.to(x_BTD.dtype).unsqueeze(1).expand(-1, tokens, -1)
        return self.experts(x_BTD, weight_BTE), probability_BE.unsqueeze(1).expand(-1, tokens, -1)


class HeterogeneityBalancingMoE(nn.Module):
    """HB-MoE: each token chooses k of E experts, weights renormalised, beside ungated shared ones."""

    def __init__(self, width: int, config: MoEConfig) -> None:
        super().__init__()
        self.gate = Router(width, config)
        self.experts = Experts(width, config)
        self.shared_experts = DenseMLP(width, config.mlp * config.shared, silu=True) if config.shared else None

    def forward(self, x_BTD: Tensor, _mask_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output (B, T, D) and the routing probabilities (B, T, E); the mask is not read."""
        probability_BTE, weight_BTE = self.gate(x_BTD)
        out = self.experts(x_BTD, weight_BTE.to(x_BTD.dtype))
        if self.shared_experts is not None:
            out = out + self.shared_experts(x_BTD)
        return out, probability_BTE


class AdaMoE(nn.Module):
    """AdaMoE (arXiv 2510.14300): which experts act, and how much, are decided apart.

    out = (shared(x) + sum over the k best of (softmax(router)_i + (W_scale x)_i) expert_i(x)) / 2

    The router selects; the weight adds an independent scale adapter and is not renormalised. The sibling
    "csmoe" takes softmax(W_weight [x ; softmax(router)])_i as the weight.
    """

    def __init__(self, width: int, mlp: int, config: AdaConfig) -> None:
        super().__init__()
        self.gate = Router(width, config)
        self.experts = Experts(width, config, silu=False)
        self.shared_experts = DenseMLP(width, mlp, silu=False)
        self.additive = config.weight == "additive"
        inputs = width if self.additive else width + config.experts
        self.scale_adapter = nn.Linear(inputs, config.experts, bias=False)

    def forward(self, x_BTD: Tensor, _mask_BA: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the output (B, T, D) and the router's probabilities (B, T, E); the mask is not read."""
        probability_BTE, kept_BTE = self.gate(x_BTD)
        if self.additive:
            weight_BTE = probability_BTE.to(x_BTD.dtype) + self.scale_adapter(x_BTD)
        else:
            seen = torch.cat([x_BTD, probability_BTE.to(x_BTD.dtype)], dim=-1)
            weight_BTE = self.scale_adapter(seen).softmax(-1)
        routed = self.experts(x_BTD, weight_BTE * (kept_BTE > 0))
        return 0.5 * (self.shared_experts(x_BTD) + routed), probability_BTE


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
    for name in ("gate_proj", "up_proj", "down_proj"):
        weight = getattr(dense, name).weight
        stacked = getattr(moe.experts, name)
        stacked.copy_(weight.expand_as(stacked))
        if noise:
            spread = torch.empty_like(stacked).normal_(0.0, 1.0, generator=generator)
            stacked.add_(spread, alpha=noise * weight.std().item())
    moe.gate.weight.normal_(0.0, ROUTER_STD, generator=generator)
    moe.scale_adapter.weight.zero_()


def _activated(x: Tensor, silu: bool) -> Tensor:
    return F.silu(x) if silu else F.gelu(x, approximate="tanh")
