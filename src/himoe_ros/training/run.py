"""A run from its configuration to a policy folder: resumable at any moment, with everything to repeat it beside."""

from __future__ import annotations

import json
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..core.errors import TrainingError
from ..model.config import load_model_config
from ..model.folder import CARD, STATISTICS, TOKENIZER, find_folder, load_config, load_model, new_folder, save_model
from ..model.himoe import HiMoEVLA
from ..policy.statistics import Statistics
from ..policy.tokenizer import InstructionTokenizer
from .config import TrainingConfig, load_training
from .examples import Examples, Source, Steps, collate, open_sources, statistics
from .grounding import Grounding
from .meanings import NAMES, meanings
from .objective import Objective
from .processes import Processes
from .trainer import Trainer

CONFIG, LOG, POLICY = "training.yaml", "log.jsonl", "policy"
CHECKED, CHECK_SEED = 256, 7  # held-out samples a check looks at


@dataclass(frozen=True)
class Places:
    """Where configurations lie: config/embodiments, models, datasets, trials."""

    embodiments: Path
    models: Path
    datasets: Path
    trials: Path


class Run:
    """Everything of one training."""

    def __init__(
        self, config_file: Path, folder: Path, places: Places, device: str, processes: Processes | None = None
    ) -> None:
        """Begin a run, or go on with one.

        Args:
            config_file: see config/training.
            folder: of the run.
            places: of configurations.
            device: such as cpu or cuda.
            processes: that train together.

        Raises:
            TrainingError: the folder holds another run.
        """
        self.config, self.folder = load_training(config_file), folder
        self.processes = processes or Processes()
        if self.config.batch % (self.processes.count * self.config.accumulate):
            raise TrainingError(
                f"batch {self.config.batch} cannot be cut into {self.processes.count} processes times "
                f"{self.config.accumulate} parts"
            )
        torch.manual_seed(self.config.seed)
        model, self._tokenizer_file = _model(self.config, places)
        with self.processes.first_alone():
            _require_same(config_file, folder)
            self.sources = open_sources(self.config, model.config, places.embodiments, places.datasets)
        self.statistics = statistics(self.sources, model.config, self.config.std_floor)
        terms = self.config.grounding
        grounding = Grounding(model.config, len(NAMES), terms.weight) if terms else None
        objective = Objective(model, grounding, self.processes).to(device)
        self.trainer = Trainer(objective, self.config, folder, self.processes)
        tokenizer = InstructionTokenizer.load(self._tokenizer_file, model.config.max_text_tokens)
        sentences = meanings(terms, places.trials) if terms else {}
        self._examples = Examples(self.config, model.config, self.sources, self.statistics, tokenizer, sentences)
        heard = {*sentences, *(e.task for s in self.sources for e in s.data.episodes)}
        self._words = max(len(tokenizer(sentence)) for sentence in heard)  # every batch has one shape
        self.resumed = self.trainer.resume()

    def train(self) -> None:
        """To the last step, telling how it goes, and write the policy folder."""
        config, trainer = self.config, self.trainer
        loader = torch.utils.data.DataLoader(
            self._examples,
            batch_sampler=Steps(self.sources, config, trainer.step, self.processes),
            collate_fn=partial(collate, words=self._words),
            num_workers=config.workers,
            persistent_workers=config.workers > 0,
        )
        first, begin = trainer.step, time.monotonic()
        with (self.folder / LOG).open("a") as log:
            for losses in trainer.train(iter(loader)):
                done, spent = trainer.step, time.monotonic() - begin
                told = losses | {"step": done, "samples_per_s": (done - first) * config.batch / spent}
                if self.processes.rank:
                    continue
                if done % config.check_every == 0 or done == config.steps:
                    told |= self.check()
                log.write(json.dumps({k: round(v, 6) for k, v in told.items()}) + "\n")
                log.flush()
                _show(told, config.steps, spent / (done - first) * (config.steps - done))
                if done % config.save_every == 0 or done == config.steps:
                    trainer.save()
        if self.processes.rank == 0:
            self.write_policy(self.folder / POLICY)

    @torch.no_grad()
    def check(self) -> dict[str, float]:
        """Of held-out samples: the flow loss, and how far plans are from what was done, in m, rad and opening."""
        keys = [(m, int(i), CHECK_SEED + int(i)) for m, s in enumerate(self.sources) for i in s.held_out]
        if not keys:
            return {}
        chosen = np.random.default_rng(CHECK_SEED).permutation(len(keys))[:CHECKED]
        batch = collate([self._examples[keys[int(k)]] for k in chosen])
        model = self.trainer.objective.model
        trained = {n: p.detach().clone() for n, p in model.named_parameters()}
        for name, tensor in self.trainer.average.items():
            model.get_parameter(name).copy_(tensor)
        generator = torch.Generator().manual_seed(CHECK_SEED)
        noise = torch.randn(batch.actions.shape, generator=generator)
        actions = model.eval().sample_actions(batch.inputs, noise)
        for name, tensor in trained.items():
            model.get_parameter(name).copy_(tensor)
        model.train()
        weights = batch.weights
        std = torch.stack([self._std(keys[int(k)][0]) for k in chosen])
        error = (actions - batch.actions).abs() * std.float() * weights
        slots = weights.sum((0, 1)).clamp_min(1e-9)
        mean = error.sum((0, 1)) / slots
        return {f"held_out_slot_{i}": float(mean[i]) for i in range(24) if weights[..., i].any()}

    def _std(self, member: int) -> torch.Tensor:
        """(T, 24) of a member's actions."""
        std = torch.from_numpy(self.statistics[self.sources[member].key].action.std)
        return std if std.dim() == 2 else std.expand(self.trainer.objective.model.config.chunk_steps, -1)

    def write_policy(self, out: Path) -> None:
        """The averaged weights with all that a policy needs; for the first member's robot and action space."""
        model = self.trainer.objective.model
        for name, tensor in self.trainer.average.items():
            model.get_parameter(name).data.copy_(tensor)
        key = self.sources[0].key
        shutil.rmtree(out, ignore_errors=True)
        with new_folder(out) as folder:
            save_model(model.bfloat16(), folder)
            self.statistics[key].save(folder / STATISTICS)
            shutil.copy(self._tokenizer_file, folder / TOKENIZER)
            (folder / CARD).write_text(_card(self.config, self.sources, key, self.statistics))


