"""`himoe train`: from a configuration and datasets to a policy folder."""

from __future__ import annotations

import argparse
from pathlib import Path

from .core.errors import ConfigError
from .options import add_command
from .resources import share, training_file


def add_train_command(commands) -> None:
    """Add `train` to the subparsers of `himoe`."""
    text = "train a policy, or go on with a run that was interrupted"
    train = add_command(commands, "train", _train, text)
    train.add_argument("config", help="YAML file, or the name of one in config/training")
    train.add_argument("--out", type=Path, help="folder of the run (default: runs/NAME)")
    train.add_argument("--device", default="", help="cpu or cuda (default: cuda where there is one)")


def _train(options: argparse.Namespace) -> int:
    try:
        from .policy.device import chosen_device  # noqa: PLC0415 - torch is slow to import
        from .training.places import Places  # noqa: PLC0415
        from .training.processes import joined  # noqa: PLC0415
        from .training.run import POLICY, Run  # noqa: PLC0415
    except ImportError as error:
        raise ConfigError(f"himoe train needs more packages ({error}): pip install 'himoe_ros[train]'") from error

    file = training_file(options.config)
    places = Places.under(share() / "config")
    out = options.out or Path("runs") / file.stem
    with joined(chosen_device(options.device)) as (processes, device):
        run = Run(file, out, places, device, processes)
        if processes.rank == 0:
            samples = sum(len(s.training) for s in run.sources)
            since = f"{'resumed at' if run.resumed else 'from'} step {run.trainer.step}"
            precision = str(run.trainer.products).removeprefix("torch.")
            print(f"{out}: {samples} samples, {since}; products in {precision}", flush=True)
        run.train()
        if processes.rank == 0:
            print(f"\nwritten: {', '.join(map(str, sorted(out.glob(f'{POLICY}*'))))}")
    return 0
