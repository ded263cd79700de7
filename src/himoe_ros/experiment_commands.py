"""`himoe experiment ...`: the paper's comparisons, repeated in simulation."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from .core.errors import ConfigError
from .options import add_command
from .resources import share

RESULTS = "policies"  # folder beside the reports: what came of each policy


def add_experiment_commands(commands) -> None:
    """Add `experiment run` to the subparsers of `himoe`."""
    experiment = commands.add_parser("experiment", help="the paper's comparisons, repeated in simulation")
    what = experiment.add_subparsers(required=True, metavar="WHAT")
    text = "train every variant and seed, try each policy, write tables and a figure; goes on where it was interrupted"
    run = add_command(what, "run", _run, text)
    run.add_argument("name", help=f"one of experiments/: {', '.join(_known())}; or a YAML file")
    run.add_argument("--quick", action="store_true", help="the machinery in minutes; its results tell nothing")
    run.add_argument(
        "--work", type=Path, default=Path("runs/experiments"), help="folder of data sets, policies, trials"
    )
    run.add_argument(
        "--docs", type=Path, default=Path("docs/experiments"), help="folder of reports and of what is kept of policies"
    )
    run.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="policies at a time")


def _known() -> list[str]:
    return sorted(path.stem for path in (share() / "experiments").glob("*.yaml"))


def _run(options: argparse.Namespace) -> int:
    own = share() / "experiments" / f"{options.name}.yaml"
    file = own if own.is_file() else Path(options.name)
    if not file.is_file():
        raise ConfigError(f"'{options.name}' is no file, and experiments/ has {', '.join(_known())}")
    if options.workers < 1:
        raise ConfigError(f"--workers: expected at least 1, got {options.workers}")
    try:
        from .experiments.config import load_experiment  # noqa: PLC0415 - torch is slow to import
        from .experiments.report import write_report  # noqa: PLC0415
        from .experiments.run import run_experiment  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(
            f"himoe experiment needs more packages ({error}): pip install 'himoe_ros[sim,train]'"
        ) from error

    experiment = load_experiment(file, options.quick)
    name = f"{experiment.name}_quick" if options.quick else experiment.name
    out, kept = (options.work / name, options.work) if options.quick else (options.docs, options.docs)
    results = run_experiment(experiment, options.work.absolute(), name, (kept / RESULTS).absolute(), options.workers)
    words = f"himoe experiment run {options.name}{' --quick' if options.quick else ''}"
    print(f"written: {write_report(experiment, results, out, words)}")
    return 0
