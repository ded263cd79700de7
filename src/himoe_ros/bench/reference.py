"""The same function computed the way the released code does, on the same weights: what `himoe bench policy` compares.

Nothing is kept between flow steps but the prefix's keys and values; every expert is a loop, and so are the
views; attention is eager in float32 with repeated keys; rotary angles are found anew for every query and
key; missing views and text padding are computed and masked.

Shapes as in the model: B batch, T chunk steps, S = 1 + T suffix tokens, L prefix tokens.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.action_expert import Attention, ExpertLayer
from ..model.config import LayerKind
from ..model.experts import DenseMLP, Experts
from ..model.flow import flow_times, time_embedding
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs
from ..model.moe import Router

MASKED = -2.3819763e38
Cache = list[tuple[Tensor, Tensor]]


@torch.inference_mode()
def sample_actions(model: HiMoEVLA, inputs: ModelInputs, noise: Tensor) -> Tensor:
    """As HiMoEVLA.sample_actions; both masks of the inputs must be given."""
    cache, valid = prefix(model, inputs)
    x = noise.clone()
    steps = model.config.flow_steps
    for t in flow_times(steps):
        x += -1.0 / steps * velocity(model, inputs, cache, valid, x, torch.full((len(x),), t, device=x.device))
    return x


def prefix(model: HiMoEVLA, inputs: ModelInputs) -> tuple[Cache, Tensor]:
    """Keys and values of every layer, and which prefix tokens are valid, (B, L)."""
    part = model.prefix
    tower, project = part.vision_tower, part.projector
    views = [project(tower(pixel_values=x).last_hidden_state) for x in inputs.images.to(project.weight.dtype).unbind(1)]
    words = F.embedding(inputs.tokens, part.language_model.embed_tokens.weight)
    hidden = torch.cat([*views, words * words.shape[-1] ** 0.5], dim=1)
    valid = torch.cat([inputs.view_mask.repeat_interleave(views[0].shape[1], dim=1), inputs.token_mask], dim=1)
    position = valid.cumsum(-1) - 1
    allowed = valid[:, None, :, None] & valid[:, None, None, :]
    cache: Cache = []
    for layer in part.language_model.layers:
        attention = layer.self_attn
        normed = _norm(layer.input_layernorm, hidden)
        q, k, v = (
            proj(normed).unflatten(-1, (-1, attention.head_dim)).transpose(1, 2)
            for proj in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        q, k = _rope(q, position), _rope(k, position)
        cache.append((k, v))
        hidden = hidden + attention.o_proj(_eager(q, k, v, allowed))
        hidden = hidden + layer.mlp(_norm(layer.post_attention_layernorm, hidden))
    return cache, valid


def velocity(model: HiMoEVLA, inputs: ModelInputs, cache: Cache, valid: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """One flow step from scratch: state token and action tokens together."""
    dtype = model.action_in_proj.weight.dtype
    state = model.state_proj(torch.cat([inputs.state, inputs.data_mask], dim=-1)[:, None].to(dtype), None)
    action = model.action_in_proj(x.to(dtype), None)
    time = time_embedding(t, action.shape[-1]).to(dtype)[:, None].expand_as(action)
    action = model.action_time_mlp_out(F.silu(model.action_time_mlp_in(torch.cat([action, time], dim=-1))))
    hidden = torch.cat([state, action], dim=1)
    tokens = hidden.shape[1]
    suffix = torch.ones(len(x), tokens, dtype=torch.bool, device=x.device)
    blocks = torch.tensor([1, 1] + [0] * (tokens - 2), device=x.device).cumsum(0)
    among = (blocks[None, :] <= blocks[:, None]).expand(len(x), -1, -1)
    allowed = torch.cat([valid[:, None, :].expand(-1, tokens, -1), among & suffix[:, None]], dim=2)[:, None]
    position = torch.cat([valid, suffix], dim=1).cumsum(-1)[:, -tokens:] - 1
    for layer, (keys, values) in zip(model.expert.layers, cache, strict=True):
        attended = _attend(layer.self_attn, _norm(layer.input_layernorm, hidden), keys, values, allowed, position)
        hidden = hidden + attended
        hidden = hidden + _feed_forward(layer, _norm(layer.post_attention_layernorm, hidden), inputs.data_mask)
    return model.action_out_proj(_norm(model.expert.norm, hidden)[:, 1:], None).float()


def _attend(part: Attention, x: Tensor, keys: Tensor, values: Tensor, allowed: Tensor, position: Tensor) -> Tensor:
    rows = part.kv_heads * part.head_dim
    q, k, v = (
        F.linear(x, weight).unflatten(-1, (-1, part.head_dim)).transpose(1, 2)
        for weight in part.qkv_proj.weight.split([len(part.qkv_proj.weight) - 2 * rows, rows, rows])
    )
    keys = torch.cat([keys, _rope(k, position)], dim=2)
    return F.linear(_eager(_rope(q, position), keys, torch.cat([values, v], dim=2), allowed), part.o_proj.weight)


def _rope(x: Tensor, position: Tensor) -> Tensor:
    half = x.shape[-1] // 2
    timescale = 1e4 ** (torch.arange(half, dtype=torch.float32, device=x.device) / half)
    radians = position[:, None, :, None].float() / timescale
    cos, sin = radians.cos(), radians.sin()
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1).to(x.dtype)


def _norm(part: nn.Module, x: Tensor) -> Tensor:
    wide = x.float()
    wide = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + 1e-6)
    return (wide * (1.0 + part.weight.float())).to(x.dtype)


def _eager(q: Tensor, k: Tensor, v: Tensor, allowed: Tensor) -> Tensor:
    repeat = q.shape[1] // k.shape[1]
    k, v = k.repeat_interleave(repeat, dim=1), v.repeat_interleave(repeat, dim=1)
    scores = (q.float() @ k.float().mT) * q.shape[-1] ** -0.5
    weights = torch.where(allowed, scores, MASKED).softmax(-1).to(v.dtype)
    return (weights @ v).transpose(1, 2).flatten(2)


def _feed_forward(layer: ExpertLayer, x: Tensor, mask: Tensor) -> Tensor:
    if layer.kind is LayerKind.DENSE:
        return _mlp(layer.mlp, x)
    if layer.kind is LayerKind.AS:
        seen = mask[:, None].expand(-1, x.shape[1], -1)
        return _moe(layer.mlp.gate, layer.mlp.experts, x, seen)
    out = _moe(layer.mlp.gate, layer.mlp.experts, x, x)
    return out if layer.mlp.shared_experts is None else out + _mlp(layer.mlp.shared_experts, x)


def _mlp(part: DenseMLP, x: Tensor) -> Tensor:
    gate, up = part.gate_up_proj.weight.chunk(2)
    gate = F.silu(F.linear(x, gate)) if part.silu else F.gelu(F.linear(x, gate), approximate="tanh")
    return F.linear(gate * F.linear(x, up), part.down_proj.weight)


def _moe(gate: Router, experts: Experts, x: Tensor, seen: Tensor) -> Tensor:
    """Tokens sorted by expert on the host, experts one after another."""
    routing = gate(seen)
    flat, k = x.flatten(0, 1), routing.chosen.shape[-1]
    order = routing.chosen.flatten().argsort()
    ends = routing.chosen.flatten().bincount(minlength=len(experts.down_proj)).cumsum(0).cpu().tolist()
    rows = flat[order // k]
    outputs, start = [], 0
    for e, end in enumerate(ends):
        if end > start:
            part = rows[start:end]
            gate, up = experts.gate_up_proj[e].chunk(2)
            hidden = F.silu(F.linear(part, gate)) * F.linear(part, up)
            outputs.append(F.linear(hidden, experts.down_proj[e]))
        start = end
    joined = torch.cat(outputs)
    back = torch.empty_like(joined)
    back[order] = joined
    weighted = back.view(len(flat), k, -1) * routing.weight.flatten(0, 1)[..., None].to(back.dtype)
    return weighted.sum(1).view_as(x)
