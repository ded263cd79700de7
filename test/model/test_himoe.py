"""The model's structure and the identities that the paper's design promises."""

from __future__ import annotations

import copy
import statistics
import time
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
import yaml

from himoe_ros.core.errors import ConfigError
from himoe_ros.model import experts as stacked
from himoe_ros.model.config import LayerKind, MoEConfig, load_model_config, parse_model_config
from himoe_ros.model.flow import flow_loss, flow_times, integrate, interpolate, time_embedding
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.model.layers import rms_norm
from himoe_ros.model.packed import PackedNorm, packs
from himoe_ros.resources import config


@pytest.fixture(scope="module")
def model() -> HiMoEVLA:
    return HiMoEVLA(load_model_config("himoe_small", config("models"))).initialise(0).eval()


def inputs(batch: int = 2, views: int = 2, words: int = 9) -> ModelInputs:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(batch, 24)
    mask[:, :7] = 1.0
    return ModelInputs(
        images=torch.rand(batch, views, 3, 112, 112, generator=generator) * 2 - 1,
        view_mask=None,
        tokens=torch.randint(0, 500, (batch, words), generator=generator),
        token_mask=None,
        state=torch.randn(batch, 24, generator=generator) * mask,
        data_mask=mask,
    )


def noise(batch: int = 2) -> torch.Tensor:
    return torch.randn(batch, 12, 24, generator=torch.Generator().manual_seed(2))


def test_4b_has_the_layers_of_the_paper():
    kinds = [load_model_config("himoe_4b", config("models")).layer_kind(i) for i in range(18)]
    assert [i for i, k in enumerate(kinds) if k is LayerKind.AS] == [0, 1, 16, 17]
    assert [i for i, k in enumerate(kinds) if k is LayerKind.HB] == [2, 3, 4, 5, 12, 13, 14, 15]
    assert [i for i, k in enumerate(kinds) if k is LayerKind.DENSE] == list(range(6, 12))


def test_4b_has_the_parameters_of_the_released_model():
    with torch.device("meta"):
        model = HiMoEVLA(load_model_config("himoe_4b", config("models")))
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(4068.9, abs=0.1)


def test_masked_views_and_padding_change_nothing(model):
    plain = inputs(views=2, words=9)
    garbage = torch.full((2, 1, 3, 112, 112), 7.0)
    padded = replace(
        plain,
        images=torch.cat([plain.images, garbage], dim=1),
        view_mask=torch.tensor([[True, True, False]] * 2),
        tokens=torch.cat([plain.tokens, torch.full((2, 4), 3)], dim=1),
        token_mask=torch.tensor([[True] * 9 + [False] * 4] * 2),
    )
    torch.testing.assert_close(
        model.sample_actions(padded, noise()), model.sample_actions(plain, noise()), atol=2e-5, rtol=1e-5
    )


def test_samples_of_a_batch_do_not_see_each_other(model):
    both = inputs()
    one = ModelInputs(both.images[:1], None, both.tokens[:1], None, both.state[:1], both.data_mask[:1])
    torch.testing.assert_close(
        model.sample_actions(one, noise()[:1]), model.sample_actions(both, noise())[:1], atol=2e-5, rtol=1e-5
    )


