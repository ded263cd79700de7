"""himoe_ros.model.chunking: a chunk agrees with what the robot does meanwhile, whether told or bent toward it."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from model.test_himoe import inputs, noise

from himoe_ros.core.errors import ConfigError
from himoe_ros.model.chunking import STRONGEST, Guidance, guidance_strength
from himoe_ros.model.config import load_model_config
from himoe_ros.model.flow import flow_times, integrate
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.resources import config

SMALL = load_model_config("himoe_small", config("models"))
CERTAIN = 3


@pytest.fixture(scope="module")
def model() -> HiMoEVLA:
    return HiMoEVLA(SMALL).initialise(0).eval()


def guidance(certain: int = CERTAIN) -> Guidance:
    weights = torch.zeros(2, 12)
    weights[:, :certain] = 1.0
    actions = torch.randn(2, 12, 24, generator=torch.Generator().manual_seed(5))
    return Guidance(actions * inputs().data_mask[:, None], weights)


def test_guidance_is_strongest_at_noise_and_as_in_the_paper():
    assert guidance_strength(1.0) == STRONGEST
    tau = 0.5
    r2 = (1 - tau) ** 2 / (tau**2 + (1 - tau) ** 2)
    assert guidance_strength(1 - tau) == pytest.approx((1 - tau) / (tau * r2))


def test_without_weights_guidance_changes_nothing(model):
    free = replace(guidance(), weights=torch.zeros(2, 12))
    forced = Guidance(free.actions, free.weights + 0.0)
    torch.testing.assert_close(
        model.sample_actions(inputs(), noise(), forced), model.sample_actions(inputs(), noise()), atol=2e-5, rtol=1e-5
    )


def test_a_velocity_that_depends_on_nothing_is_bent_by_the_error_alone(model, monkeypatch):
    """Where the velocity is zero everywhere, leads_to = x and the pull is the error itself: a known recursion."""
    monkeypatch.setattr(model, "velocity", lambda hidden, _space: 0.0 * hidden[..., :1].float())
    wanted = guidance()
    got = model.sample_actions(inputs(), noise(), wanted)
    x, steps = noise(), SMALL.flow_steps
    weight = wanted.weights[..., None] * inputs().data_mask[:, None]
    for t in flow_times(steps):
        x = x + guidance_strength(t) / steps * weight * (wanted.actions - x)
    torch.testing.assert_close(got, x)


def test_a_guided_chunk_comes_near_to_what_is_certain_and_the_arranged_model_the_same_way(model):
    wanted, part = guidance(), (slice(None), slice(CERTAIN), slice(7))
    free, bent = model.sample_actions(inputs(), noise()), model.sample_actions(inputs(), noise(), wanted)
    before, after = ((x[part] - wanted.actions[part]).abs().mean() for x in (free, bent))
    assert after < 0.5 * before
    arranged = HiMoEVLA(SMALL).initialise(0).eval().arrange()
    torch.testing.assert_close(arranged.sample_actions(inputs(), noise(), wanted), bent, atol=1e-4, rtol=1e-4)


def test_a_model_that_learned_it_is_told_what_is_certain():
    model = HiMoEVLA(replace(SMALL, committed_steps=4)).initialise(0).eval()
    wanted = guidance()
    got = model.sample_actions(inputs(), noise(), wanted)
    assert torch.equal(got[:, :CERTAIN], wanted.actions[:, :CERTAIN])
    context = model.encode(inputs())
    told = wanted.told[..., None]

    def velocity(x: torch.Tensor, step: int) -> torch.Tensor:
        t = torch.where(wanted.told, 0.0, flow_times(SMALL.flow_steps)[step])
        return model.denoise(inputs(), context, torch.where(told, wanted.actions, x), t)[0]

    expected = torch.where(told, wanted.actions, integrate(velocity, noise(), SMALL.flow_steps))
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=1e-5)


def test_more_certain_steps_than_were_learned_are_bent_toward(model):
    learned = HiMoEVLA(replace(SMALL, committed_steps=CERTAIN - 1)).initialise(0).eval()
    torch.testing.assert_close(
        learned.sample_actions(inputs(), noise(), guidance()), model.sample_actions(inputs(), noise(), guidance())
    )


def test_all_steps_cannot_be_told():
    with pytest.raises(ConfigError, match="committed_steps must be >= 0 and < chunk_steps 12"):
        replace(SMALL, committed_steps=12)
