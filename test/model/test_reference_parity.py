"""The model against vectors made by running the reference code.

HIMOE_GOLDEN names a golden pair (a path without suffix); the default lies in test/data.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from himoe_ros.model.checkpoint import load_released, released_parts, split
from himoe_ros.model.config import (
    ExpertConfig,
    HiMoEConfig,
    LanguageConfig,
    LayerKind,
    MoEConfig,
    RegularisationConfig,
    VisionConfig,
)
from himoe_ros.model.experts import Routing
from himoe_ros.model.flow import flow_loss, interpolate
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.model.inputs import ModelInputs
from himoe_ros.model.regularisation import as_reg_released, hb_reg_released
from himoe_ros.training.objective import Batch, Objective

GOLDEN = Path(os.environ.get("HIMOE_GOLDEN", Path(__file__).parents[1] / "data" / "golden_a"))
VIEWS = ("base_0_rgb", "left_wrist_0_rgb", "right_wrist_0_rgb")
HIDDEN, SAMPLE = 2e-5, 1e-4


class Golden:
    """One golden pair: its tensors by name, and the model it was made with."""

    def __init__(self, path: Path) -> None:
        self.about = json.loads(path.with_name(path.name + ".json").read_text())
        self.file = safe_open(str(path) + ".safetensors", "pt")
        g = self.about["config"]
        self.config = HiMoEConfig(
            name=path.name,
            image_size=g["image_size"],
            max_text_tokens=self.input("lang_tokens").shape[1],
            chunk_steps=g["n_action_steps"],
            flow_steps=g["num_steps"],
            vision=VisionConfig(g["vis_hidden"], g["vis_inter"], g["vis_layers"], g["vis_heads"], g["patch"]),
            language=LanguageConfig(
                g["vocab"], g["vlm_hidden"], g["vlm_inter"], g["n_layers"], g["vlm_heads"], g["kv_heads"], g["head_dim"]
            ),
            expert=ExpertConfig(
                g["exp_hidden"],
                g["exp_inter"],
                g["exp_heads"],
                boundary=(LayerKind.AS,) * 2 + (LayerKind.HB,) * 4,
                middle=LayerKind.DENSE,
                as_moe=MoEConfig(g["as_experts"], g["as_topk"], g["as_inter"]),
                hb_moe=MoEConfig(g["hb_experts"], g["hb_topk"], g["hb_inter"], g["hb_shared"]),
            ),
            action_dim=g["max_action_dim"],
            regularisation=RegularisationConfig(as_weight=g["as_alpha"], hb_weight=g["hb_alpha"]),
        )
        self.model = HiMoEVLA(self.config).eval()
        keys = [k.removeprefix("weights/") for k in self.file.keys() if k.startswith("weights/")]  # noqa: SIM118
        load_released(self.model, {key: self.file.get_tensor(f"weights/{key}") for key in keys})
        state = self.input("state")
        slots = self.config.action_dim
        assert torch.equal(state[:, slots:] > 0.5, self.input("data_mask").bool())
        self.inputs = ModelInputs(
            images=torch.stack([self.input(f"images/{v}") for v in VIEWS], dim=1),
            view_mask=torch.stack([self.input(f"img_masks/{v}") for v in VIEWS], dim=1),
            tokens=self.input("lang_tokens"),
            token_mask=self.input("lang_masks"),
            state=state[:, :slots],
            data_mask=self.input("data_mask").float(),
        )
        self.moe_layers = {
            i: kind
            for i in range(self.config.language.layers)
            if (kind := self.config.layer_kind(i)) is not LayerKind.DENSE
        }

    def input(self, name: str) -> torch.Tensor:
        return self.file.get_tensor(f"inputs/{name}")

    def out(self, name: str) -> torch.Tensor:
        return self.file.get_tensor(f"out/{name}")

    def watch(self) -> tuple[dict[int, list], dict[int, list], list]:
        """Hooks that collect each layer's hidden states and routing weights, call after call."""
        hidden: dict[int, list] = {}
        weights: dict[int, list] = {}
        hooks = []
        for i, layer in enumerate(self.model.expert.layers):
            hooks.append(
                layer.register_forward_hook(lambda _m, _a, o, i=i: hidden.setdefault(i, []).append(o[0].detach()))
            )
            if i in self.moe_layers:
                hooks.append(
                    layer.mlp.gate.register_forward_hook(
                        lambda _m, _a, o, i=i: weights.setdefault(i, []).append(spread(o).detach())
                    )
                )
        return hidden, weights, hooks


def spread(routing: Routing) -> torch.Tensor:
    """(B, T, E) weights, 0 for experts that were not chosen."""
    return torch.zeros_like(routing.probability).scatter(-1, routing.chosen, routing.weight)


@pytest.fixture(scope="module")
def golden() -> Golden:
    return Golden(GOLDEN)


def close(mine: torch.Tensor, theirs: torch.Tensor, tolerance: float) -> None:
    torch.testing.assert_close(mine, theirs, atol=tolerance, rtol=0)


