"""`himoe bench policy`: prefix, flow step and whole sample, against the same computed as the release does."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from ..model.action_expert import Suffix
from ..model.config import HiMoEConfig, LanguageConfig, VisionConfig, load_model_config
from ..model.flow import flow_times
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs
from . import reference

WORDS = 20  # of an instruction; the release pads to the longest one


@dataclass(frozen=True)
class Row:
    """One part's medians, s, and the largest difference between the two outputs."""

    part: str
    ours: float
    theirs: float
    difference: float


def bench_policy(runs: int, threads: int, models: Path) -> dict[str, list[Row]]:
    """Title -> rows; ours and the reference's runs take turns, so that a change of the machine's speed hits both."""
    torch.set_num_threads(threads)
    full = true_expert(load_model_config("himoe_4b", models))
    small = load_model_config("himoe_small", models)
    results = {}
    for title, config, dtype in (
        ("true expert size, small VLM, chunk 10, bfloat16", full, torch.bfloat16),
        ("true expert size, small VLM, chunk 50, bfloat16", replace(full, chunk_steps=50), torch.bfloat16),
        ("true expert size, small VLM, chunk 10, float32", full, torch.float32),
        ("true expert size, small VLM, chunk 50, float32", replace(full, chunk_steps=50), torch.float32),
        ("himoe_small, bfloat16", small, torch.bfloat16),
        ("himoe_small, float32", small, torch.float32),
    ):
        ours, theirs = (HiMoEVLA(config).initialise(0).to(dtype).eval() for _ in range(2))
        results[title] = _compare(ours.arrange(), theirs, runs)
        del ours, theirs
    return results


def true_expert(config: HiMoEConfig) -> HiMoEConfig:
    """The released action expert behind a vision-language model small enough for any machine."""
    language = config.language
    return replace(
        config,
        vision=VisionConfig(width=192, mlp=384, layers=2, heads=4, patch=14),
        language=LanguageConfig(1024, 192, 384, language.layers, 4, language.kv_heads, language.head_dim),
    )


def _compare(model: HiMoEVLA, release: HiMoEVLA, runs: int) -> list[Row]:
    config = model.config
    lean, padded = synthetic_inputs(config, 1)
    noise = torch.randn(1, config.chunk_steps, config.action_dim, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        cache, valid = reference.prefix(release, padded)
        suffix = Suffix(model.encode(lean), config.chunk_steps)
        spaces = model.expert.choose(model.expert.route(lean.data_mask))
        embedded = model.embed_times(torch.tensor(flow_times(config.flow_steps)))
        tokens = model.embed_actions(noise, embedded[:1], None)
        model.expert(torch.cat([model.embed_state(lean), tokens], dim=1), spaces, suffix)
        actions, first = suffix.actions(), torch.ones(1)

        def step() -> torch.Tensor:
            tokens = model.embed_actions(noise, embedded[:1], None)
            return model.velocity(model.expert(tokens, spaces, actions)[0], None)

        return [
            row("prefix", lambda: model.encode(lean), lambda: reference.prefix(release, padded), runs),
            row("flow step", step, lambda: reference.velocity(release, padded, cache, valid, noise, first), runs),
            row(
                f"sample, {model.config.flow_steps} steps",
                lambda: model.sample_actions(lean, noise),
                lambda: reference.sample_actions(release, padded, noise),
                runs,
            ),
        ]


def synthetic_inputs(config: HiMoEConfig, batch: int) -> tuple[ModelInputs, ModelInputs]:
    """Two views and a sentence as we pass them, and as the release does: a masked third view, padded text."""
    generator = torch.Generator().manual_seed(1)
    size = config.image_size
    images = torch.rand(batch, 2, 3, size, size, generator=generator) * 2 - 1
    tokens = torch.randint(0, config.language.vocab, (batch, WORDS), generator=generator)
    mask = torch.zeros(batch, config.action_dim)
    mask[:, :7] = 1.0
    state = torch.randn(batch, config.action_dim, generator=generator) * mask
    lean = ModelInputs(images, None, tokens, None, state, mask)
    padding = config.max_text_tokens - WORDS
    padded = replace(
        lean,
        images=torch.cat([images, torch.zeros(batch, 1, 3, size, size)], dim=1),
        view_mask=torch.tensor([[True, True, False]]).expand(batch, -1),
        tokens=torch.cat([tokens, torch.zeros(batch, padding, dtype=torch.int64)], dim=1),
        token_mask=torch.tensor([[True] * WORDS + [False] * padding]).expand(batch, -1),
    )
    return lean, padded


def row(part: str, ours: Callable[[], object], theirs: Callable[[], object], runs: int) -> Row:
    mine, other = ours(), theirs()  # the first run warms up
    difference = (mine - other).abs().max().item() if isinstance(mine, torch.Tensor) else 0.0
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(runs):
        for call, kept in ((ours, times[0]), (theirs, times[1])):
            begin = time.perf_counter()
            call()
            kept.append(time.perf_counter() - begin)
    return Row(part, statistics.median(times[0]), statistics.median(times[1]), difference)
