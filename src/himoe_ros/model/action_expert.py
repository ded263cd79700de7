"""The action expert: transformer layers that read the keys and values of the prefix, layer by layer.

Shapes: B batch, T new tokens, L context tokens, H query heads, K key/value heads, C head size, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .config import HiMoEConfig, LayerKind
from .linear import project
from .moe import ActionSpaceMoE, AdaMoE, Chosen, DenseMLP, HeterogeneityBalancingMoE, Routing


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


class Growth:
    """A context that keeps the keys and values of new tokens, as in training and for the state token."""

    def __init__(self, context: Context, tokens: int) -> None:
        self.tokens = tokens
        self._context = context
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []
        self.rope = rope(context.length + torch.arange(tokens, device=context.length.device), context.keys[0].shape[-1])
        self._valid = None if context.valid is None else F.pad(context.valid, (0, tokens), value=True)
        self.mask = None if self._valid is None else self._valid[:, None, None, :]

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with the new tokens' at the end."""
        self._keys.append(torch.cat([self._context.keys[layer], k], dim=2))
        self._values.append(torch.cat([self._context.values[layer], v], dim=2))
        return self._keys[-1], self._values[-1]

    def context(self) -> Context:
        """Everything so far, once all layers have run."""
        return Context(tuple(self._keys), tuple(self._values), self._valid, self._context.length + self.tokens)


class Window:
    """A context with room for one set of new tokens, written over at every flow step; no gradients."""

    def __init__(self, context: Context, tokens: int) -> None:
        self.rope = rope(context.length + torch.arange(tokens, device=context.length.device), context.keys[0].shape[-1])
        self._start = context.keys[0].shape[2]
        self._keys = [F.pad(k, (0, 0, 0, tokens)) for k in context.keys]
        self._values = [F.pad(v, (0, 0, 0, tokens)) for v in context.values]
        self.mask = None
        if context.valid is not None:
            self.mask = F.pad(context.valid, (0, tokens), value=True)[:, None, None, :]

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with the new tokens' at the end, in place."""
        self._keys[layer][:, :, self._start :] = k
        self._values[layer][:, :, self._start :] = v
        return self._keys[layer], self._values[layer]


class RMSNorm(nn.Module):
    """x / rms(x) * (1 + w), computed in float32, as Gemma does."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x.float(), x.shape[-1:], 1.0 + self.weight.float(), 1e-6).to(x.dtype)


def rope(position_BT: Tensor, head_dim: int) -> tuple[Tensor, Tensor]:
    """Cosines and signed sines of the rotary embedding, half-split, base 1e4: two (B, 1, T, C) float32."""
    half = head_dim // 2
    frequency = 1e4 ** (-torch.arange(half, dtype=torch.float32, device=position_BT.device) / half)
    angle = position_BT[:, None, :, None].float() * frequency
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([cos, cos], dim=-1), torch.cat([-sin, sin], dim=-1)


def rotate(x_BHTC: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary position embedding, in float32."""
    x = x_BHTC.float()
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin).to(x_BHTC.dtype)


class Attention(nn.Module):
    """Grouped-query attention over the context and all new tokens, in both directions."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        self.head_dim, self.kv_heads = config.language.head_dim, config.language.kv_heads
        heads, width = config.expert.heads, config.expert.width
        self.qkv_proj = nn.Linear(width, (heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.o_proj = nn.Linear(heads * self.head_dim, width, bias=False)

    def forward(self, x_BTD: Tensor, memory: Growth | Window, layer: int) -> Tensor:
        b, t, _ = x_BTD.shape
        kv = self.kv_heads
        qkv = project(x_BTD, self.qkv_proj.weight).unflatten(-1, (-1, self.head_dim)).transpose(1, 2)
        qk = rotate(qkv[:, :-kv], *memory.rope)
        k, v = memory.add(layer, qk[:, -kv:], qkv[:, -kv:])
        # Nothing here is causal, so the query heads of one key/value head are just more queries of it.
        q = qk[:, :-kv].reshape(b, kv, -1, self.head_dim)
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=memory.mask)
        return project(out.view(b, -1, t, self.head_dim).transpose(1, 2).flatten(2), self.o_proj.weight)


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
        self, x_BTD: Tensor, space: Routing | Chosen | None, memory: Growth | Window, layer: int
    ) -> tuple[Tensor, Tensor | None]:
        """Returns the hidden states, and the routing probabilities of an MoE layer."""
        x_BTD = x_BTD + self.self_attn(self.input_layernorm(x_BTD), memory, layer)
        normed = self.post_attention_layernorm(x_BTD)
        if self.kind is LayerKind.DENSE:
            return x_BTD + self.mlp(normed), None
        out, probability = self.mlp(normed, space)
        return x_BTD + out, probability


def _feed_forward(config: HiMoEConfig, kind: LayerKind) -> nn.Module:
    expert = config.expert
    if kind is LayerKind.AS:
        return ActionSpaceMoE(expert.width, config.action_dim, expert.as_moe)
    if kind is LayerKind.HB:
        return HeterogeneityBalancingMoE(expert.width, expert.hb_moe)
    if kind is LayerKind.ADA:
        return AdaMoE(expert.width, expert.mlp, expert.ada_moe)
    return DenseMLP(expert.width, expert.mlp, silu=False)


class ActionExpert(nn.Module):
    """All layers and the final norm. Layer i reads the prefix's layer i."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(ExpertLayer(config, config.layer_kind(i)) for i in range(config.language.layers))
        self.norm = RMSNorm(config.expert.width)

    def route(self, mask_BA: Tensor) -> dict[int, Routing]:
        """The action-space experts' choice, layer by layer: made once for all tokens and flow steps."""
        return {i: layer.mlp.route(mask_BA) for i, layer in enumerate(self.layers) if layer.kind is LayerKind.AS}

    def choose(self, spaces: Mapping[int, Routing]) -> dict[int, Chosen]:
        """The chosen experts' weights, gathered for all flow steps."""
        return {i: self.layers[i].mlp.choose(routing) for i, routing in spaces.items()}

    def forward(
        self, x_BTD: Tensor, spaces: Mapping[int, Routing | Chosen], memory: Growth | Window
    ) -> tuple[Tensor, dict[int, Tensor]]:
        """Run T new tokens that see the memory and each other.

        Returns:
            (B, T, D) after the final norm, and layer -> (B, T, E) routing probabilities of MoE layers.
        """
        routing = {}
        for i, layer in enumerate(self.layers):
            x_BTD, probability = layer(x_BTD, spaces.get(i), memory, i)
            if probability is not None:
                routing[i] = probability
        return self.norm(x_BTD), routing
