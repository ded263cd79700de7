"""The names of the released checkpoints, and how their tensors become ours.

The release is `MoEVLA.state_dict()`: PaliGemma as transformers 4.48 named it, the action expert with
a tensor for each expert and each of q, k, v, gate, up. Ours keeps together what is multiplied together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .config import HiMoEConfig
from .himoe import HiMoEVLA
from .weights import require_fit

VISION = "paligemma_with_expert.paligemma.vision_tower.vision_model"
PROJECTOR = "paligemma_with_expert.paligemma.multi_modal_projector.linear"
LANGUAGE = "paligemma_with_expert.paligemma.language_model"
EXPERT = "paligemma_with_expert.gemma_expert"
# In the release, but never read by anything that reaches an action.
UNUSED = (f"{LANGUAGE}.lm_head.weight",)


@dataclass(frozen=True)
class Part:
    """A released tensor: all of one of our parameters, or the next rows of it."""

    name: str
    shape: tuple[int, ...]


def released_parts(model: HiMoEVLA) -> dict[str, list[Part]]:
    """Our parameter name -> the released tensors it is made of, in row-major order."""
    return {name: _parts(model.config, name, tuple(p.shape)) for name, p in model.named_parameters()}


def split(values: Tensor, parts: Sequence[Part]) -> list[Tensor]:
    """Views of a parameter (or of its gradient), one for each of its parts."""
    if len(parts) == 1:
        return [values]
    return list(values.flatten(0, -2).split([part.shape[0] for part in parts]))


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
    sources = released_parts(model)
    for name, parameter in model.named_parameters():
        for part, place in zip(sources[name], split(parameter, sources[name]), strict=True):
            place.copy_(tensors[part.name])


def require_released(model: HiMoEVLA, tensors: Mapping[str, Tensor], what: str) -> None:
    """Refuse tensors that are not exactly those a model is made of; every mismatch is listed."""
    have = {key: tuple(tensor.shape) for key, tensor in tensors.items() if key not in UNUSED}
    wanted = {part.name: part.shape for parts in released_parts(model).values() for part in parts}
    require_fit(f"{what} does not fit {model.config.name}", wanted, have)


def _parts(config: HiMoEConfig, name: str, shape: tuple[int, ...]) -> list[Part]:
    for ours, theirs in (
        ("prefix.vision_tower.", f"{VISION}."),
        ("prefix.projector.", f"{PROJECTOR}."),
        ("prefix.language_model.", f"{LANGUAGE}.model."),
    ):
        if name.startswith(ours):
            return [Part(theirs + name.removeprefix(ours), shape)]
    if not name.startswith("expert."):
        return [Part(name, shape)]
    released = f"{EXPERT}.{name.removeprefix('expert.')}"
    if released.endswith(".qkv_proj.weight"):
        rows = config.language.kv_heads * config.language.head_dim
        heads = {"q_proj": shape[0] - 2 * rows, "k_proj": rows, "v_proj": rows}
        return [Part(released.replace("qkv_proj", p), (r, shape[1])) for p, r in heads.items()]
    matrices = ["down_proj"] if "down_proj" in released else ["gate_proj", "up_proj"]
    if ".mlp.experts." in released:
        head = released.rpartition(".")[0]
        wide = (shape[1] // len(matrices), shape[2])
        return [Part(f"{head}.{k}.{m}.weight", wide) for k in range(shape[0]) for m in matrices]
    if released.endswith("gate_up_proj.weight"):
        return [Part(released.replace("gate_up_proj", m), (shape[0] // 2, shape[1])) for m in matrices]
    return [Part(released, shape)]
