"""The benchmark compares the same function: both ways to compute it agree."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from himoe_ros.bench import reference
from himoe_ros.bench.gpu import full_inputs, random_model
from himoe_ros.bench.policy import synthetic_inputs, true_expert
from himoe_ros.bench.training import bench_training
from himoe_ros.model import experts
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.resources import config


@pytest.mark.parametrize("small", [experts.SMALL, 0], ids=["all at once", "grouped"])
@pytest.mark.parametrize("chunk", [10, 50])
def test_our_samples_are_those_of_the_loop_shaped_like_the_release(monkeypatch, small, chunk):
    monkeypatch.setattr(experts, "SMALL", small)
    model_config = replace(load_model_config("himoe_small", config("models")), chunk_steps=chunk)
    model = HiMoEVLA(model_config).initialise(0).eval()
    lean, padded = synthetic_inputs(model_config, 1)
    noise = torch.randn(1, chunk, 24, generator=torch.Generator().manual_seed(3))
    ours, theirs = model.sample_actions(lean, noise), reference.sample_actions(model, padded, noise)
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=0)


def test_a_training_step_has_the_loss_of_the_loop_shaped_like_the_release():
    figures = bench_training(1, 1, 2, config("models"), config("training") / "xarm7_small.yaml")
    assert all(row.difference < 5e-3 for rows in figures.values() for row in rows)  # bfloat16


def permuted_inputs(words: int) -> ModelInputs:
    """Two samples that differ in all that could be right by accident, and what is masked is not zero."""
    generator = torch.Generator().manual_seed(5)
    mask = torch.zeros(2, 24)
    mask[0, :7] = 1.0
    mask[1, 8:15] = mask[1, 16:23] = 1.0
    token_mask = torch.arange(96) < torch.tensor([[words], [11]])
    return ModelInputs(
        images=torch.rand(2, 3, 3, 112, 112, generator=generator) * 2 - 1,
        view_mask=torch.tensor([[False, True, True], [True, False, True]]),
        tokens=torch.randint(0, 1024, (2, 96), generator=generator),
        token_mask=token_mask,
        state=torch.randn(2, 24, generator=generator) * mask,
        data_mask=mask,
    )


@pytest.mark.parametrize("words", [0, 96])
def test_other_masks_a_missing_first_view_and_any_length_of_text(words):
    model_config = load_model_config("himoe_small", config("models"))
    model = HiMoEVLA(model_config).initialise(0).eval()
    inputs = permuted_inputs(words)
    noise = torch.randn(2, 12, 24, generator=torch.Generator().manual_seed(3))
    theirs = reference.sample_actions(model, inputs, noise)
    torch.testing.assert_close(model.sample_actions(inputs, noise), theirs, atol=1e-4, rtol=0)
    for i in range(2):  # what a sample is told is all that it sees, so leaving out what is masked is the same
        seen, said = inputs.view_mask[i], inputs.token_mask[i]
        alone = ModelInputs(
            inputs.images[i : i + 1, seen],
            None,
            inputs.tokens[i : i + 1, said],
            None,
            inputs.state[i : i + 1],
            inputs.data_mask[i : i + 1],
        )
        torch.testing.assert_close(model.sample_actions(alone, noise[i : i + 1]), theirs[i : i + 1], atol=1e-4, rtol=0)


def test_the_true_expert_is_the_released_one():
    full = load_model_config("himoe_4b", config("models"))
    assert true_expert(full).expert == full.expert
    assert true_expert(full).language.layers == full.language.layers


def test_the_gpu_bench_compares_models_that_answer_alike():
    small = load_model_config("himoe_small", config("models"))
    model = random_model(small, "cpu", torch.float32)
    noise = torch.randn(1, 12, 24, generator=torch.Generator().manual_seed(3))
    asked = full_inputs(small, "cpu")
    torch.testing.assert_close(
        model.sample_actions(asked, noise), reference.sample_actions(model, asked, noise), atol=1e-4, rtol=0
    )
