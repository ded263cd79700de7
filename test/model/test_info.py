"""The description of a model says what the paper and the release say."""

from __future__ import annotations

import pytest
import torch

from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.info import active_in_expert, describe, parameters
from himoe_ros.resources import config

PRESETS = sorted(path.stem for path in config("models").glob("*.yaml"))


def built(preset: str) -> HiMoEVLA:
    with torch.device("meta"):
        return HiMoEVLA(load_model_config(preset, config("models")))


def test_the_parts_of_the_4b_model_have_their_published_sizes():
    millions = {part: round(count / 1e6, 1) for part, count in parameters(built("himoe_4b")).items()}
    assert millions == {
        "SigLIP": 412.4,
        "projector": 2.4,
        "Gemma layers": 1981.9,
        "embedding": 526.8,
        "expert attention": 84.9,
        "expert AS-MoE": 151.0,
        "expert HB-MoE": 830.7,
        "expert dense": 75.5,
        "expert norms": 0.0,
        "heads": 3.2,
    }
    assert active_in_expert(built("himoe_4b")) / 1e6 == pytest.approx(337, abs=0.5)


def test_the_description_of_the_4b_model():
    text = describe(load_model_config("himoe_4b", config("models")))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "AS-MoE layers 0-1, 16-17 3 experts of width 4096, top-1" in lines
    assert "HB-MoE layers 2-5, 12-15 32 experts of width 1024, top-4, 1 shared" in lines
    assert "dense layers 6-11 width 4096" in lines
    assert "total 4068.9" in lines
    assert "active in the expert a token 336.9" in lines
    assert "memory of the weights: 8.14 GB in bf16, 16.28 GB in fp32" in lines


@pytest.mark.parametrize("preset", PRESETS)
def test_the_parts_of_every_preset_make_up_the_whole(preset):
    model = built(preset)
    assert sum(parameters(model).values()) == sum(p.numel() for p in model.parameters())
    assert active_in_expert(model) <= sum(p.numel() for p in model.expert.parameters())
    assert describe(model.config).startswith(preset)
