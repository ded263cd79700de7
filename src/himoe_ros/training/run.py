"""A run from its configuration to a policy folder: resumable at any moment, with everything to repeat it beside."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from ..core.errors import HimoeError, TrainingError
from ..model.config import load_model_config, preset_tokenizer
from ..model.folder import CARD, STATISTICS, TOKENIZER, find_folder, load_config, load_model, new_folder, save_model
from ..model.himoe import HiMoEVLA
from ..policy.statistics import Statistics
from ..policy.tokenizer import InstructionTokenizer
from .checks import held_out
from .config import TrainingConfig, load_training
from .examples import Examples, Source, Steps, collate, open_sources, statistics
from .grounding import Grounding
from .meanings import meanings, things_meant
from .objective import Objective
from .places import Places
from .processes import Processes
from .rehearsal import rehearse
from .telling import Told
from .trainer import Trainer, products
from .tuning import merged, tune, upcycled

CONFIG, POLICY, REHEARSALS = "training.yaml", "policy", "rehearsals"
CHECKED, CHECK_SEED = 256, 7  # held-out samples a check looks at


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
        if self.config.rehearsals and self.processes.count > 1:
            raise TrainingError("rehearsals: trials on the way are for one process; run them on RUN/policy afterwards")
        torch.manual_seed(self.config.seed)
        model, self._tokenizer_file = _model(self.config, places)
        tune(model, self.config.tuning, self.config.seed, products(self.config, device))
        with self.processes.first_alone():
            _require_same(config_file, folder)
            self.sources = open_sources(self.config, model.config, places.embodiments, places.datasets)
        self.statistics = statistics(self.sources, model.config, self.config.std_floor)
        known = model.config.expert.spaces
        if model.config.expert.conditioning != "mask" and len(self.statistics) > known:
            raise TrainingError(
                f"{model.config.name} numbers {known} action spaces, the mixture has {len(self.statistics)}"
            )
        terms = self.config.grounding
        things = things_meant(terms, places.trials) if terms else ()
        grounding = Grounding(model.config, len(things), terms.weight) if terms else None
        objective = Objective(model, grounding, self.processes).to(device)
        self.trainer = Trainer(objective, self.config, folder, self.processes)
        tokenizer = InstructionTokenizer.load(self._tokenizer_file, model.config.max_text_tokens)
        sentences = meanings(terms, places.trials) if terms else {}
        self._examples = Examples(
            self.config, model.config, self.sources, self.statistics, tokenizer, sentences, things
        )
        heard = {*sentences, *(e.task for s in self.sources for e in s.data.episodes)}
        self._words = max(len(tokenizer(sentence)) for sentence in heard)  # every batch has one shape
        self.resumed = self.trainer.resume()
        if self.processes.rank == 0:  # only now: what was refused leaves no run behind
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copy(config_file, folder / CONFIG)

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
        told = Told(self.folder, trainer.step, config.steps, config.batch) if self.processes.rank == 0 else None
        try:
            for values in trainer.train(iter(loader)):
                done, last = trainer.step, trainer.step == config.steps
                if last or done % config.save_every == 0:
                    trainer.save()
                checked = self.check() if last or done % config.check_every == 0 else {}
                if config.rehearsals and done % config.rehearsals.every == 0:
                    checked |= self.rehearse()
                if told is not None:
                    told(done, values | checked)
        finally:
            if told is not None:
                told.close()
        first, *others = self._driven()  # one model, and for each robot and action space the statistics it needs
        self.write_policy(self.folder / POLICY, first)
        for key in others:
            self.write_policy(self.folder / "_".join((POLICY, *key)), key)

    def check(self, members: Collection[int] | None = None) -> dict[str, float]:
        """Figures of held-out samples, with the averaged weights; see `checks.held_out`. By the first process.

        Args:
            members: numbers of those of the mixture that are looked at; None for all.
        """
        chosen = range(len(self.sources)) if members is None else members
        keys = [(m, int(i), CHECK_SEED + int(i)) for m in chosen for i in self.sources[m].held_out]
        chosen = [keys[k] for k in np.random.default_rng(CHECK_SEED).permutation(len(keys))[:CHECKED]]
        trainer = self.trainer
        with trainer.averaged(), trainer.autocast():  # for which all processes are needed
            if not chosen or self.processes.rank:
                return {}
            at_once = self.config.batch // (self.processes.count * self.config.accumulate)  # as a step learns from
            batch = collate([self._examples[key] for key in chosen])
            std = torch.stack([self._std(member) for member, _, _ in chosen]).float()
            return held_out(trainer.objective, batch, std, CHECK_SEED, at_once)

    def rehearse(self) -> dict[str, float]:
        """Trials of the policy as it is now; see `rehearsal.rehearse`. One that cannot be run does not end the run."""
        terms, place = self.config.rehearsals, self.folder / REHEARSALS / f"step_{self.trainer.step:08d}"
        self.write_policy(place / POLICY, self._driven()[0])
        try:
            return rehearse(place / POLICY, terms.protocols, terms.trials, place)
        except HimoeError as error:
            print(f"\nstep {self.trainer.step}: {error}", flush=True)
            return {}

    def _driven(self) -> list[tuple[str, str]]:
        """Robots and action spaces that a policy is for: those of the mixture that somebody can drive, if there are."""
        arms = {source.key: source.embodiment.arms for source in self.sources}
        return [key for key in self.statistics if arms[key]] or [*self.statistics][:1]

    def _std(self, member: int) -> torch.Tensor:
        """(T, 24) of a member's actions."""
        std = torch.from_numpy(self.statistics[self.sources[member].key].action.std)
        return std if std.dim() == 2 else std.expand(self.trainer.objective.model.config.chunk_steps, -1)

    def write_policy(self, out: Path, key: tuple[str, str]) -> None:
        """The averaged weights with all that a policy of this robot and action space needs."""
        with self.trainer.averaged():
            if self.processes.rank:
                return
            model = merged(self.trainer.objective.model, torch.bfloat16)
        shutil.rmtree(out, ignore_errors=True)
        with new_folder(out) as folder:
            save_model(model, folder)
            self.statistics[key].save(folder / STATISTICS)
            shutil.copy(self._tokenizer_file, folder / TOKENIZER)
            (folder / CARD).write_text(_card(self.config, self.sources, key, self.statistics))


def _require_same(config_file: Path, folder: Path) -> None:
    """A folder is of one run: its configuration is kept there."""
    kept = folder / CONFIG
    if kept.exists() and kept.read_text() != config_file.read_text():
        raise TrainingError(f"{folder} is a run of another configuration ({kept}); choose another --out")


def _model(config: TrainingConfig, places: Places) -> tuple[HiMoEVLA, Path]:
    """A preset with random weights, or a policy folder to go on from; and its tokenizer's file."""
    preset = places.models / f"{config.model}.yaml"
    if preset.is_file():
        tokenizer = preset_tokenizer(config.model, places.models)
        model = HiMoEVLA(load_model_config(config.model, places.models)).initialise(config.seed)
        if not config.tuning.upcycle:
            return model, tokenizer
        dense = find_folder(config.tuning.upcycle)
        return upcycled(model, load_model(dense), config.tuning.upcycle_noise, config.seed), dense / TOKENIZER
    folder = find_folder(config.model)
    load_config(folder)
    return load_model(folder), folder / TOKENIZER


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
