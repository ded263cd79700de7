"""The benchmark compares the same function: both ways to compute it agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from himoe_ros.bench import reference
from himoe_ros.bench.policy import _inputs, true_expert
from himoe_ros.model import moe
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.resources import config


@pytest.mark.parametrize("small", [moe.SMALL, 0], ids=["all at once", "grouped"])
@pytest.mark.parametrize("chunk", [10, 50])
def test_our_samples_are_those_of_the_loop_shaped_like_the_release(monkeypatch, small, chunk):
    monkeypatch.setattr(moe, "SMALL", small)
    model_config = replace(load_model_config("himoe_small", config("models")), chunk_steps=chunk)
    model = HiMoEVLA(model_config).initialise(0).eval()
    lean, padded = _inputs(model_config)
    noise = torch.randn(1, chunk, 24, generator=torch.Generator().manual_seed(3))
    ours, theirs = model.sample_actions(lean, noise), reference.sample_actions(model, padded, noise)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_the_true_expert_is_the_released_one():
    full = load_model_config("himoe_4b", config("models"))
    assert true_expert(full).expert == full.expert
    assert true_expert(full).language.layers == full.language.layers
