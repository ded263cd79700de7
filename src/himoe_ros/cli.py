"""The `himoe` command: see `himoe --help`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from .bench_commands import add_bench_commands
from .bringup import PROTOCOLS, graph, recorder, teleop
from .check_commands import add_check_commands
from .core.errors import HimoeError
from .experiment_commands import add_experiment_commands
from .model_commands import add_model_commands
from .options import ARGUMENTS, RECORD_ARGUMENTS, TELEOP_ARGUMENTS, TRIAL_ARGUMENTS, Argument, add_command
from .recording_commands import add_bag_commands, add_export_command
from .resources import config, is_preset, own_policy
from .runner import run_graph
from .serve_commands import add_serve_command
from .sim_commands import add_sim_commands
from .train_commands import add_train_command
from .trials.layout import draw_layout
from .trials.protocol import load_protocol
from .trials_commands import add_trials_commands, finished, run_session

DEMO = {  # a short session
    "trials": Argument("trials", 1, "of each of the four instructions"),
    "time_limit_s": Argument("time_limit_s", 20.0, "s, after which a trial has failed"),
    "out": Argument("out", "himoe_results", "folder of the session; one that was interrupted is gone on with"),
}
UNTRAINED = "The weights are UNTRAINED (random): the arm moves safely but without a plan, and no trial should succeed."


def main(argv: Sequence[str] | None = None) -> None:
    """Run one subcommand; a HimoeError becomes one line and exit code 2."""
    if sys.version_info < (3, 10):  # noqa: UP036 - told plainly where an older Python tries
        sys.exit(f"error: himoe_ros needs Python 3.10 or newer, this is {sys.version.split()[0]}")
    options = _parser().parse_args(argv)
    try:
        sys.exit(options.run(options))
    except HimoeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="himoe", description="HiMoE-VLA on robots with ROS 2.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    robots = sorted(path.stem for path in config("embodiments").glob("*.yaml"))

    up = add_command(commands, "up", _up, "start a robot's nodes and keep them running")
    up.add_argument("robot", help=f"embodiment: {', '.join(robots)}")
    _add(up, ARGUMENTS)
    _add_common(up)

    demo = add_command(commands, "demo", _demo, "simulated trials of the xArm7: results, videos, a report")
    _add(demo, (*ARGUMENTS, *(DEMO.get(a.name, a) for a in TRIAL_ARGUMENTS)))
    _add_json(demo)

    record = add_command(
        commands,
        "record",
        _record,
        "record demonstrations; keys: r start, s save, f save as failed, d discard, t task, q quit",
    )
    record.add_argument("robot", help=f"embodiment: {', '.join(robots)}")
    _add(record, RECORD_ARGUMENTS)
    _add_common(record)

    drive = add_command(
        commands, "teleop", _teleop, "drive a robot by keys, pad, leader arms, or the simulation's expert"
    )
    drive.add_argument("robot", help=f"embodiment: {', '.join(robots)}")
    _add(drive, TELEOP_ARGUMENTS)
    _add_common(drive)

    picture = add_command(commands, "picture", _picture, "render the simulated workplace to a PNG file")
    picture.add_argument("out", type=Path, help="file to write")
    picture.add_argument("--camera", default="overview", help="overview, or one of the robot's")
    picture.add_argument("--protocol", default="xarm7/fruit_to_plate", help="decides what lies there")
    picture.add_argument("--seed", type=int, default=3, help="of the things' places")
    picture.add_argument("--width", type=int, default=960, help="px")
    picture.add_argument("--height", type=int, default=720, help="px")

    add_bench_commands(commands)
    add_model_commands(commands)
    add_check_commands(commands)
    add_bag_commands(commands)
    add_export_command(commands)
    add_sim_commands(commands)
    add_trials_commands(commands)
    add_train_command(commands)
    add_experiment_commands(commands)
    add_serve_command(commands)
    return parser


def _add(parser: argparse.ArgumentParser, arguments: Sequence[Argument]) -> None:
    for a in arguments:
        parser.add_argument(f"--{a.name.replace('_', '-')}", default=a.default, metavar="VALUE", help=a.help)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--namespace", default="", help="namespace of every node and relative topic")
    parser.add_argument("--params-file", default="", help="YAML file with ROS parameters that override the options")
    parser.add_argument("--log-level", default="warn", choices=("debug", "info", "warn", "error"), help="of every node")


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")


def _values(options: argparse.Namespace, arguments: Sequence[Argument]) -> dict[str, object]:
    return {a.name: getattr(options, a.name) for a in arguments}


def _up(options: argparse.Namespace) -> int:
    specs = graph(options.robot, _values(options, ARGUMENTS))
    print(f"{options.robot}: {', '.join(s.name for s in specs)}; Ctrl-C ends them", flush=True)
    return run_graph(specs, options.namespace, options.log_level, options.params_file)


def _demo(options: argparse.Namespace) -> int:
    options.policy = options.policy or own_policy("xarm7")
    options.protocol = options.protocol or PROTOCOLS["xarm7"]
    told = UNTRAINED if is_preset(options.policy) else ""
    print(f"A simulated xArm7 driven by '{options.policy}' over ROS 2.\n{told}", flush=True)
    values = _values(options, (*ARGUMENTS, *TRIAL_ARGUMENTS))
    out, number, protocol = options.out, 1, load_protocol(options.protocol, config("trials"))
    while finished(Path(values["out"]), protocol):  # a demo runs, also where one has run before
        number += 1
        values["out"] = f"{out}_{number}"
    return run_session(values, options.json)


def _record(options: argparse.Namespace) -> int:
    specs = recorder(options.robot, _values(options, RECORD_ARGUMENTS), keys=True)
    return run_graph(specs, options.namespace, options.log_level, options.params_file, foreground="recorder")


def _teleop(options: argparse.Namespace) -> int:
    specs = teleop(options.robot, _values(options, TELEOP_ARGUMENTS))
    return run_graph(specs, options.namespace, options.log_level, options.params_file, foreground=specs[0].name)


def _picture(options: argparse.Namespace) -> int:
    os.environ.setdefault("MUJOCO_GL", "egl")
    from .sim.picture import save_picture  # noqa: PLC0415 - MuJoCo reads MUJOCO_GL when imported

    protocol = load_protocol(options.protocol, config("trials"))
    layout = draw_layout(protocol, next(iter(protocol.settings.values())), options.seed)
    save_picture(options.out, protocol.embodiment, options.camera, layout, options.width, options.height)
    return 0


if __name__ == "__main__":
    main()
