"""The vision-language prefix: PaliGemma's modules, of which only the keys and values are used.

Shapes: B batch, V views, S image size, L prefix tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GemmaConfig, GemmaModel, SiglipVisionConfig, SiglipVisionModel
from transformers.models.gemma.modeling_gemma import apply_rotary_pos_emb

from .action_expert import Context
from .config import HiMoEConfig


class _Collector:
    """Stands where transformers expects a cache, and keeps each layer's keys and values."""

    def __init__(self) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []

    def update(self, keys: Tensor, values: Tensor, _layer: int) -> tuple[Tensor, Tensor]:
        self.keys.append(keys)
        self.values.append(values)
        return keys, values


class Prefix(nn.Module):
    """Images and words -> a Context for the action expert (paper, section 3.2.1)."""

    def __init__(self, config: HiMoEConfig) -> None:
        super().__init__()
        vision, language = config.vision, config.language
        self.vision_tower = SiglipVisionModel(
            SiglipVisionConfig(
                hidden_size=vision.width,
                intermediate_size=vision.mlp,
                num_hidden_layers=vision.layers,
                num_attention_heads=vision.heads,
                image_size=config.image_size,
                patch_size=vision.patch,
                vision_use_head=False,
            )
        )
        self.projector = nn.Linear(vision.width, language.width)
        self.language_model = GemmaModel(
            GemmaConfig(
                vocab_size=language.vocab,
                hidden_size=language.width,
                intermediate_size=language.mlp,
                num_hidden_layers=language.layers,
                num_attention_heads=language.heads,
                num_key_value_heads=language.kv_heads,
                head_dim=language.head_dim,
                use_bidirectional_attention=True,
            )
        )

    def forward(self, images: Tensor, view_mask: Tensor | None, tokens: Tensor, token_mask: Tensor | None) -> Context:
        """
        Args:
            images: (B, V, 3, S, S) in [-1, 1].
            view_mask: (B, V) bool, False where a view is missing; None if all are there.
            tokens: (B, W) int64.
            token_mask: (B, W) bool, False at padding; None if there is none.
        """
        embedded, valid = self.embed(images, view_mask, tokens, token_mask)
        b, length, _ = embedded.shape
        if valid is None:
            position = torch.arange(length, device=embedded.device).expand(b, -1)
            mask = None
        else:
            position = valid.cumsum(-1) - 1
            mask = valid[:, None, None, :].expand(b, 1, length, length)
        rope = self.language_model.rotary_emb(embedded, position)
        collector = _Collector()
        *layers, last = self.language_model.layers
        for layer in layers:
            embedded = layer(embedded, attention_mask=mask, position_embeddings=rope, past_key_values=collector)
        self._last_keys_values(last, embedded, rope, collector)
        return Context(tuple(collector.keys), tuple(collector.values), valid, position[:, -1:] + 1)

    def embed(
        self, images: Tensor, view_mask: Tensor | None, tokens: Tensor, token_mask: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens [view 1 | view 2 | ... | words] as (B, L, D), and which of them are valid, (B, L)."""
        b, views = images.shape[:2]
        pixels = images.flatten(0, 1).to(self.projector.weight.dtype)
        features = self.vision_tower(pixel_values=pixels).last_hidden_state
        patches = features.shape[1]
        seen = self.projector(features).view(b, views * patches, -1)
        # Not through the module: transformers has scaled in different places in different versions.
        words = F.embedding(tokens, self.language_model.embed_tokens.weight)
        embedded = torch.cat([seen, words * words.shape[-1] ** 0.5], dim=1)
        if view_mask is None and token_mask is None:
            return embedded, None
        view_mask = torch.ones(b, views, dtype=torch.bool, device=tokens.device) if view_mask is None else view_mask
        token_mask = torch.ones_like(tokens, dtype=torch.bool) if token_mask is None else token_mask
        return embedded, torch.cat([view_mask.repeat_interleave(patches, dim=1), token_mask], dim=1)

    @staticmethod
    def _last_keys_values(layer: nn.Module, x: Tensor, rope: tuple[Tensor, Tensor], collector: _Collector) -> None:
        """The last layer's keys and values; the rest of it would change nothing that is read."""
        attention = layer.self_attn
        shape = (*x.shape[:2], -1, attention.head_dim)
        normed = layer.input_layernorm(x)
        k = attention.k_proj(normed).view(shape).transpose(1, 2)
        v = attention.v_proj(normed).view(shape).transpose(1, 2)
        k, _ = apply_rotary_pos_emb(k, k, *rope)
        collector.update(k, v, attention.layer_idx)
