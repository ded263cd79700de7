"""Which parts are trained, and how they begin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.distributed as dist
from training.test_objective import batch, noise_and_times

from himoe_ros.core.errors import ConfigError, TrainingError
from himoe_ros.model import experts
from himoe_ros.model.config import load_model_config
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.moe import AdaMoE
from himoe_ros.resources import config
from himoe_ros.training.checks import held_out
from himoe_ros.training.config import PARTS, Tuning, load_training
from himoe_ros.training.objective import Objective
from himoe_ros.training.processes import Processes, whole
from himoe_ros.training.tuning import merged, part_of, tune, upcycled


def fresh(preset: str = "himoe_small", seed: int = 0) -> HiMoEVLA:
    return HiMoEVLA(load_model_config(preset, config("models"))).initialise(seed)


def velocity(model: HiMoEVLA) -> torch.Tensor:
    x, t = noise_and_times(2)
    with torch.no_grad():
        return model(batch().inputs, x, t)[0]


def test_every_parameter_belongs_to_a_part():
    assert {part_of(name) for name, _ in fresh().named_parameters()} == set(PARTS)
    assert part_of("expert.layers.0.mlp.gate.weight") == "expert"
    assert part_of("prefix.projector.weight") == "vision"
    assert part_of("action_out_proj.bias") == "projections"


def test_frozen_parts_stay_and_have_the_precision_of_the_products():
    model = fresh()
    tune(model, Tuning(freeze=("vision", "language")), 0, torch.bfloat16)
    for name, parameter in model.named_parameters():
        frozen = part_of(name) in ("vision", "language")
        assert parameter.requires_grad != frozen
        assert parameter.dtype is (torch.bfloat16 if frozen else torch.float32)


def test_a_mixture_begins_anew_and_nothing_else():
    model, before = fresh(), fresh().state_dict()
    tune(model, Tuning(reinitialise=True), 7, torch.float32)
    for name, tensor in model.state_dict().items():
        mixture = ".gate." in name or ".experts." in name or ".shared_experts." in name
        assert torch.equal(tensor, before[name]) != mixture, name


def test_low_rank_updates_begin_at_nothing_learn_and_become_part_of_the_weights():
    plain, model = fresh(), fresh()
    tune(model, Tuning(lora_parts=("expert", "language"), lora_rank=4, lora_alpha=8.0), 0, torch.float32)
    torch.testing.assert_close(velocity(model), velocity(plain))
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert all("parametrizations" in n or part_of(n) in ("vision", "projections") for n in trained)
    learned = [p for n, p in model.named_parameters() if n in trained and part_of(n) in ("expert", "language")]
    whole = [p for n, p in plain.named_parameters() if part_of(n) in ("expert", "language")]
    assert sum(p.numel() for p in learned) < 0.12 * sum(p.numel() for p in whole)

    optimizer = torch.optim.AdamW(learned, lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        sum(Objective(model, None)(batch(), *noise_and_times(2)).values()).backward()
        optimizer.step()
    assert (velocity(model) - velocity(plain)).abs().max() > 1e-3
    one = merged(model, torch.float32)
    assert set(one.state_dict()) == set(plain.state_dict())
    torch.testing.assert_close(velocity(one), velocity(model))
    assert {n for n, p in model.named_parameters() if p.requires_grad} == trained, "merging makes a copy"


@pytest.mark.parametrize(
    "tuning",
    [Tuning(), Tuning(freeze=("vision", "language")), Tuning(lora_parts=("vision", "language", "expert"), lora_rank=2)],
    ids=["all", "frozen", "low rank"],
)
def test_experts_of_full_size_learn_in_bfloat16_whatever_is_trained(monkeypatch, tuning):
    monkeypatch.setattr(experts, "SMALL", 0)
    model = fresh("himoe_small")
    tune(model, tuning, 0, torch.bfloat16)
    objective = Objective(model, None)
    with torch.autocast("cpu", torch.bfloat16):
        loss = objective(batch(), *noise_and_times(2))["flow"]
        told = held_out(objective, batch(), torch.ones(1, 1, 24), 0, 1)
    loss.backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    assert any(".experts." in name and p.grad is not None for name, p in model.named_parameters())
    assert np.isfinite(list(told.values())).all()


def test_weights_of_a_sharded_model_outlive_its_gathering():
    """Frozen ones have the policy's precision already, and what is gathered is let go."""
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        model = fresh()
        tune(model, Tuning(freeze=("vision", "language")), 0, torch.bfloat16)
        expected = {name: p.detach().bfloat16().clone() for name, p in model.named_parameters()}
        objective = Objective(model, None)
        Processes(0, 2).parallel(objective, sharded=True)
        with whole(objective):
            policy = merged(model, torch.bfloat16)
        for name, parameter in policy.named_parameters():
            assert parameter.untyped_storage().size() > 0, name
            assert torch.equal(parameter, expected[name]), name
    finally:
        dist.destroy_process_group()


def test_an_adamoe_begins_as_a_dense_policy():
    dense = fresh("himoe_small_dense", 3)
    model = upcycled(fresh("adamoe_small"), dense, 0.0, 0)
    for layer, other in zip(model.expert.layers, dense.expert.layers, strict=True):
        assert isinstance(layer.mlp, AdaMoE)
        expected = other.mlp.gate_up_proj.weight
        assert all(torch.equal(expert, expected) for expert in layer.mlp.experts.gate_up_proj)
    assert torch.equal(model.prefix.projector.weight, dense.prefix.projector.weight)
    with pytest.raises(TrainingError, match="expected a dense policy"):
        upcycled(fresh("adamoe_small"), fresh(), 0.0, 0)
    with pytest.raises(TrainingError, match="has no AdaMoE layer"):
        upcycled(fresh(), dense, 0.0, 0)


@pytest.mark.parametrize(
    ("tuning", "words"),
    [
        ("{freeze: [eyes]}", "freeze: expected one of vision, language, expert, projections, got 'eyes'"),
        ("{freeze: [vision, language, expert, projections]}", "every part is frozen"),
        ("{freeze: [expert], lora: {parts: [expert], rank: 4}}", r"\['expert'\] are both frozen and updated by lora"),
        ("{lora: {parts: [expert], rank: 0}}", "lora.rank: expected a whole number >= 1"),
        ("{reinitialise: 1}", "reinitialise: expected true or false, got 1"),
    ],
)
def test_what_cannot_be_tuned_is_told(tmp_path, tuning, words):
    file = tmp_path / "run.yaml"
    mixture = "[{dataset: d, embodiment: xarm7, action_space: joints}]"
    file.write_text(f"{{model: m, steps: 1, batch: 1, learning_rate: 1, mixture: {mixture}, tuning: {tuning}}}")
    with pytest.raises(ConfigError, match=words):
        load_training(file)