def _require_same(config_file: Path, folder: Path) -> None:
    """A folder is of one run: its configuration is kept there."""
    kept = folder / CONFIG
    folder.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        shutil.copy(config_file, kept)
    elif kept.read_text() != config_file.read_text():
        raise TrainingError(f"{folder} is a run of another configuration ({kept}); choose another --out")


def _model(config: TrainingConfig, places: Places) -> tuple[HiMoEVLA, Path]:
    """A preset with random weights, or a policy folder to go on from; and its tokenizer's file."""
    preset = places.models / f"{config.model}.yaml"
    if preset.is_file():
        tokenizer = places.models / f"{config.model}.tokenizer.json"
        if not tokenizer.is_file():
            raise TrainingError(f"preset '{config.model}' has no tokenizer ({tokenizer}); name a policy folder instead")
        return HiMoEVLA(load_model_config(config.model, places.models)).initialise(config.seed), tokenizer
    folder = find_folder(config.model)
    load_config(folder)
    return load_model(folder, torch.float32), folder / TOKENIZER


def _show(told: dict[str, float], steps: int, left: float) -> None:
    losses = "  ".join(f"{n} {told[n]:.4f}" for n in ("flow", "as", "hb", "grounding") if n in told)
    line = f"step {told['step']}/{steps}  {losses}  {told['samples_per_s']:.0f} samples/s  {left / 60:.0f} min left"
    end = "" if sys.stdout.isatty() else "\n"
    if sys.stdout.isatty() or told["step"] % 50 == 0:
        print(f"\r\x1b[K{line}" if sys.stdout.isatty() else line, end=end, flush=True)


def _card(
    config: TrainingConfig, sources: Sequence[Source], key: tuple[str, str], told: dict[tuple, Statistics]
) -> str:
    """What a person should know about the policy."""
    others = [" / ".join(k) for k in told if k != key]
    lines = [
        f"# {config.model}, trained by himoe_ros",
        "",
        f"For {' / '.join(key)}.{f' It was trained for {others} too.' if others else ''} {config.steps} steps of "
        f"{config.batch} samples, seed {config.seed}.",
        "",
        "| dataset | robot | action space | samples | weight |",
        "|---|---|---|---|---|",
    ]
    for s in sources:
        cells = (s.member.dataset.name, *s.key, len(s.training), f"{s.member.weight:g}")
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(lines) + "\n"
