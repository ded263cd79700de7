"""`bench/gpu.sh`: the released size on a GPU, ours from captured graphs against the loop shaped like the release."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from ..core.errors import ConfigError
from ..model.captured import CapturedSampler
from ..model.config import HiMoEConfig, load_model_config
from ..model.folder import parameters_on_meta
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs
from . import reference
from .policy import Row, row

VIEWS = 3
FLOW_STEPS = 10
CHUNKS = (10, 50)


def random_model(config: HiMoEConfig, device: str, dtype: torch.dtype) -> HiMoEVLA:
    """Random weights of the right size, made on the device."""
    with parameters_on_meta():
        model = HiMoEVLA(config)
    generator = torch.Generator(device).manual_seed(0)

    def drawn(shape: torch.Size) -> torch.Tensor:
        scale = 1.0 / math.sqrt(math.prod(shape[1:]) if len(shape) == 4 else shape[-1])
        if len(shape) < 2:
            return torch.zeros(shape, device=device, dtype=dtype)
        return torch.randn(shape, generator=generator, device=device, dtype=dtype) * scale

    model.load_state_dict({name: drawn(p.shape) for name, p in model.named_parameters()}, assign=True)
    return model.to(device).eval()


def full_inputs(config: HiMoEConfig, device: str) -> ModelInputs:
    """One observation with three views, and a sentence padded to the longest one."""
    generator = torch.Generator().manual_seed(1)
    words, size = config.max_text_tokens, config.image_size
    mask = torch.zeros(1, config.action_dim)
    mask[:, :7] = 1.0
    heard = torch.arange(words)[None] < 20
    inputs = ModelInputs(
        images=torch.rand(1, VIEWS, 3, size, size, generator=generator) * 2 - 1,
        view_mask=torch.ones(1, VIEWS, dtype=torch.bool),
        tokens=torch.randint(0, config.language.vocab, (1, words), generator=generator) * heard,
        token_mask=heard,
        state=torch.randn(1, config.action_dim, generator=generator) * mask,
        data_mask=mask,
    )
    tensors = {f.name: getattr(inputs, f.name) for f in fields(inputs)}
    return ModelInputs(**{name: None if t is None else t.to(device) for name, t in tensors.items()})


def bench_gpu(config: HiMoEConfig, runs: int, device: str) -> tuple[list[Row], str]:
    """Rows of one size, and what a profiler saw of one replay."""
    model = random_model(config, device, torch.bfloat16)
    inputs = full_inputs(config, device)
    noise = torch.randn(1, config.chunk_steps, config.action_dim, generator=torch.Generator().manual_seed(0)).to(device)
    sampler = CapturedSampler(model, inputs, noise)

    def ours() -> torch.Tensor:
        actions = sampler(inputs, noise)
        torch.cuda.synchronize()
        return actions

    def eager() -> torch.Tensor:
        actions = model.sample_actions(inputs, noise)
        torch.cuda.synchronize()
        return actions

    def theirs() -> torch.Tensor:
        actions = reference.sample_actions(model, inputs, noise)
        torch.cuda.synchronize()
        return actions

    rows = [row("captured", ours, theirs, runs), row("not captured", eager, theirs, runs)]
    parts = {"prefix": [], "flow steps": []}
    for _ in range(runs):
        torch.cuda.synchronize()
        last = [time.perf_counter()]

        def mark(part: str, last: list[float] = last) -> None:
            torch.cuda.synchronize()
            now = time.perf_counter()
            parts[part].append(now - last[0])
            last[0] = now

        sampler(inputs, noise, mark)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as seen:
        ours()
    middle = {part: sorted(s)[len(s) // 2] for part, s in parts.items()}
    told = "\n".join(f"{part}: {1e3 * s:.2f} ms, median" for part, s in middle.items())
    memory = torch.cuda.max_memory_allocated() / 2**30
    table = seen.key_averages().table(sort_by="cuda_time_total", row_limit=40)
    return rows, f"{told}\nlargest memory: {memory:.1f} GiB\n{table}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, and write it with the profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("config/models"), help="folder of configurations")
    parser.add_argument("--model", default="himoe_4b", help="one of them")
    parser.add_argument("--runs", type=int, default=20, help="timed runs of each; medians are told")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for gpu.json and profile.txt")
    options = parser.parse_args(arguments)
    if not torch.cuda.is_available():
        raise ConfigError(f"torch {torch.__version__} sees no GPU here; bench/gpu.sh needs one")
    base = replace(load_model_config(options.model, options.models), flow_steps=FLOW_STEPS)
    figures, profiles = {}, []
    for chunk in CHUNKS:
        rows, profiled = bench_gpu(replace(base, chunk_steps=chunk), options.runs, "cuda")
        title = f"{options.model}, chunk {chunk}, {VIEWS} views, {FLOW_STEPS} steps, {torch.cuda.get_device_name()}"
        print(title, flush=True)
        for r in rows:
            print(
                f"  {r.part:<14} {1e3 * r.ours:8.2f} ms   shaped like the release {1e3 * r.theirs:8.2f} ms   "
                f"ratio {r.theirs / r.ours:5.2f}   largest difference {r.difference:.1e}",
                flush=True,
            )
        figures[title] = [asdict(r) for r in rows]
        profiles.append(f"{title}\n{profiled}")
    (options.out / "gpu.json").write_text(json.dumps(figures, indent=1))
    (options.out / "profile.txt").write_text("\n\n".join(profiles))


if __name__ == "__main__":
    main()