def check_layers(golden: Golden, name: str, hidden: dict[int, list], weights: dict[int, list]) -> None:
    """State and action tokens of one pass against the reference's suffix."""
    for i in range(golden.config.language.layers):
        close(hidden[i][0], golden.out(f"{name}.suffix_hidden.{i}"), HIDDEN)
    tokens = 1 + golden.config.chunk_steps
    for i, kind in golden.moe_layers.items():
        if kind is LayerKind.AS:  # ours chooses once a sample, the reference once a token
            mine = weights[i][0].expand(-1, tokens, -1).flatten(0, 1)
        else:
            mine = weights[i][0].flatten(0, 1)
        theirs = torch.zeros_like(mine).scatter(
            -1, golden.out(f"{name}.gate_idx.{i}"), golden.out(f"{name}.gate_w.{i}")
        )
        assert torch.equal(mine > 0, theirs > 0), f"layer {i} routes elsewhere"
        close(mine, theirs, HIDDEN)


@torch.no_grad()
def test_prefix_keys_and_values(golden):
    valid = golden.out("prefix.pad_masks")
    context = golden.model.prefix(
        golden.inputs.images, golden.inputs.view_mask, golden.inputs.tokens, golden.inputs.token_mask
    )
    assert torch.equal(context.valid, valid)
    for i in range(golden.config.language.layers):
        for mine, name in ((context.keys[i], "k"), (context.values[i], "v")):
            close(mine.transpose(1, 2)[valid], golden.out(f"prefix.{name}.{i}").transpose(1, 2)[valid], HIDDEN)


@torch.no_grad()
def test_suffix_embeddings(golden):
    ones = torch.ones(len(golden.inputs.state))
    state = golden.model.embed_state(golden.inputs)
    actions = golden.model.embed_actions(golden.input("noise"), golden.model.embed_times(ones), None)
    close(torch.cat([state, actions], dim=1), golden.out("suffix.embs_t1"), HIDDEN)


@torch.no_grad()
def test_first_step_layer_by_layer(golden):
    hidden, weights, hooks = golden.watch()
    velocity, _ = golden.model(golden.inputs, golden.input("noise"), torch.ones(len(golden.inputs.state)))
    for hook in hooks:
        hook.remove()
    check_layers(golden, "step0", hidden, weights)
    close(velocity, golden.out("v_t.step0"), HIDDEN)


@torch.no_grad()
def test_every_euler_state_and_the_sample(golden):
    states, velocities, times = golden.out("euler.x"), golden.out("euler.v"), golden.out("euler.times")
    for x, v, t in zip(states, velocities, times, strict=True):
        velocity, _ = golden.model(golden.inputs, x, t.expand(len(x)))
        close(velocity, v, HIDDEN)
    noise = golden.input("noise")
    before = noise.clone()
    close(golden.model.sample_actions(golden.inputs, noise), golden.out("sample_actions.out"), SAMPLE)
    assert torch.equal(noise, before), "the reference writes into the noise; we do not"
    assert len(times) == golden.config.flow_steps


def test_losses_and_gradients_are_those_that_are_trained_on(golden):
    model, about = golden.model, golden.about["config"]
    hidden, weights, hooks = golden.watch()
    x, wanted = interpolate(golden.input("noise"), golden.input("actions"), golden.input("time"))
    velocity, routing = model(golden.inputs, x, golden.input("time"))
    for hook in hooks:
        hook.remove()
    check_layers(golden, "train", hidden, weights)
    close(flow_loss(velocity, wanted, golden.inputs.data_mask[:, None]), golden.out("train.flow_loss"), HIDDEN)
    total = golden.out("train.flow_loss")
    for i, kind in golden.moe_layers.items():
        if kind is LayerKind.AS:
            name, loss = "as", about["as_alpha"] * as_reg_released(routing[i], golden.inputs.data_mask)
        else:
            name, loss = "hb", about["hb_alpha"] * hb_reg_released(routing[i], about["hb_topk"])
        close(loss, golden.out(f"train.aux_{name}.{i}"), HIDDEN)
        total = total + loss
    everything = torch.ones(wanted.shape[:2], dtype=torch.bool)
    batch = Batch(golden.inputs, golden.input("actions"), everything, everything[:, 0])
    trained = sum(Objective(model, None)(batch, golden.input("noise"), golden.input("time")).values())
    close(trained, total, HIDDEN)
    model.zero_grad()
    trained.backward()
    gradients = dict(reference_gradients(golden))
    for key in (k for k in golden.file.keys() if k.startswith("out/train.grad.")):  # noqa: SIM118
        close(gradients[key.removeprefix("out/train.grad.")], golden.file.get_tensor(key), SAMPLE)
    norms = {k: g.norm().item() for k, g in gradients.items()}
    assert set(norms) <= set(golden.about["grad_norms"])
    for key, norm in golden.about["grad_norms"].items():
        assert norms.get(key, 0.0) == pytest.approx(norm or 0.0, rel=1e-3, abs=1e-5), key


def reference_gradients(golden: Golden):
    """Gradients under the reference's names; what ours keeps together is taken apart."""
    sources = released_parts(golden.model)
    for name, parameter in golden.model.named_parameters():
        if parameter.grad is not None:
            names = [part.name for part in sources[name]]
            yield from zip(names, split(parameter.grad, sources[name]), strict=True)
