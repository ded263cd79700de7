"""One policy of an experiment: trained, tried and looked into, in a process of its own; what is done stays done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from ..core.embodiment import load_embodiment
from ..core.safety import load_safety
from ..leaving import end_with_parent
from ..model.folder import STATISTICS
from ..model.info import active_in_expert, parameters
from ..policy.local import load_policy
from ..policy.statistics import Statistics
from ..recording.bag import write_whole
from ..resources import config
from ..rollout.trials import Rollouts, scenes
from ..training.places import Places
from ..training.routing import activation
from ..training.run import POLICY, Run
from ..trials.protocol import load_protocol
from .config import Cell, Experiment

RESULT = "result.json"
ROUTED = 128  # samples of each member whose routing is looked at


def training_config(experiment: Experiment, cell: Cell, data: Path) -> dict[str, Any]:
    """What `himoe train` is told for a cell.

    Args:
        data: folder of the data sets.
    """
    mixture = []
    for member in experiment.mixtures[cell.mixture]:
        shown = experiment.data[member.data]
        mixture.append(
            {
                "dataset": str(data / shown.name),
                "embodiment": load_protocol(shown.protocol, config("trials")).embodiment,
                "action_space": member.action_space,
                "episodes": [member.first, cell.demonstrations if member.last is None else member.last],
                "weight": member.weight,
            }
        )
    return {"model": experiment.preset(cell.variant), "mixture": mixture, **experiment.training, "seed": cell.seed}


def prepare(threads: int) -> None:
    """Of a worker's process, before its first cell."""
    end_with_parent()
    torch.set_num_threads(threads)


def run_cell(experiment: Experiment, cell: Cell, work: Path) -> None:
    """Everything of one cell; goes on with what was interrupted.

    Args:
        work: folder of the experiment, with `data`, `models` and a configuration of each cell.
    """
    folder = work / "cells" / cell.name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "log.txt").open("a") as log, redirect_stdout(log), redirect_stderr(log):
        places = Places(config("embodiments"), work / "models", config("datasets"), config("trials"))
        run = Run(work / "cells" / f"{cell.name}.yaml", folder / "run", places, "cpu")
        run.train()
        model = run.trainer.objective.model
        names = [f"{m.data} {m.action_space}" for m in experiment.mixtures[cell.mixture]]
        result = {
            "cell": asdict(cell),
            "parameters": sum(parameters(model).values()),
            "active_in_expert": active_in_expert(model),
            "samples": dict(zip(names, (len(s.training) for s in run.sources), strict=True)),
            "held_out": _held_out(run, _tried(experiment)),
            "routing": _routing(run, folder / "run" / POLICY, places, names),
            "trials": _trials(experiment, folder / "run"),
        }
        write_whole(folder / RESULT, json.dumps(result, indent=1))


def _held_out(run: Run, key: tuple[str, str]) -> dict[str, float]:
    """Figures of held-out demonstrations of the robot and action space that are tried."""
    (first, *_) = [i for i, source in enumerate(run.sources) if source.key == key]
    return {name: v for name, v in run.check([first]).items() if name.startswith(("held_out", "meant_right"))}


def _routing(run: Run, policy: Path, places: Places, names: Sequence[str]) -> list[dict[str, Any]]:
    """Of each layer: bits that the expert tells about the member, and as many where samples are dealt out."""
    used = activation(policy, run.config, places, ROUTED)
    rng = np.random.default_rng(0)
    return [
        {
            "layer": layer,
            "kind": kind.value,
            "bits": used.information(layer),
            "by_chance": float(np.mean([used.information(layer, rng) for _ in range(20)])),
            "members": names,
            "share": used.means(layer).round(4).tolist(),
        }
        for layer, kind in used.kinds.items()
    ]


def _trials(experiment: Experiment, run: Path) -> list[dict[str, Any]]:
    """Of each trial: setting, scene, stages, what went wrong."""
    terms = experiment.trials
    shown = experiment.data[terms.data]
    protocol = load_protocol(shown.protocol, config("trials"))
    protocol = replace(protocol, time_limit=terms.time_limit or protocol.time_limit)
    embodiment = load_embodiment(protocol.embodiment, config("embodiments"))
    space = embodiment.action_space(terms.action_space)
    policy = load_policy(_policy_of(run, _tried(experiment)), embodiment, space)
    rollouts = Rollouts(protocol, embodiment, space, load_safety(config("safety.yaml")), shown.pixels)
    try:
        return [rollouts.run(policy, *one).row for one in scenes(protocol, terms.each, terms.seed)]
    finally:
        rollouts.close()


def _tried(experiment: Experiment) -> tuple[str, str]:
    """The robot and action space of the trials."""
    terms = experiment.trials
    return load_protocol(experiment.data[terms.data].protocol, config("trials")).embodiment, terms.action_space


def _policy_of(run: Path, key: tuple[str, str]) -> Path:
    """The policy folder of a run that is for this robot and action space."""
    told = {f: Statistics.load(f / STATISTICS) for f in sorted(run.glob(f"{POLICY}*"))}
    return next(f for f, s in told.items() if (s.embodiment, s.action_space) == key)


def write_training_config(experiment: Experiment, cell: Cell, work: Path, data: Path) -> Path:
    """The configuration of a cell's training, beside its folder."""
    path = work / "cells" / f"{cell.name}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, yaml.safe_dump(training_config(experiment, cell, data), sort_keys=False))
    return path
