"""An experiment from its configuration to results: data, then every cell, several at a time; always resumable."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import yaml

from ..core.errors import TrainingError
from ..core.reading import load_yaml, mapping, overlaid
from ..model.config import load_model_config
from ..resources import UNTRAINED, config
from ..training.config import load_training
from ..training.examples import open_sources
from ..training.telling import LOG
from ..trials.protocol import load_protocol
from .cell import RESULT, prepare, run_cell, write_training_config
from .config import Cell, Demonstrations, Experiment

TELL_S = 10.0


def run_experiment(experiment: Experiment, work: Path, data: Path, workers: int) -> list[dict[str, Any]]:
    """Do what is not yet done, and tell how it goes.

    Args:
        work: folder of this experiment.
        data: folder of the data sets, which experiments share.
        workers: cells at a time.

    Returns:
        The result of each cell.

    Raises:
        ConfigError, TrainingError, RecordingError: see there; what is done is kept.
    """
    cells = experiment.cells()
    models = write_presets(experiment, work)
    told = [load_training(write_training_config(experiment, cell, work, data)) for cell in cells]
    sizes = [load_model_config(one.model, models) for one in told]
    for shown in experiment.data.values():
        _demonstrate(shown, data, sizes[0].chunk_steps, workers)
    for one, model in zip(
        told, sizes, strict=True
    ):  # what can be wrong is found, and pictures are kept, before step one
        open_sources(one, model, config("embodiments"), config("datasets"))
    missing = [cell for cell in cells if not _result(work, cell).is_file()]
    if missing:
        _compute(experiment, missing, work, workers)
    return [json.loads(_result(work, cell).read_text()) for cell in cells]


def _file(work: Path, cell: Cell) -> Path:
    return work / "cells" / f"{cell.name}.yaml"


def _result(work: Path, cell: Cell) -> Path:
    return work / "cells" / cell.name / RESULT


def write_presets(experiment: Experiment, work: Path) -> Path:
    """The presets, of which the one that all others begin from has the experiment's size, and its own variants."""
    models = work / "models"
    shutil.rmtree(models, ignore_errors=True)
    shutil.copytree(config("models"), models)
    base = models / f"{UNTRAINED}.yaml"
    base.write_text(yaml.safe_dump(overlaid(load_yaml(base), experiment.size)))
    for name, told in experiment.variants.items():
        if not isinstance(told, str):
            (models / f"{name}.yaml").write_text(yaml.safe_dump(mapping(told, f"variants.{name}")))
    return models


def _demonstrate(shown: Demonstrations, data: Path, chunk_steps: int, workers: int) -> None:
    """Record and export a data set that is not there yet, by the commands that anybody would use."""
    bags, out = data / "bags" / shown.name, data / shown.name
    if out.is_dir():
        return
    robot = load_protocol(shown.protocol, config("trials")).embodiment
    options = {
        **{"episodes": shown.episodes, "seed": shown.seed, "switch": shown.switch, "push": shown.push},
        **{"width": shown.pixels, "height": shown.pixels, "images": "jpeg", "workers": workers, "out": bags},
    }
    _himoe("sim", "record", shown.protocol, *_told(options))
    terms = {"robot": robot, "held-out": shown.held_out, "chunk-steps": chunk_steps, "workers": workers}
    _himoe("export", str(bags), str(out), *_told(terms))


def _told(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _himoe(*words: str) -> None:
    print(f"himoe {' '.join(words)}", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if subprocess.run([sys.executable, "-m", "himoe_ros.cli", *words], check=False, env=environment).returncode:
        raise TrainingError(f"himoe {' '.join(words[:2])} failed, see above; the experiment goes on where it ended")


def _compute(experiment: Experiment, cells: Sequence[Cell], work: Path, workers: int) -> None:
    """Every cell in a process of a pool; the first one that fails ends it."""
    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it when a worker imports it
    threads = max(1, (os.cpu_count() or 1) // workers)
    begin, done = time.monotonic(), _steps(cells, work)
    total = experiment.training["steps"] * len(cells)
    with ProcessPoolExecutor(workers, get_context("spawn"), prepare, (threads,)) as pool:
        waiting: dict[Future[None], Cell] = {pool.submit(run_cell, experiment, cell, work): cell for cell in cells}
        while waiting:
            finished, _ = wait(waiting, TELL_S, FIRST_COMPLETED)
            for future in finished:
                cell = waiting.pop(future)
                if (error := future.exception()) is not None:
                    pool.shutdown(cancel_futures=True)
                    raise TrainingError(
                        f"cell {cell.name} failed: {error}; see {work / 'cells' / cell.name / 'log.txt'}"
                    ) from error
            _tell(len(cells) - len(waiting), len(cells), _steps(cells, work), done, total, time.monotonic() - begin)
    print()


def _steps(cells: Sequence[Cell], work: Path) -> int:
    """Steps of training that are done."""
    logs = (work / "cells" / cell.name / "run" / LOG for cell in cells)
    return sum(len(log.read_bytes().splitlines()) for log in logs if log.is_file())


def _tell(ready: int, cells: int, steps: int, before: int, total: int, spent: float) -> None:
    left = f"{spent / (steps - before) * (total - steps) / 60:.0f} min left" if steps > before else "begun"
    print(f"\r{ready}/{cells} policies, {steps}/{total} steps, {left}   ", end="", flush=True)
