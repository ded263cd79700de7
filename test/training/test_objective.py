"""The objective: when in the flow, and what of a sample is learned from."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.resources import config
from himoe_ros.training.grounding import Grounding, GroundTruth
from himoe_ros.training.objective import Batch, Objective, learned_from, sample_times, tell_steps

SMALL = load_model_config("himoe_small", config("models"))
THINGS = 3


@pytest.fixture(scope="module")
def model() -> HiMoEVLA:
    return HiMoEVLA(SMALL).initialise(0)


def batch(count: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(count, 24)
    mask[:, :7] = 1.0
    inputs = ModelInputs(
        images=torch.rand(count, 2, 3, 112, 112, generator=generator) * 2 - 1,
        view_mask=None,
        tokens=torch.randint(0, 1024, (count, 7), generator=generator),
        token_mask=None,
        state=torch.randn(count, 24, generator=generator) * mask,
        data_mask=mask,
    )
    actions = torch.randn(count, 12, 24, generator=generator) * mask[:, None]
    truth = GroundTruth(
        places=torch.rand(count, THINGS, 3, generator=generator),
        present=torch.tensor([[True, True, False]] * count),
        tool=torch.rand(count, 3, generator=generator),
        meant=torch.tensor([[0, 1]] * count),
    )
    valid, imitated = torch.ones(count, 12, dtype=torch.bool), torch.ones(count, dtype=torch.bool)
    return Batch(inputs, actions, valid, imitated, truth)


def noise_and_times(count: int, seed: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 12, 24, generator=generator), sample_times(count, generator)


def test_times_are_beta_and_never_at_the_actions():
    t = sample_times(200_000, torch.Generator().manual_seed(0))
    assert t.min() >= 0.001 and t.max() <= 1.0
    u = (t - 0.001) / 0.999
    assert u.mean() == pytest.approx(1.5 / 2.5, abs=2e-3)
    assert u.var() == pytest.approx(1.5 / (2.5**2 * 3.5), abs=2e-3)
    for x in (0.2, 0.5, 0.8):
        assert (u < x).float().mean() == pytest.approx(x**1.5, abs=5e-3), "the distribution of Beta(1.5, 1)"


def test_the_releases_sampler_is_another_one():
    t = sample_times(200_000, torch.Generator().manual_seed(0), "released")
    assert t.mean() == pytest.approx(0.558, abs=3e-3)


def test_flow_samples_of_an_observation_share_its_prefix(model):
    objective, data = Objective(model, None).eval(), batch()
    noise, t = noise_and_times(6)
    together = objective(data, noise, t)["flow"]
    apart = []
    for k in range(3):
        apart.append(objective(data, noise[k::3], t[k::3])["flow"])
    assert together.item() == pytest.approx(torch.stack(apart).mean().item(), rel=1e-5)


@pytest.mark.parametrize("what", ["padded steps", "masked slots", "another sentence"])
def test_what_is_no_demonstration_is_not_learned_from(model, what):
    objective, data = Objective(model, None).eval(), batch()
    noise, t = noise_and_times(2)
    changed = data.actions.clone()
    if what == "padded steps":
        data = replace(data, valid=torch.arange(12)[None] < torch.tensor([[12], [5]]))
        changed[1, 5:] += 9.0
    elif what == "masked slots":
        changed[..., 7:] += 9.0
    else:
        data = replace(data, imitated=torch.tensor([True, False]))
        changed[1] += 9.0
    # Their noisy values stay what they were: x = t noise + (1 - t) actions.
    other = noise + (1 - t)[:, None, None] / t[:, None, None] * (data.actions - changed)
    grads = []
    for actions, eps in ((data.actions, noise), (changed, other)):
        model.zero_grad()
        objective(replace(data, actions=actions), eps, t)["flow"].backward()
        grads.append(model.action_out_proj.weight.grad.clone())
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-5)
    assert (grads[0][7:] == 0).all(), "no gradient reaches the head of a masked slot"
    assert (grads[0][:7] != 0).any()


def test_grounding_asks_only_for_what_is_there_and_reaches_the_prefix(model):
    torch.manual_seed(0)
    grounding = Grounding(SMALL, THINGS, 1.0)
    objective, data = Objective(model, grounding), batch()
    noise, t = noise_and_times(2)
    loss = objective(data, noise, t)["grounding"]
    places = data.truth.places.clone()
    places[:, 2] += 5.0
    assert objective(replace(data, truth=replace(data.truth, places=places)), noise, t)["grounding"] == loss
    meant = replace(data.truth, meant=torch.tensor([[1, 0]] * 2))
    assert objective(replace(data, truth=meant), noise, t)["grounding"] != loss, "it depends on what the sentence means"
    model.zero_grad()
    loss.backward()
    assert model.prefix.projector.weight.grad.abs().sum() > 0


def test_grounding_leaves_nothing_in_the_policy(model):
    names = {n for n, _ in Objective(model, Grounding(SMALL, THINGS, 1.0)).model.named_parameters()}
    assert names == {n for n, _ in HiMoEVLA(SMALL).named_parameters()}


def test_two_embodiments_in_one_batch_do_not_leak():
    """xArm7 end-effector and ALOHA joints: what one does not have it does not change."""
    model = HiMoEVLA(SMALL).initialise(0)
    spaces = [load_embodiment("xarm7", config("embodiments")).action_space("end_effector")]
    spaces.append(load_embodiment("aloha", config("embodiments")).action_space("joints"))
    masks = torch.stack([torch.from_numpy(s.mask).float() for s in spaces])
    both = batch(4)
    mask = masks.repeat_interleave(2, 0)
    inputs = replace(both.inputs, data_mask=mask, state=both.inputs.state * mask)
    both = replace(both, inputs=inputs, actions=torch.randn(4, 12, 24) * mask[:, None], truth=None)
    objective = Objective(model, None)

    alone = replace(both, imitated=torch.tensor([True, True, False, False]))
    objective(alone, *noise_and_times(4))["flow"].backward()
    unused = masks[0] == 0
    for parameter in (model.action_out_proj.weight, model.action_out_proj.bias):
        assert (parameter.grad[unused] == 0).all() and (parameter.grad[~unused] != 0).any()


def test_so_many_first_steps_are_told_as_may_be_late():
    t = sample_times(4000, torch.Generator().manual_seed(0))
    told = tell_steps(t, 12, 4, torch.Generator().manual_seed(1))
    count = (told == 0).sum(1)
    assert torch.equal(told == 0, torch.arange(12) < count[:, None]), "the first ones"
    assert count.bincount().float() / 4000 == pytest.approx(torch.full((5,), 0.2), abs=0.03)
    assert torch.equal(told[:, -1], t)


def test_told_steps_are_the_actions_themselves_and_nothing_is_learned_from_them(model):
    objective, b = Objective(model, None), batch()
    noise, t = noise_and_times(4)
    told = tell_steps(t, 12, 4, torch.Generator().manual_seed(3))
    told[0, :4] = 0.0
    loss = objective(b, noise, told)["flow"]
    other = torch.where((told == 0)[..., None], 100.0, noise)
    assert torch.equal(objective(b, other, told)["flow"], loss), "their noise is not looked at"
    assert learned_from(b, told)[0, :4].sum() == 0 and learned_from(b, told)[0, 4:].sum() == 8 * 7
    assert torch.equal(objective(b, noise, t[:, None].expand(-1, 12))["flow"], objective(b, noise, t)["flow"])