def test_sampling_evaluates_ten_times_never_at_zero_and_leaves_the_noise(model):
    steps = []
    start = noise()
    before = start.clone()
    out = integrate(lambda x, i: steps.append(i) or torch.ones_like(x), start, 10)
    assert [flow_times(10)[i] for i in steps] == pytest.approx([1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    torch.testing.assert_close(out, before - 1.0)
    model.sample_actions(inputs(), start)
    assert torch.equal(start, before)


def test_images_words_state_and_mask_all_matter(model):
    base = model.sample_actions(inputs(), noise())
    changed = [
        replace(inputs(), images=-inputs().images),
        replace(inputs(), tokens=(inputs().tokens + 1) % 500),
        replace(inputs(), state=inputs().state + 0.5 * inputs().data_mask),
        replace(inputs(), data_mask=torch.roll(inputs().data_mask, 8, dims=1)),
    ]
    for other in changed:
        assert (model.sample_actions(other, noise()) - base).abs().max() > 1e-3


def test_the_data_mask_alone_chooses_the_action_space_expert(model):
    routing = model.expert.layers[0].mlp.route(inputs().data_mask)
    assert routing.chosen.shape == (2, 1, 1)
    assert torch.equal(routing.chosen[0], routing.chosen[1])
    assert torch.equal(routing.weight[..., 0], routing.probability.amax(-1)), "the winner's raw probability"


@pytest.mark.parametrize("small", [1 << 30, 0], ids=["all at once", "grouped"])
def test_a_token_hears_the_experts_it_chose_and_no_other(model, monkeypatch, small):
    monkeypatch.setattr(stacked, "SMALL", small)
    experts = model.expert.layers[1].mlp.experts
    x = torch.randn(1, 3, 192)
    chosen = torch.tensor([[[2, 5]] * 3])
    weight = torch.tensor([[[0.75, 0.25]] * 3])

    def single(i: int) -> torch.Tensor:
        (gate, up), down = experts.gate_up_proj[i].chunk(2), experts.down_proj[i]
        return (torch.nn.functional.silu(x @ gate.T) * (x @ up.T)) @ down.T

    out = experts(x, stacked.Routing(torch.zeros(1, 3, 8), chosen, weight))
    torch.testing.assert_close(out, 0.75 * single(2) + 0.25 * single(5), atol=1e-5, rtol=1e-4)


def test_both_ways_to_run_experts_agree_with_gradients(model, monkeypatch):
    results = []
    for small in (1 << 30, 0):
        monkeypatch.setattr(stacked, "SMALL", small)
        model.zero_grad()
        velocity, _ = model(inputs(), noise(), torch.tensor([0.2, 0.8]))
        velocity.square().mean().backward()
        layer = model.expert.layers[1].mlp
        results.append((velocity.detach(), layer.experts.gate_up_proj.grad.clone(), layer.gate.weight.grad.clone()))
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_arranged_weights_give_the_same_samples(model):
    plain, arranged = (copy.deepcopy(model) for _ in range(2))
    for each in (plain, arranged):
        generator = torch.Generator().manual_seed(3)
        for parameter in (p for p in each.parameters() if p.dim() < 2):  # norms and biases, which begin neutral
            parameter.data += 0.1 * torch.randn(parameter.shape, generator=generator)
    torch.testing.assert_close(
        arranged.arrange().sample_actions(inputs(), noise()),
        plain.sample_actions(inputs(), noise()),
        atol=2e-5,
        rtol=1e-5,
    )


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [0.0, 1e-4, 1.0, 1e4])
def test_a_packed_norm_is_the_norm_at_any_size(kind, size):
    generator = torch.Generator().manual_seed(0)
    x = (size * torch.randn(2, 5, 192, generator=generator)).to(kind)
    weight = torch.randn(192, generator=generator).to(kind)
    torch.testing.assert_close(PackedNorm(weight)(x), rms_norm(x, weight))


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16])
def test_packed_experts_are_the_same_experts(monkeypatch, kind):
    monkeypatch.setattr(stacked, "SMALL", 0)
    close = {"atol": 2e-5, "rtol": 1e-5} if kind is torch.float32 else {"atol": 0.1, "rtol": 0.05}
    config_ = load_model_config("himoe_small", config("models"))
    model, arranged = (HiMoEVLA(config_).initialise(0).to(kind).eval() for _ in range(2))
    arranged.arrange()
    experts = arranged.expert.layers[1].mlp.experts
    packed = packs(torch.empty(0, dtype=kind))
    assert (experts.packed is not None) == experts.gate_up_proj.is_meta == packed, "one copy of the weights"
    torch.testing.assert_close(
        arranged.sample_actions(inputs(), noise()), model.sample_actions(inputs(), noise()), **close
    )


