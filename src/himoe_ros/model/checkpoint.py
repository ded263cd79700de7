"""The names of the released checkpoints, and how their tensors become ours.

The release is `MoEVLA.state_dict()`: PaliGemma as transformers 4.48 named it, the action expert with
one tensor an expert. Ours stacks the experts of a layer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ..core.errors import ConfigError
from .config import HiMoEConfig, LayerKind
from .himoe import HiMoEVLA

VISION = "paligemma_with_expert.paligemma.vision_tower.vision_model"
PROJECTOR = "paligemma_with_expert.paligemma.multi_modal_projector.linear"
LANGUAGE = "paligemma_with_expert.paligemma.language_model"
EXPERT = "paligemma_with_expert.gemma_expert"
# In the release, but never read by anything that reaches an action.
UNUSED = (f"{LANGUAGE}.lm_head.weight",)


def released_names(model: HiMoEVLA) -> dict[str, list[str]]:
    """Our parameter name -> the released names it is made of, one, or one an expert in their order."""
    return {name: _sources(model.config, name) for name, _ in model.named_parameters()}


def load_released(model: HiMoEVLA, keys: Iterator[str], read: Callable[[str], Tensor]) -> None:
    """Fill a model from a checkpoint with released names, tensor by tensor.

    Args:
        model: of the checkpoint's sizes; its parameters are written in place, in their own dtype.
        keys: every name in the checkpoint.
        read: name -> tensor.

    Raises:
        ConfigError: names are missing or unknown, or shapes differ; every one of them is listed.
    """
    sources = released_names(model)
    wanted = {key for names in sources.values() for key in names}
    have = set(keys)
    missing, unknown = sorted(wanted - have), sorted(have - wanted - set(UNUSED))
    if missing or unknown:
        raise ConfigError(f"the checkpoint does not fit {model.config.name}: missing {missing}, unknown {unknown}")
    wrong = []
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            names = sources[name]
            places = parameter.unbind(0) if len(names) > 1 else (parameter,)
            for key, place in zip(names, places, strict=True):
                tensor = read(key)
                if tensor.shape == place.shape:
                    place.copy_(tensor)
                else:
                    wrong.append(f"{key}: expected {tuple(place.shape)}, got {tuple(tensor.shape)}")
    if wrong:
        raise ConfigError(f"the checkpoint does not fit {model.config.name}: {'; '.join(wrong)}")


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
