"""`himoe model ...`: released checkpoints, policy folders and presets."""

from __future__ import annotations

import argparse
from pathlib import Path

from .core.embodiment import load_embodiment
from .core.errors import ConfigError
from .options import add_command
from .resources import config, policy_place, share, training_file


def add_model_commands(commands) -> None:
    """Add `model convert`, `info` and `routing` to the subparsers of `himoe`."""
    model = commands.add_parser("model", help="convert and describe models").add_subparsers(
        required=True, metavar="WHAT"
    )
    presets = ", ".join(sorted(path.stem for path in config("models").glob("*.yaml")))

    convert = add_command(model, "convert", _convert, "make a policy folder of a released checkpoint")
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

    info = add_command(model, "info", _info, "layers, parameters and memory of a model")
    info.add_argument("name", metavar="NAME_OR_FOLDER", help=f"policy folder, Hugging Face name, or preset: {presets}")

    routing = add_command(model, "routing", _routing, "heat maps of which experts act on which data, as an HTML page")
    routing.add_argument("policy", help="policy folder, one of config/policies, or Hugging Face name")
    routing.add_argument("config", help="training configuration whose datasets are looked at: a file, or a name")
    routing.add_argument("--samples", type=int, default=256, help="of each dataset, at most")
    routing.add_argument("--out", type=Path, default=Path("routing.html"), help="file to write")


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


def _routing(options: argparse.Namespace) -> int:
    if options.samples < 1:
        raise ConfigError(f"--samples: expected at least 1, got {options.samples}")
    from .training.config import load_training  # noqa: PLC0415 - see _convert
    from .training.places import Places  # noqa: PLC0415
    from .training.routing import activation, routing_page  # noqa: PLC0415

    told = load_training(training_file(options.config))
    places = Places.under(share() / "config")
    used = activation(policy_place(options.policy), told, places, options.samples)
    if not used.share:
        raise ConfigError(f"'{options.policy}' has no experts, there is nothing to draw")
    options.out.write_text(routing_page(used, f"Experts of {options.policy}"))
    print(f"written: {options.out}")
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
