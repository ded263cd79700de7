"""Each variant of the paper's tables, and what makes it different."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from himoe_ros.core.errors import ConfigError, ObservationError
from himoe_ros.model.config import LayerKind, load_model_config
from himoe_ros.model.experts import DenseMLP
from himoe_ros.model.flow import flow_loss
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.model.moe import AdaMoE, upcycle
from himoe_ros.model.regularisation import as_reg_paper, as_reg_released, hb_reg_paper, hb_reg_released, routing_losses
from himoe_ros.resources import config

MODELS = config("models")
SMALL = sorted(p.stem for p in MODELS.glob("*small*.yaml"))


def build(name: str) -> HiMoEVLA:
    return HiMoEVLA(load_model_config(name, MODELS)).initialise(0).eval()


def inputs(batch: int = 2) -> ModelInputs:
    generator = torch.Generator().manual_seed(1)
    mask = torch.zeros(batch, 24)
    mask[0, :7], mask[1:, 8:16] = 1.0, 1.0
    return ModelInputs(
        torch.rand(batch, 1, 3, 112, 112, generator=generator) * 2 - 1,
        None,
        torch.randint(0, 500, (batch, 5), generator=generator),
        None,
        torch.randn(batch, 24, generator=generator) * mask,
        mask,
        torch.arange(batch),
    )


NOISE = torch.randn(2, 12, 24, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("himoe_small", {LayerKind.AS: 2, LayerKind.HB: 2, LayerKind.DENSE: 2}),
        ("himoe_small_dense", {LayerKind.DENSE: 6}),
        ("himoe_small_full_hb", {LayerKind.HB: 6}),
        ("himoe_small_without_as", {LayerKind.HB: 2, LayerKind.DENSE: 4}),
        ("himoe_small_without_hb", {LayerKind.AS: 2, LayerKind.DENSE: 4}),
        ("himoe_small_single_moe", {LayerKind.HB: 4, LayerKind.DENSE: 2}),
        ("adamoe_small", {LayerKind.ADA: 6}),
    ],
)
def test_a_variant_has_its_kinds_of_layers(name, kinds):
    cfg = load_model_config(name, MODELS)
    assert Counter(cfg.layer_kind(i) for i in range(cfg.language.layers)) == kinds


@pytest.mark.parametrize("name", SMALL)
def test_every_variant_samples_and_every_parameter_that_matters_learns(name):
    model = build(name)
    assert torch.isfinite(model.sample_actions(inputs(), NOISE)).all()
    velocity, routing = model(inputs(), NOISE, torch.tensor([0.3, 0.9]))
    losses = routing_losses(model.config, routing, inputs().data_mask)
    flow = flow_loss(velocity, torch.ones_like(velocity), inputs().data_mask[:, None])
    (flow + losses["as"] + losses["hb"]).backward()
    idle = [n for n, p in model.named_parameters() if p.grad is None]
    last = f"prefix.language_model.layers.{model.config.language.layers - 1}."
    assert all(n.startswith(last) or n == "prefix.language_model.norm.weight" for n in idle), idle


def test_router_losses_act_where_the_variant_says():
    def losses(name: str) -> tuple[float, float]:
        model = build(name)
        _, routing = model(inputs(), NOISE, torch.tensor([0.3, 0.9]))
        found = routing_losses(model.config, routing, inputs().data_mask)
        return found["as"].item(), found["hb"].item()

    full, without, single, paper = (
        losses(f"himoe_small{v}") for v in ("", "_without_reg", "_single_moe", "_paper_reg")
    )
    assert min(full) > 0
    assert without == (0.0, 0.0)
    assert min(single) > 0
    assert losses("himoe_small_without_as")[0] == 0.0
    assert losses("himoe_small_without_hb")[1] == 0.0
    assert paper[1] == pytest.approx(full[1], rel=1e-5), "HB-Reg differs by the factor N, and so does its weight"
    assert paper[0] != pytest.approx(full[0], rel=1e-2)


def test_separate_heads_belong_to_one_action_space_each():
    model = build("himoe_small_separate_heads")
    base = model.sample_actions(inputs(), NOISE)
    with torch.no_grad():
        for head in (model.state_proj, model.action_in_proj, model.action_out_proj):
            head.weight[1] += 0.1
    changed = model.sample_actions(inputs(), NOISE)
    torch.testing.assert_close(changed[0], base[0], atol=1e-5, rtol=0)
    assert (changed[1] - base[1]).abs().max() > 1e-2


def test_the_indicator_alone_tells_embodiments_apart():
    model = build("himoe_small_indicator")
    one = inputs()
    other = replace(one, space=1 - one.space)
    assert (model.sample_actions(one, NOISE) - model.sample_actions(other, NOISE)).abs().max() > 1e-3
    with pytest.raises(ObservationError, match="which one"):
        model.sample_actions(replace(one, space=None), NOISE)


def test_without_moe_the_mask_is_only_read_by_the_state_token():
    model = build("himoe_small_dense")
    assert not any(".gate.weight" in n for n, _ in model.named_parameters())


@pytest.mark.parametrize(("experts", "top_k"), [(2, 2), (16, 4), (32, 8)])
def test_any_number_of_experts_and_choices(experts, top_k):
    cfg = load_model_config("himoe_small", MODELS)
    expert = replace(cfg.expert, hb_moe=replace(cfg.expert.hb_moe, experts=experts, top_k=top_k))
    model = HiMoEVLA(replace(cfg, expert=expert)).initialise(0).eval()
    seen = []
    model.expert.layers[1].mlp.gate.register_forward_hook(lambda _m, _a, o: seen.append(o))
    model.sample_actions(inputs(), NOISE)
    assert seen
    assert all(r.chosen.shape[-1] == top_k for r in seen)
    assert all(torch.allclose(r.weight.sum(-1), torch.ones(())) for r in seen)


def test_adamoe_weighs_apart_from_selecting():
    torch.manual_seed(0)
    moe: AdaMoE = build("adamoe_small").expert.layers[0].mlp
    x = torch.randn(1, 3, 192)
    out, probability = moe(x, None)
    expected = moe.shared_experts(x)[0]
    for t in range(3):
        i = int(probability[0, t].argmax())
        (gate, up), down = moe.experts.gate_up_proj[i].chunk(2), moe.experts.down_proj[i]
        result = (F.gelu(x[0, t] @ gate.T, approximate="tanh") * (x[0, t] @ up.T)) @ down.T
        weight = probability[0, t, i] + (x[0, t] @ moe.scale_adapter.weight[i])
        expected[t] = 0.5 * (expected[t] + weight * result)
    torch.testing.assert_close(out[0], expected, atol=1e-4, rtol=1e-4)


def test_upcycled_adamoe_begins_as_its_dense_model():
    generator = torch.Generator().manual_seed(0)
    cfg = load_model_config("adamoe_small", MODELS)
    dense = DenseMLP(192, 384, silu=False)
    moe = AdaMoE(192, 384, cfg.expert.ada_moe)
    upcycle(moe, dense, 0.0, generator)
    assert moe.gate.weight.std().item() == pytest.approx(0.006, rel=0.2)
    x = torch.randn(1, 5, 192)
    out, probability = moe(x, None)
    best = probability.amax(-1, keepdim=True)
    torch.testing.assert_close(out, 0.5 * (1 + best) * dense(x), atol=1e-5, rtol=1e-4)
    upcycle(moe, dense, 0.1, generator)
    ratio = (moe.experts.gate_up_proj - dense.gate_up_proj.weight).std() / dense.gate_up_proj.weight.std()
    assert ratio.item() == pytest.approx(0.1, rel=0.05)


def test_an_adamoe_whose_adapter_is_nothing_is_the_one_with_the_routers_own_weight():
    config = load_model_config("adamoe_small", MODELS).expert.ada_moe
    decoupled, plain = AdaMoE(192, 384, config), AdaMoE(192, 384, replace(config, weight="router"))
    assert plain.scale_adapter is None
    generator = torch.Generator().manual_seed(0)
    upcycle(decoupled, DenseMLP(192, 384, silu=False), 0.1, generator)  # where the adapter is 0
    plain.load_state_dict({n: v for n, v in decoupled.state_dict().items() if "scale_adapter" not in n})
    x = torch.randn(1, 5, 192, generator=generator)
    torch.testing.assert_close(plain(x, None)[0], decoupled(x, None)[0])
    with torch.no_grad():
        decoupled.scale_adapter.weight.normal_()
    assert not torch.allclose(plain(x, None)[0], decoupled(x, None)[0])


def test_csmoe_weights_are_a_softmax_of_token_and_router():
    cfg = load_model_config("csmoe_small", MODELS)
    assert cfg.expert.ada_moe.weight == "csmoe"
    moe = build("csmoe_small").expert.layers[0].mlp
    assert moe.scale_adapter.weight.shape == (4, 192 + 4)


def test_paper_regularisers_on_cases_worked_by_hand():
    even = torch.full((1, 8, 4), 0.25)
    one_sided = torch.zeros(1, 8, 4)
    one_sided[..., 0] = 1.0
    balanced = torch.eye(4).repeat(2, 1)[None]
    assert hb_reg_paper(balanced, 1).item() == pytest.approx(0.25)
    assert hb_reg_paper(one_sided, 1).item() == pytest.approx(1.0)
    assert hb_reg_released(balanced, 1).item() == pytest.approx(1.0)
    assert as_reg_paper(balanced, 1) < as_reg_paper(even, 1), "experts that differ are better"


def test_equal_tokens_may_be_contrasted_at_once():
    """As the tokens of a sample are, where the mask alone routes them."""
    probability = torch.rand(5, 1, 3, generator=torch.Generator().manual_seed(2)).softmax(-1)
    masks = torch.eye(24)[[0, 1, 1, 0, 2]]
    one_by_one = as_reg_released(probability.expand(-1, 13, -1), masks)
    assert as_reg_released(probability, masks, 13).item() == pytest.approx(one_by_one.item(), rel=1e-5)


def test_a_variant_that_lacks_its_experts_is_refused(tmp_path):
    (tmp_path / "himoe_small.yaml").write_text((MODELS / "himoe_small.yaml").read_text())
    (tmp_path / "bad.yaml").write_text("base: himoe_small\nexpert: {hb_moe: null}\n")
    with pytest.raises(ConfigError, match="kind 'hb' need 'hb_moe'"):
        load_model_config("bad", tmp_path)
    (tmp_path / "worse.yaml").write_text("base: himoe_small\nexpert: {boundary: [as, xx]}\n")
    with pytest.raises(ConfigError, match="kinds of layers among"):
        load_model_config("worse", tmp_path)
