"""The training loop: what a step needs is drawn from the seed and its number, so a resumed run is the same run."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from ..core.errors import TrainingError
from ..model.packed import multiplies_bfloat16
from .checkpoint import load_checkpoint, newest_checkpoint, save_checkpoint
from .config import TrainingConfig
from .objective import Batch, Objective, learned_from, sample_times, tell_steps
from .processes import Processes, whole

CHECKPOINTS = "checkpoints"
MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW


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
        if config.checkpointing:
            objective.model.recompute()
        self._parallel = self._processes.parallel(objective, config.sharded)
        self.device = next(objective.parameters()).device
        self.products = products(config, self.device)
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
        found = newest_checkpoint(self._folder / CHECKPOINTS)
        if found is None:
            return False
        self.step, path, theirs = found
        for name, parameter in self._trained.items():  # the optimizer knows those that have had a gradient
            if f"optimizer.{name}.step" in theirs:
                moments = {m: torch.zeros_like(parameter) for m in MOMENTS}
                self._optimizer.state[parameter] = {"step": torch.zeros(()), **moments}
        state = self._state()
        mine = {f"{part}.{name}": t.shape for part in ("objective", "average") for name, t in state[part].items()}
        unlike = sorted(n for n in {*mine, *theirs} if not n.startswith("optimizer.") and mine.get(n) != theirs.get(n))
        if unlike:
            raise TrainingError(
                f"the checkpoint {path} is of another model: {unlike[:3]} are missing or of another shape in one of "
                "both; choose another --out"
            )
        load_checkpoint(path, state)
        return True

    def _state(self) -> dict[str, Any]:
        """What a checkpoint holds; tensors, not copies of them."""
        known = self._optimizer.state
        return {
            "objective": {n: p.detach() for n, p in self._trained.items()},
            "optimizer": {n: known[p] for n, p in self._trained.items() if p in known},
            "average": self.average,
        }

    def save(self) -> None:
        """Write a checkpoint; see `save_checkpoint`."""
        save_checkpoint(self._folder / CHECKPOINTS, self.step, self._state())

    def train(self, batches: Iterator[Batch]) -> Iterator[dict[str, float]]:
        """Step by step; tells the losses, the norm of the gradient and the learning rate of each.

        Args:
            batches: of the steps from `step` on.

        Raises:
            TrainingError: a loss or the gradient is not finite. The parameters are those of before the step.
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
        times = sample_times(count, generator, config.time_sampler)
        if most := self.objective.model.config.committed_steps:
            times = tell_steps(times, noise.shape[1], most, generator)
        times = times[mine]
        self._optimizer.zero_grad(set_to_none=True)
        told: dict[str, float] = {}
        # Gradients are averaged over processes: each loss is told so that their mean is that of the whole batch.
        whole = self._processes.total(float(learned_from(batch, times).sum())) / self._processes.count
        for part, some, t in _parts(batch, noise, times, config.accumulate):
            losses = self.losses(part, some, t)
            # The flow loss is a mean over what is learned from, of which parts hold unequal shares.
            share = {"flow": float(learned_from(part, t).sum()) / max(whole, 1e-8)}
            total = sum((share.get(n, 1.0 / config.accumulate) * loss for n, loss in losses.items()), torch.zeros(()))
            for name, loss in losses.items():
                told[name] = told.get(name, 0.0) + share.get(name, 1.0 / config.accumulate) * float(loss.detach())
            total.backward()
        told = {name: self._processes.total(loss) / self._processes.count for name, loss in told.items()}
        self._require_finite(told)
        norm = nn.utils.clip_grad_norm_(self.objective.parameters(), config.clip)
        norm = float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
        self._require_finite({"gradient": norm})
        self._optimizer.step()
        self._follow()
        return {**told, "gradient": norm, "learning_rate": rate}

    def _require_finite(self, told: Mapping[str, float]) -> None:
        if not all(map(math.isfinite, told.values())):
            raise TrainingError(
                f"step {self.step}: {dict(told)} is not finite; the last checkpoint is good. Look at the samples of "
                "that step, lower learning_rate, or train in float32"
            )

    def losses(self, batch: Batch, noise: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Of one batch, in the run's precision."""
        batch, noise, t = batch.to(self.device), noise.to(self.device), t.to(self.device)
        with self.autocast():
            return self._forward(batch, noise, t)

    def autocast(self) -> torch.autocast:
        """Inside, products have the run's precision."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.products is torch.bfloat16)

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Inside, the model has its averaged weights, whole in every process, and is in evaluation mode."""
        kept = {n: p.detach().clone() for n, p in self._followed()}
        self._put(self.average)
        self.objective.eval()
        try:
            with whole(self.objective):
                yield
        finally:
            self._put(kept)
            self.objective.train()

    def _followed(self) -> Iterator[tuple[str, nn.Parameter]]:
        return ((name, self.objective.model.get_parameter(name)) for name in self.average)

    @torch.no_grad()
    def _put(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self._followed():
            parameter.copy_(values[name])

    @torch.no_grad()
    def _follow(self) -> None:
        """Exponential moving average; faster while the run is young."""
        if not self.average:
            return
        keep = min(self._config.ema, (1 + self.step) / (10 + self.step))
        for name, parameter in self._followed():
            self.average[name].lerp_(parameter.detach(), 1.0 - keep)


def products(config: TrainingConfig, device: str | torch.device) -> torch.dtype:
    """Of what precision: the run's, or float32 where the device has no bfloat16."""
    return torch.bfloat16 if config.precision == "bfloat16" and multiplies_bfloat16(device) else torch.float32


def learning_rate(config: TrainingConfig, step: int) -> float:
    """Linear warm-up, then a cosine down to the floor."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    share = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    return config.learning_rate * (config.floor + (1 - config.floor) * 0.5 * (1 + math.cos(math.pi * min(share, 1.0))))


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
    for at in range(0, len(batch.actions), size):
        rows = slice(at * per, (at + size) * per)
        yield batch.rows(slice(at, at + size)), noise[rows], times[rows]


def _seed(seed: int, step: int) -> int:
    """One for each step of each run."""
    return (seed * 1_000_003 + step) % (1 << 62)
