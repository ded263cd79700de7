"""The model's door: what does not fit is refused in words."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from himoe_ros.core.errors import ObservationError
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs, check_inputs, check_values
from himoe_ros.resources import config

SMALL = load_model_config("himoe_small", config("models"))
GOOD = ModelInputs(
    images=torch.zeros(1, 2, 3, 112, 112),
    view_mask=torch.ones(1, 2, dtype=torch.bool),
    tokens=torch.zeros(1, 5, dtype=torch.int64),
    token_mask=torch.ones(1, 5, dtype=torch.bool),
    state=torch.zeros(1, 24),
    data_mask=torch.ones(1, 24),
)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": torch.zeros(1, 4, 3, 112, 112)}, r"1 to 3 views, got \(1, 4, 3, 112, 112\)"),
        ({"images": torch.zeros(1, 3, 112, 112)}, r"images must be .* got \(1, 3, 112, 112\)"),
        (
            {"images": torch.zeros(1, 2, 3, 224, 224)},
            r"images must be .*112.* got \(1, 2, 3, 224, 224\)",
        ),
        ({"images": torch.zeros(1, 2, 3, 112, 112, dtype=torch.uint8)}, "images must be .*float32.*uint8"),
        ({"view_mask": torch.ones(1, 3, dtype=torch.bool)}, r"view_mask must be \(1, 2\) bool, got \(1, 3\)"),
        ({"view_mask": torch.ones(1, 2)}, "view_mask must be .* bool, got .* float32"),
        ({"tokens": torch.zeros(1, 97, dtype=torch.int64)}, "at most 96 tokens, got 97; shorten"),
        ({"tokens": torch.zeros(1, 5)}, "tokens must be .* int64, got .* float32"),
        ({"token_mask": torch.ones(1, 4, dtype=torch.bool)}, r"token_mask must be \(1, 5\)"),
        ({"state": torch.zeros(1, 23)}, r"state must be \(1, 24\) float32, got \(1, 23\)"),
        ({"state": torch.zeros(2, 24)}, r"state must be \(1, 24\) float32, got \(2, 24\)"),
        ({"state": torch.zeros(1, 24, dtype=torch.float64)}, "state must be .* got .* float64"),
        ({"data_mask": torch.ones(1, 24, dtype=torch.bool)}, "data_mask must be .* float32, got .* bool"),
        ({"state_mask": torch.ones(1, 23)}, r"state_mask must be \(1, 24\) float32, got \(1, 23\)"),
        ({"space": torch.zeros(2, dtype=torch.int64)}, r"space must be \(1,\) int64, got \(2,\)"),
    ],
)
def test_a_wrong_shape_or_type_says_what_was_expected(change, words):
    with pytest.raises(ObservationError, match=words):
        HiMoEVLA(SMALL).sample_actions(replace(GOOD, **change), torch.zeros(1, 12, 24))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"state": torch.full((1, 24), torch.nan)}, r"state must be finite, 24 values are not, the first at \[0, 0\]"),
        ({"images": torch.full((1, 2, 3, 112, 112), torch.inf)}, "images must be finite"),
        ({"tokens": torch.tensor([[0, 1024]])}, r"tokens must lie in 0\.\.1023, got 0\.\.1024; use the tokenizer"),
        ({"tokens": torch.tensor([[-1, 3]])}, r"got -1\.\.3"),
    ],
)
def test_a_value_no_model_can_use_is_named(change, words):
    with pytest.raises(ObservationError, match=words):
        check_values(replace(GOOD, **change), SMALL)


def test_good_inputs_pass_with_and_without_masks_and_words():
    for change in ({}, {"view_mask": None, "token_mask": None}, {"tokens": torch.zeros(1, 0, dtype=torch.int64)}):
        inputs = replace(GOOD, **change, **({"token_mask": None} if "tokens" in change else {}))
        check_inputs(inputs, SMALL)
        check_values(inputs, SMALL)


def test_a_state_that_tells_of_some_slots_only_is_another_state():
    model = HiMoEVLA(SMALL).initialise(0)
    tokens = [model.embed_state(replace(GOOD, state_mask=m)) for m in (None, GOOD.data_mask, torch.zeros(1, 24))]
    assert torch.equal(tokens[0], tokens[1]) and not torch.equal(tokens[0], tokens[2])
