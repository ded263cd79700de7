"""`himoe bench training`: a step of training, against the same loop over the model computed as the release does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import repeat
from pathlib import Path

import torch
from torch import Tensor, nn

from ..model.config import load_model_config
from ..model.flow import flow_loss, interpolate
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs
from ..training.config import TrainingConfig, load_training
from ..training.objective import Batch, Objective
from ..training.trainer import Trainer
from . import reference
from .policy import Row, row, synthetic_inputs


class ReferenceObjective(nn.Module):
    """The flow loss alone: every noisy chunk has a prefix of its own."""

    def __init__(self, model: HiMoEVLA) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, noise: Tensor, t: Tensor) -> dict[str, Tensor]:
        times = len(noise) // len(batch.actions)
        told = (*vars(batch.inputs).values(), batch.actions, batch.weights)
        *parts, actions, weights = (None if x is None else x.repeat_interleave(times, 0) for x in told)
        inputs = ModelInputs(*parts)
        x, wanted = interpolate(noise, actions, t)
        velocity = reference.velocity(self.model, inputs, *reference.prefix(self.model, inputs), x, t)
        return {"flow": flow_loss(velocity, wanted, weights)}


def bench_training(runs: int, threads: int, batch: int, models: Path, recipe: Path) -> dict[str, list[Row]]:
    """Title -> rows; ours and the reference's steps take turns, so that a change of the machine's speed hits both.

    Args:
        runs: timed steps of each.
        threads: of the CPU.
        batch: observations of a step.
        models: folder of presets.
        recipe: training configuration, whose optimizer and precision are used.
    """
    torch.set_num_threads(threads)
    plan = replace(load_training(recipe), batch=batch, compile=False)
    return {
        f"himoe_small, {batch} observations, {plan.precision}": [
            _compare(replace(plan, flow_samples=samples), runs, models) for samples in (1, plan.flow_samples)
        ]
    }


def _compare(plan: TrainingConfig, runs: int, presets: Path) -> Row:
    config = load_model_config("himoe_small", presets)
    lean, padded = synthetic_inputs(config, plan.batch)
    shape = (plan.batch, config.chunk_steps, config.action_dim)
    actions = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    everything = torch.ones(shape[:2], dtype=torch.bool), torch.ones(plan.batch, dtype=torch.bool)

    def steps(objective: Objective | ReferenceObjective, inputs: ModelInputs) -> Callable[[], Tensor]:
        told = Trainer(objective, plan, Path()).train(repeat(Batch(inputs, actions, *everything)))
        return lambda: torch.tensor(next(told)["flow"])

    ours, theirs = (HiMoEVLA(config).initialise(0) for _ in range(2))
    samples = f"{plan.flow_samples} noisy chunk{'s' if plan.flow_samples > 1 else ''} of each"
    return row(samples, steps(Objective(ours, None), lean), steps(ReferenceObjective(theirs), padded), runs)
