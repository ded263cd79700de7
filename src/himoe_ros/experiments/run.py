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
from ..recording.session import Session
from ..resources import UNTRAINED, config
from ..training.config import load_training
from ..training.examples import open_sources
from ..training.telling import LOG
from .cell import TRAINING, Job, job_of, prepare, run_cell
from .config import Cell, Demonstrations, Experiment

TELL_S = 10.0
Result = Mapping[str, Any]


def run_experiment(experiment: Experiment, root: Path, name: str, results: Path, workers: int) -> dict[Cell, Result]:
    """Do what is not yet done, and tell how it goes.

    Args:
        root: folder of all experiments, which share data sets and cells.
        name: of this one's folder there.
        results: folder with what came of each cell; small, and all that is needed for a cell to be done.
        workers: cells at a time.

    Returns:
        The result of each cell.

    Raises:
        HimoeError: a configuration, a data set or a cell is no good; what is done is kept.
    """
    session = Session(root)  # one at a time
    try:
        models = write_presets(experiment, root / name)
        jobs = [job_of(experiment, cell, models, root, results) for cell in experiment.cells()]
        missing = [job for job in jobs if not job.result.is_file()]
        told = [load_training(job.folder / TRAINING) for job in missing]
        sizes = [load_model_config(one.model, models) for one in told]
        for shown in {m.data: None for job in missing for m in experiment.mixtures[job.cell.mixture]}:
            _demonstrate(experiment.data[shown], root / "data", sizes[0].chunk_steps, workers)
        # What can be wrong with the data is found, and pictures are kept, before step one; once for each mixture.
        for one, size in {str(one.members): (one, size) for one, size in zip(told, sizes, strict=True)}.values():
            open_sources(one, size, config("embodiments"), config("datasets"))
        if missing:
            _compute(missing, workers)
        return {job.cell: json.loads(job.result.read_text()) for job in jobs}
    finally:
        session.close()


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
    options = {
        **{"episodes": shown.episodes, "seed": shown.seed, "switch": shown.switch, "push": shown.push},
        **{"width": shown.pixels, "height": shown.pixels, "images": "jpeg", "workers": workers, "out": bags},
    }
    _himoe("sim", "record", shown.protocol, *_told(options))
    terms = {
        "robot": shown.loaded.embodiment,
        "held-out": shown.held_out,
        "chunk-steps": chunk_steps,
        "workers": workers,
    }
    _himoe("export", str(bags), str(out), *_told(terms))


def _told(options: Mapping[str, object]) -> list[str]:
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def _himoe(*words: str) -> None:
    print(f"himoe {' '.join(words)}", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if subprocess.run([sys.executable, "-m", "himoe_ros.cli", *words], check=False, env=environment).returncode:
        raise TrainingError(f"himoe {' '.join(words[:2])} failed, see above; the experiment goes on where it ended")


def _compute(jobs: Sequence[Job], workers: int) -> None:
    """Every cell in a process of a pool; those that fail are told when the others are done."""
    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it when a worker imports it
    threads = max(1, (os.cpu_count() or 1) // workers)
    begin, before, failed = time.monotonic(), _steps(jobs), []
    total = sum(job.training["steps"] for job in jobs)
    with ProcessPoolExecutor(workers, get_context("spawn"), prepare, (threads,)) as pool:
        waiting: dict[Future[None], Job] = {pool.submit(run_cell, job): job for job in jobs}
        while waiting:
            finished, _ = wait(waiting, TELL_S, FIRST_COMPLETED)
            for future in finished:
                job = waiting.pop(future)
                if (error := future.exception()) is not None:
                    failed.append(f"{job.cell.name}: {error} ({job.folder / 'log.txt'})")
            _tell(len(jobs) - len(waiting), len(jobs), _steps(jobs), before, total, time.monotonic() - begin)
    print()
    if failed:
        raise TrainingError(
            "\n  ".join([f"{len(failed)} of {len(jobs)} policies failed; the others are kept:", *failed])
        )


def _steps(jobs: Sequence[Job]) -> int:
    """Steps of training that are done."""
    logs = (job.folder / "run" / LOG for job in jobs)
    return sum(len(log.read_bytes().splitlines()) for log in logs if log.is_file())


def _tell(ready: int, cells: int, steps: int, before: int, total: int, spent: float) -> None:
    left = f"{spent / (steps - before) * (total - steps) / 60:.0f} min left" if steps > before else "begun"
    print(f"\r{ready}/{cells} policies, {steps}/{total} steps, {left}   ", end="", flush=True)
