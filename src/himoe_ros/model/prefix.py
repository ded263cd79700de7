"""The vision-language prefix: PaliGemma's modules, of which only the keys and values are used.

Shapes: B batch, V views, S image size, L prefix tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GemmaConfig, GemmaModel, SiglipVisionConfig, SiglipVisionModel

from .action_expert import Context
from .config import HiMoEConfig
from .layers import attend, rms_norm, rope, rotate


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
        x_BLD, valid = self.embed(images, view_mask, tokens, token_mask)
        b, length, _ = x_BLD.shape
        position = torch.arange(length, device=x_BLD.device)[None] if valid is None else valid.cumsum(-1) - 1
        mask = None if valid is None else valid[:, None, None]
        angles = rope(position, self.language_model.config.head_dim)
        keys: list[Tensor] = []
        values: list[Tensor] = []
        for layer in self.language_model.layers:
            part = layer.self_attn
            normed = rms_norm(x_BLD, layer.input_layernorm.weight)
            q, k, v = (
                proj(normed).view(b, length, -1, part.head_dim) for proj in (part.q_proj, part.k_proj, part.v_proj)
            )
            keys.append(rotate(k, *angles).transpose(1, 2))
            values.append(v.transpose(1, 2))
            if len(keys) < len(self.language_model.layers):  # the rest of the last layer reaches no action
                x_BLD = x_BLD + part.o_proj(attend(rotate(q, *angles), keys[-1], values[-1], mask))
                x_BLD = x_BLD + layer.mlp(rms_norm(x_BLD, layer.post_attention_layernorm.weight))
        return Context(tuple(keys), tuple(values), valid, position[:, -1:] + 1)

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
