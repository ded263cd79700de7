"""himoe_ros.model.eight_bit: routed experts in eight bits plan nearly the same, in a fraction of the memory."""

from __future__ import annotations

import pytest
import torch
from model.test_himoe import inputs, noise

from himoe_ros.core.errors import ConfigError
from himoe_ros.model.chunking import Guidance
from himoe_ros.model.config import load_model_config
from himoe_ros.model.eight_bit import EightBit
from himoe_ros.model.experts import Experts
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.resources import config

WITHIN = {"int8": 0.5 / 127, "float8": 2**-4}  # half a step of the largest weight; of each weight


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", WITHIN)
def test_a_weight_is_off_by_no_more_than_half_a_step(kind):
    weight = drawn(4, 32, 48)
    weight[2, 5] = 0.0
    kept = EightBit(weight, kind)
    largest = weight.abs().amax(-1, keepdim=True) if kind == "int8" else weight.abs()
    assert ((kept[:] - weight).abs() <= WITHIN[kind] * largest + 1e-4).all()
    assert torch.equal(kept[torch.tensor([3, 1])], kept[:][[3, 1]]) and not kept[2][5].any()
    x = drawn(7, 48)
    told, wanted = kept.of(1, x), x @ weight[1].T
    assert (told - wanted).norm() < {"int8": 0.01, "float8": 0.05}[kind] * wanted.norm()


@pytest.mark.parametrize("kind", WITHIN)
@pytest.mark.parametrize("preset", ["himoe_small", "adamoe_small"])
def test_a_model_with_rounded_experts_samples_nearly_the_same(kind, preset):
    def model() -> HiMoEVLA:
        return HiMoEVLA(load_model_config(preset, config("models"))).initialise(0).eval()

    plain, rounded = model().sample_actions(inputs(), noise()), model().arrange(kind).sample_actions(inputs(), noise())
    assert not torch.equal(plain, rounded)
    assert (plain - rounded).norm() < {"int8": 0.02, "float8": 0.1}[kind] * plain.norm()


def test_no_wide_copy_of_a_rounded_expert_is_kept():
    model = model_of("int8")
    plain, bent = ([m for m in e.modules() if isinstance(m, Experts)] for e in (model.expert, model.differentiable))
    assert plain and all(w.is_meta for e in (*plain, *bent) for w in e.parameters())
    assert [e.eight for e in plain] == [e.eight for e in bent], "nor a second rounded one"


@pytest.mark.parametrize("kind", WITHIN)
def test_a_plan_can_still_be_bent_toward_another(kind):
    wanted = Guidance(torch.zeros_like(noise()), torch.ones(noise().shape[:2]))
    free, bent = (model_of(kind).sample_actions(inputs(), noise(), g)[..., :7].norm() for g in (None, wanted))
    assert bent < 0.5 * free


def model_of(kind: str) -> HiMoEVLA:
    return HiMoEVLA(load_model_config("himoe_small", config("models"))).initialise(0).eval().arrange(kind)


def test_another_kind_is_refused_by_name():
    with pytest.raises(ConfigError, match="expert weights must be int8 or float8, got 'int4'"):
        EightBit(drawn(1, 2, 2), "int4")
