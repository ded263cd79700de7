"""One policy of an experiment: trained, tried and looked into, in a process of its own; what is done stays done."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ..core.embodiment import load_embodiment
from ..core.fingerprint import fingerprint
from ..core.safety import load_safety
from ..leaving import end_with_parent
from ..model.config import load_preset
from ..model.folder import STATISTICS
from ..model.info import active_in_expert, parameters
from ..policy.statistics import Statistics
from ..recording.bag import write_whole
from ..resources import config, version
from ..rollout.policy_trials import PolicyTrials, Wanted
from ..rollout.trials import scenes
from ..training.places import Places
from ..training.routing import activation
from ..training.run import POLICY, Run
from .config import Cell, Experiment

TRAINING = "training.yaml"
ROUTED = 128  # samples of each member whose routing is looked at


@dataclass(frozen=True)
class Job:
    """A cell, ready to be computed.

    Attributes:
        experiment: whose cell it is; its trials are run.
        training: what `himoe train` is told.
        depends: the same by content, wherever the work is done.
        models: folder of presets.
        folder: its own, for as long as the work takes.
        result: the file that is there once everything is done, named by the whole configuration: experiments share it,
            and none finds another's.
    """

    experiment: Experiment
    cell: Cell
    training: Mapping[str, Any]
    depends: Mapping[str, Any]
    models: Path
    folder: Path
    result: Path


def job_of(experiment: Experiment, cell: Cell, models: Path, root: Path, results: Path) -> Job:
    """What there is to do for a cell; its training configuration is written.

    Args:
        models: folder of presets.
        root: with the data sets in `data`, and a folder for each cell in `cells`.
        results: folder of what is kept.
    """
    mixture, drawn = [], []
    for member in experiment.mixtures[cell.mixture]:
        data = experiment.data[member.data]
        told = {
            "embodiment": data.loaded.embodiment,
            "action_space": member.action_space,
            "episodes": [member.first, cell.demonstrations if member.last is None else member.last],
            "weight": member.weight,
        }
        mixture.append({"dataset": str(root / "data" / data.name), **told})
        drawn.append({"dataset": data.name, **told})
    preset = experiment.preset(cell.variant)
    training = {"model": preset, "mixture": mixture, **experiment.training, "seed": cell.seed}
    tried = experiment.data[experiment.trials.data]
    embodiment = load_embodiment(experiment.tried[0], config("embodiments"))
    safety = load_safety(config("safety.yaml"))
    # The model by content: two experiments may name it differently. The data by name, which tells how it was made.
    depends = {**training, "model": load_preset(preset, models), "mixture": drawn}
    trials = [experiment.trials, tried, tried.loaded.content, embodiment, safety]
    folder = root / "cells" / fingerprint([training, depends, trials])  # a run has one configuration, places and all
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / TRAINING, yaml.safe_dump(training, sort_keys=False))
    return Job(experiment, cell, training, depends, models, folder, results / f"{fingerprint([depends, trials])}.json")


def prepare(threads: int) -> None:
    """Of a worker's process, before its first cell."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once; what it has kept is gone on with
    torch.set_num_threads(threads)


def run_cell(job: Job) -> None:
    """Everything of one cell; goes on with what was interrupted."""
    log = (job.folder / "log.txt").open("a")
    with log, redirect_stdout(log), redirect_stderr(log):
        places = Places(config("embodiments"), job.models, config("datasets"), config("trials"))
        run = Run(job.folder / TRAINING, job.folder / "run", places, "cpu")
        run.train()
        model = run.trainer.objective.model
        result = {
            "cell": job.cell.name,
            "configuration": job.depends,
            "versions": {"himoe_ros": version(), "torch": torch.__version__},
            "parameters": sum(parameters(model).values()),
            "active_in_expert": active_in_expert(model),
            "samples": [len(s.training) for s in run.sources],
            "held_out": _held_out(run, job.experiment.tried),
            "routing": _routing(run, job.folder / "run" / POLICY, places),
            "trials": _trials(job.experiment, job.folder / "run"),
        }
        job.result.parent.mkdir(parents=True, exist_ok=True)
        write_whole(job.result, json.dumps(result))


def _held_out(run: Run, key: tuple[str, str]) -> dict[str, float]:
    """Figures of held-out demonstrations of the robot and action space that are tried."""
    (first, *_) = [i for i, source in enumerate(run.sources) if source.key == key]
    return {name: v for name, v in run.check([first]).items() if name.startswith(("held_out", "meant_right"))}


def _routing(run: Run, policy: Path, places: Places) -> list[dict[str, Any]]:
    """Of each layer: bits that the expert tells about the member, and as many where samples are dealt out."""
    used = activation(policy, run.config, places, ROUTED)
    rng = np.random.default_rng(0)
    return [
        {
            "layer": layer,
            "kind": kind.value,
            "bits": used.information(layer),
            "by_chance": float(np.mean([used.information(layer, rng) for _ in range(20)])),
            "share": used.means(layer).round(4).tolist(),
        }
        for layer, kind in used.kinds.items()
    ]


def _trials(experiment: Experiment, run: Path) -> Sequence[Mapping[str, Any]]:
    """Of each trial: setting, scene, stages, what went wrong."""
    terms, shown = experiment.trials, experiment.data[experiment.trials.data]
    policy = _policy_of(run, experiment.tried)
    told = 0.0, terms.time_limit or 0.0, shown.pixels, 0.0
    trials = PolicyTrials(Wanted(shown.protocol, policy, terms.action_space, *told))
    try:
        return [trials(*one).row for one in scenes(trials.protocol, terms.each, terms.seed)]
    finally:
        trials.close()


def _policy_of(run: Path, key: tuple[str, str]) -> Path:
    """The policy folder of a run that is for this robot and action space."""
    told = {f: Statistics.load(f / STATISTICS) for f in sorted(run.glob(f"{POLICY}*"))}
    return next(f for f, s in told.items() if (s.embodiment, s.action_space) == key)
