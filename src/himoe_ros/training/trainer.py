"""The training loop: what a step needs is drawn from the seed and its number, so a resumed run is the same run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from ..core.errors import TrainingError
from .checkpoint import load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .objective import Batch, Objective, sample_times
from .processes import Processes

CHECKPOINTS = "checkpoints"


class Trainer:
    """One process's part of a run."""

    def __init__(
        self, objective: Objective, config: TrainingConfig, folder: Path, processes: Processes | None = None
    ) -> None:
        """
        Args:
            objective: on the device it is trained on.
            config: of the run; `batch` is that of all processes together.
            folder: of the run.
            processes: that train together.
        """
        self.objective, self._config, self._folder = objective, config, folder
        self._processes = processes or Processes()
        # The prefix's last layer, and experts that nobody chose, have no part in a step.
        self._parallel = (
            DistributedDataParallel(objective, find_unused_parameters=True) if self._processes.count > 1 else objective
        )
        self.device = next(objective.parameters()).device
        if self.device.type == "cpu":  # its fused attention is slow to differentiate in bfloat16; see layers.attend
            objective.model.prefix.vision_tower.set_attn_implementation("eager")
        self._forward = _compiled(self._parallel, self.device) if config.compile else self._parallel
        self._trained = {n: p for n, p in objective.named_parameters() if p.requires_grad}
        groups = _groups(self._trained.values(), config.weight_decay)
        self._optimizer = torch.optim.AdamW(groups, lr=config.learning_rate, betas=config.betas)
        kept = {n: p for n, p in objective.model.named_parameters() if p.requires_grad} if config.ema else {}
        self.average = {n: p.detach().clone() for n, p in kept.items()}
        self.step = 0

    def resume(self) -> bool:
        """Go on from the newest checkpoint, where there is one.

        Raises:
            TrainingError: it is of another model.
        """
        found = load_checkpoint(self._folder / CHECKPOINTS)
        if found is None:
            return False
        self.step, state = found
        try:
            self._load(state["objective"])
            self._optimizer.load_state_dict(state["optimizer"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"the checkpoint in {self._folder} is of another model or optimizer: {error}"
            ) from error
        for name, tensor in state["average"].items():
            self.average[name].copy_(tensor)
        return True

    def _load(self, kept: Mapping[str, Tensor]) -> None:
        """Take what was kept, which must be what is trained."""
        mine, theirs = ({n: t.shape for n, t in both.items()} for both in (self._trained, kept))
        if mine != theirs:
            unlike = sorted(n for n in mine | theirs if mine.get(n) != theirs.get(n))
            raise KeyError(f"{unlike[:3]} are missing or of another shape in one of both")
        for name, parameter in self._trained.items():
            parameter.data.copy_(kept[name])

    def save(self) -> None:
        """Write a checkpoint, by the first process; see `save_checkpoint`."""
        if self._processes.rank:
            return
        state: dict[str, Any] = {
            "objective": {n: p.detach() for n, p in self._trained.items()},
            "optimizer": self._optimizer.state_dict(),
            "average": self.average,
        }
        save_checkpoint(self._folder / CHECKPOINTS, self.step, state)

    def train(self, batches: Iterator[Batch]) -> Iterator[dict[str, float]]:
        """Step by step; tells the losses, the norm of the gradient and the learning rate of each.

        Args:
            batches: of the steps from `step` on.

        Raises:
            TrainingError: a loss is not finite. The parameters are those of before the step.
        """
        self.objective.train()
        for batch in batches:
            told = self._learn(batch)
            self.step += 1
            yield told

    def _learn(self, batch: Batch) -> dict[str, float]:
        config, generator = self._config, torch.Generator().manual_seed(_seed(self._config.seed, self.step))
        rate = learning_rate(config, self.step)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        count = config.batch * config.flow_samples
        mine = self._processes.mine(count)
        noise = torch.randn(count, *batch.actions.shape[1:], generator=generator)[mine]
        times = sample_times(count, generator, config.time_sampler)[mine]
        self._optimizer.zero_grad(set_to_none=True)
        told: dict[str, float] = {}
        # Gradients are averaged over processes: each loss is told so that their mean is that of the whole batch.
        whole = self._processes.total(float(batch.weights.sum())) / self._processes.count
        for part, some, t in _parts(batch, noise, times, config.accumulate):
            losses = self.losses(part, some, t)
            # The flow loss is a mean over what is learned from, of which parts hold unequal shares.
            share = {"flow": float(part.weights.sum()) / max(whole, 1e-8)}
            total = sum((share.get(n, 1.0 / config.accumulate) * loss for n, loss in losses.items()), torch.zeros(()))
            for name, loss in losses.items():
                told[name] = told.get(name, 0.0) + share.get(name, 1.0 / config.accumulate) * float(loss.detach())
            total.backward()
        told = {name: self._processes.total(loss) / self._processes.count for name, loss in told.items()}
        if not all(map(math.isfinite, told.values())):
            raise TrainingError(
                f"step {self.step}: {told} is not finite; the last checkpoint is good. Look at the samples of that "
                "step, lower learning_rate, or train in float32"
            )
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        self._optimizer.step()
        self._follow()
        return {**told, "gradient": float(norm), "learning_rate": rate}

    def losses(self, batch: Batch, noise: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Of one batch, in the run's precision."""
        batch, noise, t = moved(batch, self.device), noise.to(self.device), t.to(self.device)
        with self.autocast():
            return self._forward(batch, noise, t)

    def autocast(self) -> torch.autocast:
        """Inside, products have the run's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._config.precision == "bfloat16")

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, and is in evaluation mode."""
        self._swap()
        self.objective.eval()
        try:
            yield
        finally:
            self._swap()
            self.objective.train()

    def _swap(self) -> None:
        for name, kept in self.average.items():
            parameter = self.objective.model.get_parameter(name)
            parameter.data, self.average[name] = kept, parameter.data

    @torch.no_grad()
    def _follow(self) -> None:
        """Exponential moving average; faster while the run is young."""
        if not self.average:
            return
        keep = min(self._config.ema, (1 + self.step) / (10 + self.step))
        for name, kept in self.average.items():
            kept.lerp_(self.objective.model.get_parameter(name).detach(), 1.0 - keep)


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to the floor."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    share = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    return config.learning_rate * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


def moved(batch: Batch, device: torch.device) -> Batch:
    """The batch on another device."""

    def to(part: Any) -> Any:
        if isinstance(part, Tensor):
            return part.to(device, non_blocking=True)
        if part is None:
            return None
        return replace(part, **{name: to(value) for name, value in vars(part).items()})

    return to(batch)


def _compiled(module: nn.Module, device: torch.device) -> nn.Module:
    """The module as fused code, made at the first step."""
    if device.type == "cpu" and not (shutil.which("g++") or shutil.which("clang++")):
        raise TrainingError("compile: true needs a C++ compiler: apt install g++, or set compile: false")
    return torch.compile(module, dynamic=False)


def _groups(trained: Iterable[nn.Parameter], decay: float) -> list[Mapping[str, Any]]:
    """Weights decay; norms, biases and embeddings of single vectors do not."""
    some = list(trained)
    matrices, vectors = [p for p in some if p.dim() > 1], [p for p in some if p.dim() <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": vectors, "weight_decay": 0.0}]


def _parts(batch: Batch, noise: Tensor, times: Tensor, count: int) -> Iterator[tuple[Batch, Tensor, Tensor]]:
    """The batch in equal parts, with the noise and times of each."""
    size = len(batch.actions) // count
    per = len(noise) // len(batch.actions)

    def cut(part: Any, at: int) -> Any:
        if isinstance(part, Tensor):
            return part[at : at + size]
        if part is None:
            return None
        return replace(part, **{name: cut(value, at) for name, value in vars(part).items()})

    for at in range(0, len(batch.actions), size):
        rows = slice(at * per, (at + size) * per)
        yield (batch if count == 1 else cut(batch, at)), noise[rows], times[rows]


def _seed(seed: int, step: int) -> int:
    """One for each step of each run."""
    return (seed * 1_000_003 + step) % (1 << 62)
