"""The vision-language prefix: PaliGemma's modules, of which only the keys and values are used.

Shapes: B batch, V views, S image size, L prefix tokens, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import GemmaConfig, GemmaModel, SiglipVisionConfig, SiglipVisionModel
from transformers.models.gemma.modeling_gemma import GemmaAttention, GemmaDecoderLayer, GemmaMLP
from transformers.models.siglip.modeling_siglip import SiglipMLP

from .action_expert import Context
from .config import HiMoEConfig
from .layers import attend, recomputed, rms_norm, rope, rotate
from .packed import PackedLinear, pack, packs, replace


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
        self.recompute = False  # see HiMoEVLA.recompute

    def arrange(self) -> None:
        """Pack the weights for a CPU: one product for queries, keys and values, and GELUs within the one before."""
        if packs(self.projector.weight):
            for module in self.modules():
                if isinstance(module, SiglipMLP):
                    replace(module, "fc1", PackedLinear(module.fc1.weight, module.fc1.bias, gelu=True))
                    module.activation_fn = nn.Identity()
                elif isinstance(module, GemmaMLP):
                    replace(module, "gate_proj", PackedLinear(module.gate_proj.weight, gelu=True))
                    module.act_fn = nn.Identity()
                elif isinstance(module, GemmaAttention):
                    apart = [module.q_proj, module.k_proj, module.v_proj]
                    module.qkv_proj = PackedLinear(torch.cat([proj.weight for proj in apart]))
                    del module.q_proj, module.k_proj, module.v_proj
        pack(self)

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
        gemma = self.language_model.config
        heads, kv_heads = gemma.num_attention_heads, gemma.num_key_value_heads
        angles = rope(position, gemma.head_dim)

        def run(layer: GemmaDecoderLayer, x_BLD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            part = layer.self_attn
            normed = rms_norm(x_BLD, layer.input_layernorm.weight)
            qkv = _queries_keys_values(part, normed).view(b, length, -1, part.head_dim)
            qk, v = qkv.split_with_sizes((heads + kv_heads, kv_heads), dim=2)
            q, k = rotate(qk, *angles).split_with_sizes((heads, kv_heads), dim=2)
            k, v = k.transpose(1, 2), v.transpose(1, 2)
            if layer is not self.language_model.layers[-1]:  # the rest of the last layer reaches no action
                x_BLD = x_BLD + part.o_proj(attend(q, k, v, mask))
                x_BLD = x_BLD + layer.mlp(rms_norm(x_BLD, layer.post_attention_layernorm.weight))
            return x_BLD, k, v

        keys: list[Tensor] = []
        values: list[Tensor] = []
        for layer in self.language_model.layers:
            x_BLD, k, v = recomputed(self.recompute, run, layer, x_BLD)
            keys.append(k)
            values.append(v)
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


def _queries_keys_values(part: GemmaAttention, x_BLD: Tensor) -> Tensor:
    """All three side by side."""
    if hasattr(part, "qkv_proj"):
        return part.qkv_proj(x_BLD)
    return torch.cat([part.q_proj(x_BLD), part.k_proj(x_BLD), part.v_proj(x_BLD)], dim=-1)
