"""The names of the released checkpoints, and how their tensors become ours.

The release is `MoEVLA.state_dict()`: PaliGemma as transformers 4.48 named it, the action expert with
one tensor an expert. Ours stacks the experts of a layer.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from .config import HiMoEConfig, LayerKind
from .himoe import HiMoEVLA
from .weights import require_fit

VISION = "paligemma_with_expert.paligemma.vision_tower.vision_model"
PROJECTOR = "paligemma_with_expert.paligemma.multi_modal_projector.linear"
LANGUAGE = "paligemma_with_expert.paligemma.language_model"
EXPERT = "paligemma_with_expert.gemma_expert"
# In the release, but never read by anything that reaches an action.
UNUSED = (f"{LANGUAGE}.lm_head.weight",)


def released_names(model: HiMoEVLA) -> dict[str, list[str]]:
    """Our parameter name -> the released names it is made of, one, or one an expert in their order."""
    return {name: _sources(model.config, name) for name, _ in model.named_parameters()}


def released_shapes(model: HiMoEVLA) -> dict[str, tuple[int, ...]]:
    """Released name -> shape, of everything a model is made of."""
    sources = released_names(model)
    return {
        key: tuple(parameter.shape[1:] if len(sources[name]) > 1 else parameter.shape)
        for name, parameter in model.named_parameters()
        for key in sources[name]
    }


@torch.no_grad()
def load_released(model: HiMoEVLA, tensors: Mapping[str, Tensor]) -> None:
    """Fill a model from tensors with released names.

    Args:
        model: of the checkpoint's sizes; its parameters are written in place, in their own dtype.
        tensors: all of a checkpoint.

    Raises:
        ConfigError: names are missing or unknown, or shapes differ; every one of them is listed.
    """
    require_released(model, tensors, "the checkpoint")
    sources = released_names(model)
    for name, parameter in model.named_parameters():
        keys = sources[name]
        places = parameter.unbind(0) if len(keys) > 1 else (parameter,)
        for key, place in zip(keys, places, strict=True):
            place.copy_(tensors[key])


def require_released(model: HiMoEVLA, tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors that are not exactly those a model is made of; every mismatch is listed."""
    have = {key: tuple(tensor.shape) for key, tensor in tensors.items() if key not in UNUSED}
    require_fit(f"{what} does not fit {model.config.name}", released_shapes(model), have)


def _sources(config: HiMoEConfig, name: str) -> list[str]:
    for ours, theirs in (
        ("prefix.vision_tower.", f"{VISION}."),
        ("prefix.projector.", f"{PROJECTOR}."),
        ("prefix.language_model.", f"{LANGUAGE}.model."),
    ):
        if name.startswith(ours):
            return [theirs + name.removeprefix(ours)]
    if not name.startswith("expert."):
        return [name]
    tail = name.removeprefix("expert.")
    head, _, matrix = tail.partition(".mlp.experts.")
    if not matrix:
        return [f"{EXPERT}.{tail}"]
    layer = int(head.split(".")[1])
    moe = config.expert.as_moe if config.layer_kind(layer) is LayerKind.AS else config.expert.hb_moe
    return [f"{EXPERT}.{head}.mlp.experts.{k}.{matrix}.weight" for k in range(moe.experts)]
