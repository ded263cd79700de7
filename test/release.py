"""A released checkpoint, made small: the pickle with the authors' names, and what lies beside it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch

from himoe_ros.model.checkpoint import UNUSED, released_parts, split
from himoe_ros.model.config import load_model_config
from himoe_ros.model.convert import PICKLE
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.resources import config

PRESET = "himoe_small"


def small_model(seed: int = 0) -> HiMoEVLA:
    return HiMoEVLA(load_model_config(PRESET, config("models"))).initialise(seed).eval()


def released_tensors(model: HiMoEVLA) -> dict[str, torch.Tensor]:
    """The model's weights under the released names, a tensor for each matrix."""
    sources = released_parts(model)
    tensors = {UNUSED[0]: torch.zeros(3, 2)}
    for name, parameter in model.named_parameters():
        values = split(parameter.detach(), sources[name])
        tensors |= {part.name: value.clone() for part, value in zip(sources[name], values, strict=True)}
    return tensors


def rows(size: int) -> dict[str, list[float]]:
    """Statistics of one quantity, different in every value."""
    mean = [0.1 * i for i in range(1, size + 1)]
    return {
        "mean": mean,
        "std": [0.5 + m for m in mean],
        "q01": [m - 2 for m in mean],
        "q99": [m + 2 for m in mean],
        "count": [7],
    }


def write_release(folder: Path, tensors: object, size: int = 8) -> Path:
    """A folder as the authors publish it, with the tokenizer put beside."""
    (folder / "meta").mkdir(parents=True)
    torch.save(tensors, folder / PICKLE)
    stats = {"observation.state": rows(size), "action": rows(size), "timestamp": rows(1)}
    (folder / "meta" / "stats.json").write_text(json.dumps(stats))
    shutil.copy(config("models") / f"{PRESET}.tokenizer.json", folder / "tokenizer.json")
    return folder


def sample(model: HiMoEVLA) -> torch.Tensor:
    """The actions for some fixed inputs and noise, (1, T, 24)."""
    generator = torch.Generator().manual_seed(1)
    size, dtype = model.config.image_size, model.state_proj.weight.dtype
    mask = (torch.arange(24) < 7).float()[None]
    inputs = ModelInputs(
        images=(torch.rand(1, 2, 3, size, size, generator=generator) * 2 - 1).to(dtype),
        view_mask=None,
        tokens=torch.randint(0, 100, (1, 6), generator=generator),
        token_mask=None,
        state=torch.randn(1, 24, generator=generator) * mask,
        data_mask=mask,
    )
    return model.sample_actions(inputs, torch.randn(1, model.config.chunk_steps, 24, generator=generator))
