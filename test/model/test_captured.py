"""himoe_ros.model.captured: what a GPU replays is what the model computes. Skipped where there is no GPU."""

from __future__ import annotations

from dataclasses import fields

import pytest
import torch
from model.test_himoe import inputs, noise

from himoe_ros.model.captured import CapturedSampler, shape_of
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.resources import config

gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")


def there(given: ModelInputs) -> ModelInputs:
    tensors = {f.name: getattr(given, f.name) for f in fields(given)}
    return ModelInputs(**{name: None if t is None else t.cuda() for name, t in tensors.items()})


def test_inputs_of_other_words_or_views_have_another_shape():
    assert shape_of(inputs()) == shape_of(inputs())
    assert (
        len({shape_of(inputs()), shape_of(inputs(words=8)), shape_of(inputs(views=3)), shape_of(inputs(batch=1))}) == 4
    )


@gpu
def test_a_replay_answers_as_the_model_and_forgets_what_was_asked_before():
    model = HiMoEVLA(load_model_config("himoe_small", config("models"))).initialise(0).cuda().eval()
    sampler = CapturedSampler(model, there(inputs()), noise().cuda())
    for change in (0.0, 0.5):
        asked = inputs()
        asked.images.mul_(1 - change)
        got = sampler(asked, noise())
        torch.testing.assert_close(got, model.sample_actions(there(asked), noise().cuda()), atol=1e-3, rtol=1e-3)


@gpu
def test_memory_is_fixed_once_a_graph_is_there():
    model = HiMoEVLA(load_model_config("himoe_small", config("models"))).initialise(0).cuda().eval()
    sampler = CapturedSampler(model, there(inputs()), noise().cuda())
    sampler(inputs(), noise())
    before = torch.cuda.memory_reserved()
    for _ in range(50):
        sampler(inputs(), noise())
    assert torch.cuda.memory_reserved() == before