def test_experts_of_bfloat16_agree_with_a_loop():
    experts = stacked.Experts(64, MoEConfig(experts=6, top_k=2, mlp=32))
    generator = torch.Generator().manual_seed(4)
    for parameter in experts.parameters():
        parameter.data.normal_(0, 0.1, generator=generator)
    experts = experts.to(torch.bfloat16)
    for tokens in (1, 7):
        x = torch.randn(1, tokens, 64, generator=generator).to(torch.bfloat16)
        chosen = torch.stack([torch.randperm(6, generator=generator)[:2] for _ in range(tokens)])
        routing = stacked.Routing(torch.zeros(1, tokens, 6), chosen[None], torch.full((1, tokens, 2), 0.5))
        wanted = torch.zeros(tokens, 64)
        for t in range(tokens):
            for e in chosen[t].tolist():
                gate, up = (experts.gate_up_proj[e].float() @ x[0, t].float()).chunk(2)
                wanted[t] += 0.5 * experts.down_proj[e].float() @ (F.silu(gate) * up)
        grouped = experts._grouped(x[0], chosen, routing.weight[0].to(torch.bfloat16))
        torch.testing.assert_close(grouped.float(), wanted, atol=0.03, rtol=0.03)


def test_a_chunk_never_waits_for_the_device():
    """A tensor without values cannot be asked for one, so a graph can capture what runs on such tensors."""
    with torch.device("meta"):
        model = HiMoEVLA(load_model_config("himoe_4b", config("models"))).to(torch.bfloat16)
        images, tokens = torch.zeros(1, 3, 3, 224, 224), torch.zeros(1, 20, dtype=torch.int64)
        batch = ModelInputs(images, None, tokens, None, torch.zeros(1, 24), torch.zeros(1, 24))
        start = torch.zeros(1, 10, 24)
    assert model.sample_actions(batch, start).device.type == "meta"


def test_sampling_equals_the_training_pass_step_by_step(model):
    x = noise()
    steps = model.config.flow_steps
    for t in flow_times(steps):
        with torch.no_grad():
            velocity, _ = model(inputs(), x, torch.full((2,), t))
        x = x - velocity / steps
    torch.testing.assert_close(model.sample_actions(inputs(), noise()), x, atol=2e-5, rtol=1e-5)


def test_flow_path_and_masked_loss():
    actions, start = torch.zeros(1, 2, 24), torch.ones(1, 2, 24)
    x, wanted = interpolate(start, actions, torch.tensor([0.25]))
    assert torch.all(x == 0.25)
    assert torch.all(wanted == 1.0)
    mask = torch.zeros(1, 24)
    mask[:, :7] = 1
    predicted = torch.where(mask[:, None] > 0, 0.5, 100.0).expand(1, 2, 24)
    assert flow_loss(predicted, wanted, mask[:, None]).item() == pytest.approx(0.25)


def test_time_embedding_spans_periods_from_4e_3_to_4():
    embedding = time_embedding(torch.tensor([1.0]), 8)
    angles = [2 * torch.pi / (4e-3 * 1000 ** (i / 3)) for i in range(4)]
    expected = torch.cat([torch.tensor(angles).sin(), torch.tensor(angles).cos()])
    torch.testing.assert_close(embedding[0], expected, atol=1e-3, rtol=0)


def test_himoe_small_plans_well_under_100_ms(model):
    one = inputs(batch=1)
    durations = []
    for _ in range(8):
        begin = time.perf_counter()
        model.sample_actions(one, noise(1))
        durations.append(time.perf_counter() - begin)
    assert statistics.median(durations) < 0.1


def test_a_wrong_configuration_is_named():
    with pytest.raises(ConfigError, match="himoe_4b, himoe_small,"):
        load_model_config("himoe_huge", config("models"))
    data = yaml.safe_load((config("models") / "himoe_small.yaml").read_text())
    with pytest.raises(ConfigError, match=r"vision: unknown keys \['colour'\]"):
        parse_model_config({**data, "vision": {**data["vision"], "colour": 1}}, "here")
    greedy = {**data["expert"], "hb_moe": {"experts": 4, "top_k": 5, "mlp": 8}}
    with pytest.raises(ConfigError, match=r"top_k must be in 1\.\.4 experts, got 5"):
        parse_model_config({**data, "name": "x", "expert": greedy}, "here")
