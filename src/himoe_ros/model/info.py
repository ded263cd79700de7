"""What a configuration amounts to: layers, parameters, memory. No weights are needed or made."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import nn

from .config import HiMoEConfig, LayerKind
from .experts import Experts
from .himoe import HiMoEVLA

KINDS = {LayerKind.AS: "AS-MoE", LayerKind.HB: "HB-MoE", LayerKind.ADA: "AdaMoE", LayerKind.DENSE: "dense"}


def describe(config: HiMoEConfig) -> str:
    """Layers by kind, parameters by part, and memory of the weights, as lines of text."""
    with torch.device("meta"):
        model = HiMoEVLA(config)
    parts = parameters(model)
    total = sum(parts.values())
    lines = [
        config.name,
        f"  {config.image_size} px views, {config.vision.layers} vision layers of width {config.vision.width}; "
        f"{config.language.layers} language layers of width {config.language.width}",
        f"  chunks of {config.chunk_steps} actions, {config.flow_steps} flow steps, temperature {config.temperature:g}",
        "",
        f"action expert, {config.language.layers} layers of width {config.expert.width}",
        *(f"  {KINDS[kind]:<8} layers {_ranges(config, kind):<16} {_experts(config, kind)}" for kind in _kinds(config)),
        "",
        "parameters, millions",
        *(f"  {part:<28}{count / 1e6:8.1f}" for part, count in parts.items()),
        f"  {'total':<28}{total / 1e6:8.1f}",
        f"  {'active in the expert a token':<28}{active_in_expert(model) / 1e6:8.1f}",
        "",
        f"memory of the weights: {2 * total / 1e9:.2f} GB in bf16, {4 * total / 1e9:.2f} GB in fp32",
    ]
    return "\n".join(lines)


def parameters(model: HiMoEVLA) -> dict[str, int]:
    """Part -> number of parameters. The parts have nothing in common and make up the whole model."""
    prefix = model.prefix
    embedding = _count(prefix.language_model.embed_tokens)
    attention = sum(_count(layer.self_attn) for layer in model.expert.layers)
    feed_forward = {kind: 0 for kind in _kinds(model.config)}
    for layer in model.expert.layers:
        feed_forward[layer.kind] += _count(layer.mlp)
    heads = _count(model) - _count(prefix) - _count(model.expert)
    return {
        "SigLIP": _count(prefix.vision_tower),
        "projector": _count(prefix.projector),
        "Gemma layers": _count(prefix.language_model) - embedding,
        "embedding": embedding,
        "expert attention": attention,
        **{f"expert {KINDS[kind]}": count for kind, count in feed_forward.items()},
        "expert norms": _count(model.expert) - attention - sum(feed_forward.values()),
        "heads": heads,
    }


def active_in_expert(model: HiMoEVLA) -> int:
    """Parameters of the action expert that one token meets: of each layer's routed experts, the top k."""
    idle = 0
    for layer in model.expert.layers:
        moe = model.config.expert.moe(layer.kind)
        for module in layer.mlp.modules():
            if isinstance(module, Experts):
                idle += _count(module) // moe.experts * (moe.experts - moe.top_k)
    return _count(model.expert) - idle


def _count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _kinds(config: HiMoEConfig) -> list[LayerKind]:
    present = {config.layer_kind(i) for i in range(config.language.layers)}
    return [kind for kind in KINDS if kind in present]


def _ranges(config: HiMoEConfig, kind: LayerKind) -> str:
    """Layer numbers of a kind, such as "0-1, 16-17"."""
    layers = [i for i in range(config.language.layers) if config.layer_kind(i) is kind]
    runs = [[i for _, i in run] for _, run in groupby(enumerate(layers), key=lambda pair: pair[1] - pair[0])]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)


def _experts(config: HiMoEConfig, kind: LayerKind) -> str:
    moe = config.expert.moe(kind)
    if moe is None:
        return f"width {config.expert.mlp}"
    shared = f", {moe.shared} shared" if moe.shared else ""
    return f"{moe.experts} experts of width {moe.mlp}, top-{moe.top_k}{shared}"
