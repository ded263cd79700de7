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
from .experts import DenseMLP, Routing
from .layers import RMSNorm, attend, rope, rotate
from .moe import ActionSpaceMoE, AdaMoE, Chosen, HeterogeneityBalancingMoE


@dataclass(frozen=True)
class Context:
    """The prefix, as new tokens attend to it.

    Attributes:
        keys, values: one (B, K, L, C) tensor a layer; keys are already rotated.
        valid: (B, L) bool, False at padding, or None where there is none.
        length: (B or 1, 1) int64, valid tokens: the position of the next one.
    """

    keys: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    valid: Tensor | None
    length: Tensor

    def repeated(self, times: int) -> Context:
        """Each one of the batch so many times in a row."""
        if times == 1:
            return self
        keys, values = (tuple(t.repeat_interleave(times, 0) for t in ts) for ts in (self.keys, self.values))
        valid = None if self.valid is None else self.valid.repeat_interleave(times, 0)
        length = self.length if len(self.length) == 1 else self.length.repeat_interleave(times, 0)
        return Context(keys, values, valid, length)


class Suffix:
    """The state token and the action tokens behind a context: the state sees no action, the actions see all.

    Attributes:
        rope: cosines and sines of the tokens' positions.
        mask: (B or 1, 1, 1 + T, L + 1 + T) bool, False where a token (third axis) must not look.
    """

    def __init__(self, context: Context, actions: int) -> None:
        device, tokens = context.length.device, 1 + actions
        self.rope = rope(context.length + torch.arange(tokens, device=device), context.keys[0].shape[-1])
        self._valid = None if context.valid is None else F.pad(context.valid, (0, tokens), value=True)
        length = context.keys[0].shape[2] + tokens
        column = torch.arange(length, device=device)
        row = torch.arange(tokens, device=device).unsqueeze(1)
        self.mask = ((column < length - actions) | (row > 0))[None, None]
        if self._valid is not None:
            self.mask = self.mask & self._valid[:, None, None]
        self._context = context
        self._keys, self._values = list(context.keys), list(context.values)

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with the new tokens' at the end; the same, however often it is called."""
        self._keys[layer] = torch.cat([self._context.keys[layer], k], dim=2)
        self._values[layer] = torch.cat([self._context.values[layer], v], dim=2)
        return self._keys[layer], self._values[layer]

    def actions(self) -> Actions:
        """After a pass: what all other flow steps need, in which the state token is not new."""
        mask = None if self._valid is None else self._valid[:, None, None]
        cos, sin = self.rope
        places = [
            tuple(t[:, :, 1 - cos.shape[1] :] for t in pair) for pair in zip(self._keys, self._values, strict=True)
        ]
        return Actions((cos[:, 1:], sin[:, 1:]), mask, self._keys, self._values, places)


@dataclass(frozen=True)
class Actions:
    """Action tokens behind a context and a state token; written over at every flow step, so without gradients.

    Attributes: as in Suffix; a mask of None hides nothing. `places` are the action tokens' in keys and values.
    """

    rope: tuple[Tensor, Tensor]
    mask: Tensor | None
    keys: list[Tensor]
    values: list[Tensor]
    places: list[tuple[Tensor, Tensor]]

    def add(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """The layer's keys and values with the new tokens' at the end, in place."""
        place_k, place_v = self.places[layer]
        place_k.copy_(k)
        place_v.copy_(v)
        return self.keys[layer], self.values[layer]


class Attention(nn.Module):
    """Grouped-query attention over the context and all new tokens, in both directions."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        self.head_dim, self.kv_heads = config.language.head_dim, config.language.kv_heads
        self.heads, width = config.expert.heads, config.expert.width
        self.qkv_proj = nn.Linear(width, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.o_proj = nn.Linear(self.heads * self.head_dim, width, bias=False)

    def forward(self, x_BTD: Tensor, memory: Suffix | Actions, layer: int) -> Tensor:
        qkv = self.qkv_proj(x_BTD).view(*x_BTD.shape[:2], -1, self.head_dim)
        qk, v = qkv.split_with_sizes((self.heads + self.kv_heads, self.kv_heads), dim=2)
        q, k = rotate(qk, *memory.rope).split_with_sizes((self.heads, self.kv_heads), dim=2)
        keys, values = memory.add(layer, k.transpose(1, 2), v.transpose(1, 2))
        return self.o_proj(attend(q, keys, values, memory.mask))


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
        self, x_BTD: Tensor, space: Routing | Chosen | None, memory: Suffix | Actions, layer: int
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

    def choose(self, spaces: Mapping[int, Routing]) -> dict[int, Routing | Chosen]:
        """What all flow steps need of the chosen experts."""
        return {i: self.layers[i].mlp.choose(routing) for i, routing in spaces.items()}

    def forward(
        self, x_BTD: Tensor, spaces: Mapping[int, Routing | Chosen], memory: Suffix | Actions
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
