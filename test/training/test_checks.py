"""What a run is judged by on the way."""

from __future__ import annotations

import pytest
import torch

from himoe_ros.training.checks import busiest, understood
from himoe_ros.training.grounding import CENTRE_M, SCALE_M, GroundTruth


def test_the_busiest_expert_has_the_largest_share_of_tokens():
    routing = torch.tensor([[[0.9, 0.1], [0.8, 0.2]], [[0.4, 0.6], [0.7, 0.3]]])
    assert busiest({3: routing}) == {"busiest_expert_3": pytest.approx(0.75)}


def test_what_a_sentence_means_is_understood_where_the_told_place_is_nearest_to_it():
    places = torch.tensor([[[0.3, 0.1, 0.0], [0.5, -0.1, 0.0], [0.4, 0.0, 0.0]]] * 3)
    present = torch.tensor([[True, True, False]] * 3)
    meant = torch.tensor([[0, 1]] * 3)
    truth = GroundTruth(places, present, torch.zeros(3, 3), meant)
    told = torch.zeros(3, 5, 6)
    aims = torch.tensor([[0, 1], [1, 1], [0, 1]])  # the second takes the wrong thing
    for sample, aim in enumerate(aims):
        told[sample, 3:, :3] = (places[sample, aim] + 0.02 - torch.tensor(CENTRE_M)) / SCALE_M
    shares = understood(told, truth, torch.tensor([True, True, False]))
    assert shares == {"meant_right": 0.5, "meant_right_counterfactual": 1.0}
