"""The action expert: transformer layers that read the keys and values of the prefix, layer by layer.

Shapes: B batch, T new tokens, L context tokens, H query heads, K key/value heads, C head size, D width.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import HiMoEConfig, LayerKind
from .moe import ActionSpaceMoE, AdaMoE, DenseMLP, HeterogeneityBalancingMoE


@dataclass(frozen=True)
class Context:
    """What new tokens attend to.

    Attributes:
        keys, values: one (B, K, L, C) tensor a layer; keys are already rotated.
        valid: (B, L) bool, False at padding, or None where there is none.
        length: (B, 1) int64, valid tokens so far: the position of the next token.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    valid: Tensor | None
    length: Tensor

    def extended(self, keys: list[Tensor], values: list[Tensor]) -> Context:
        """This context followed by valid tokens with these keys and values."""
        added = keys[0].shape[2]
        valid = None if self.valid is None else F.pad(self.valid, (0, added), value=True)
        return Context(
            tuple(torch.cat(pair, dim=2) for pair in zip(self.keys, keys, strict=True)),
            tuple(torch.cat(pair, dim=2) for pair in zip(self.values, values, strict=True)),
            valid,
            self.length + added,
        )


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + w), computed in float32, as Gemma does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        normed = F.rms_norm(x.float(), x.shape[-1:], eps=1e-6)
        return (normed * (1.0 + self.weight.float())).to(x.dtype)


def rotate(x_BHTC: Tensor, position_BT: Tensor) -> Tensor:
    """Rotary position embedding, half-split, base 1e4, in float32."""
    half = x_BHTC.shape[-1] // 2
    frequency = 1e4 ** (-torch.arange(half, dtype=torch.float32, device=x_BHTC.device) / half)
    angle = position_BT[:, None, :, None].float() * frequency
    cos, sin = angle.cos(), angle.sin()
    a, b = x_BHTC.float().split(half, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x_BHTC.dtype)


class Attention(nn.Module):
    """Grouped-query attention over the context and all new tokens, in both directions."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        c, width = config.language.head_dim, config.expert.width
        self.head_dim = c
        self.q_proj = nn.Linear(width, config.expert.heads * c, bias=False)
        self.k_proj = nn.Linear(width, config.language.kv_heads * c, bias=False)
        self.v_proj = nn.Linear(width, config.language.kv_heads * c, bias=False)
        self.o_proj = nn.Linear(config.expert.heads * c, width, bias=False)

    def forward(self, x_BTD: Tensor, context: Context, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the output (B, T, D), and the keys and values (B, K, T, C) of the new tokens."""
        b, t, _ = x_BTD.shape
        position = context.length + torch.arange(t, device=x_BTD.device)
        q, k, v = (
            proj(x_BTD).view(b, t, -1, self.head_dim).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        q, k = rotate(q, position), rotate(k, position)
        mask = None
        if context.valid is not None:
            mask = F.pad(context.valid, (0, t), value=True)[:, None, None, :]
        out = F.scaled_dot_product_attention(
            q,
            torch.cat([context.keys[layer], k], dim=2),
            torch.cat([context.values[layer], v], dim=2),
            attn_mask=mask,
            enable_gqa=True,
        )
        return self.o_proj(out.transpose(1, 2).reshape(b, t, -1)), k, v


class ExpertLayer(nn.Module):
    """Pre-norm attention, then the feed-forward part of this layer's kind."""

    def __init__(self, config: HiMoEConfig, kind: LayerKind) -> None:
        super().__init__()
        expert = config.expert
        self.input_layernorm = RMSNorm(expert.width)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(expert.width)
        self.kind = kind
        self.mlp = _feed_forward(config, kind)

    def forward(
        self, x_BTD: Tensor, mask_BA: Tensor, context: Context, layer: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        attended, k, v = self.self_attn(self.input_layernorm(x_BTD), context, layer)
        x_BTD = x_BTD + attended
        normed = self.post_attention_layernorm(x_BTD)
        routing = None
        if self.kind is LayerKind.DENSE:
            x_BTD = x_BTD + self.mlp(normed)
        else:
            out, routing = self.mlp(normed, mask_BA)
            x_BTD = x_BTD + out
        return x_BTD, k, v, routing


def _feed_forward(config: HiMoEConfig, kind: LayerKind) -> nn.Module:
    expert = config.expert
    if kind is LayerKind.AS:
        return ActionSpaceMoE(expert.width, config.action_dim, expert.as_moe)
    if kind is LayerKind.HB:
        return HeterogeneityBalancingMoE(expert.width, expert.hb_moe)
    if kind is LayerKind.ADA:
        return AdaMoE(expert.width, expert.mlp, expert.ada_moe)
    return DenseMLP(expert.width, expert.mlp, silu=False)


@dataclass(frozen=True)
class ExpertOutput:
    """
    Attributes:
        hidden: (B, T, D) after the final norm.
        context: the context with the new tokens at its end.
        routing: layer -> (B, T, E) probabilities, of AS and HB layers.
    """

    hidden: Tensor
    context: Context
    routing: dict[int, Tensor]


class ActionExpert(nn.Module):
    """All layers and the final norm. Layer i reads the prefix's layer i."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ExpertLayer(config, config.layer_kind(i)) for i in range(config.language.layers))
        self.norm = RMSNorm(config.expert.width)

    def forward(self, x_BTD: Tensor, mask_BA: Tensor, context: Context) -> ExpertOutput:
        """Run T new tokens that see the context and each other."""
        keys, values, routing = [], [], {}
        for i, layer in enumerate(self.layers):
            x_BTD, k, v, probability = layer(x_BTD, mask_BA, context, i)
            keys.append(k)
            values.append(v)
            if probability is not None:
                routing[i] = probability
        return ExpertOutput(self.norm(x_BTD), context.extended(keys, values), routing)
