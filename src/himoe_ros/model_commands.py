"""`himoe model ...`: released checkpoints, policy folders and presets."""

from __future__ import annotations

import argparse
from pathlib import Path

from .core.embodiment import load_embodiment
from .core.errors import ConfigError
from .resources import config, policy_place


def add_model_commands(commands) -> None:
    """Add `model convert` and `model info` to the subparsers of `himoe`."""
    model = commands.add_parser("model", help="convert and describe models").add_subparsers(
        required=True, metavar="WHAT"
    )
    presets = ", ".join(sorted(path.stem for path in config("models").glob("*.yaml")))

    convert = _command(model, "convert", _convert, "make a policy folder of a released checkpoint")
    convert.add_argument("released", type=Path, help="folder with pytorch_model.pth and meta/stats.json, or that file")
    convert.add_argument("out", type=Path, help="policy folder to write; must not exist")
    convert.add_argument("--preset", default="himoe_4b", help=f"its architecture: {presets}")
    convert.add_argument(
        "--embodiment",
        default=argparse.SUPPRESS,
        help="robot that meta/stats.json is of; without it the folder holds a base model, for training only",
    )
    convert.add_argument(
        "--action-space", default=argparse.SUPPRESS, help="action space of the embodiment that meta/stats.json is of"
    )

    info = _command(model, "info", _info, "layers, parameters and memory of a model")
    info.add_argument("name", metavar="NAME_OR_FOLDER", help=f"policy folder, Hugging Face name, or preset: {presets}")


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=text,
        description=text[0].upper() + text[1:] + ".",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def _convert(options: argparse.Namespace) -> int:
    robot, space = getattr(options, "embodiment", None), getattr(options, "action_space", None)
    if (robot is None) != (space is None):
        raise ConfigError("expected both --embodiment and --action-space, or neither, got one; name the other too")
    target = None
    if robot is not None:
        embodiment = load_embodiment(robot, config("embodiments"))
        target = embodiment, embodiment.action_space(space)
    # torch takes seconds to import, and no other command needs it here.
    from .model.config import load_model_config  # noqa: PLC0415
    from .policy.released import convert_released  # noqa: PLC0415

    lacks = convert_released(options.released, options.out, load_model_config(options.preset, config("models")), target)
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{options.out}: {options.preset}, {size / 1e9:.2f} GB")
    for sentence in lacks:
        print(f"note: {sentence}")
    return 0


def _info(options: argparse.Namespace) -> int:
    from .model.config import load_model_config  # noqa: PLC0415 - see _convert
    from .model.folder import CONFIG, find_folder, load_config  # noqa: PLC0415
    from .model.info import describe  # noqa: PLC0415

    preset = (config("models") / f"{options.name}.yaml").is_file()
    if preset:
        told = load_model_config(options.name, config("models"))
    else:
        told = load_config(find_folder(policy_place(options.name), files=(CONFIG,)))
    print(describe(told))
    return 0
