"""`himoe bag ...`: what bags hold, whether they are good, and saving what can be read of broken ones."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

from .core.embodiment import load_embodiment
from .core.errors import ConfigError, RecordingError
from .core.safety import load_safety
from .recording.bags import describe
from .recording.check import Verdict, check, worst
from .recording.contract import load_contract
from .recording.reader import read_info
from .recording.repair import repair
from .recording.session import bags_in
from .resources import config


def add_bag_commands(commands) -> None:
    """Add `bag info`, `bag check` and `bag repair` to the subparsers of `himoe`."""
    bag = commands.add_parser("bag", help="recorded episodes").add_subparsers(required=True, metavar="WHAT")
    info = _command(bag, "info", _info, "what bags hold: topics, rates, duration, and what is known of the episode")
    judged = _command(bag, "check", _check, "gaps, rates, stamps, frozen cameras, jumps; exits with 1 on a failure")
    for parser in (info, judged):
        parser.add_argument("folder", type=Path, nargs="+", help="bag, or folder of a session")
    judged.add_argument("--json", type=Path, metavar="FILE", help="write the findings to this file too")
    mend = _command(bag, "repair", _repair, "save what can be read of a bag whose recorder was killed")
    mend.add_argument("folder", type=Path, help="the broken bag; it stays as it is")
    mend.add_argument("out", type=Path, nargs="?", help="new bag; FOLDER_repaired without it")


def add_export_command(commands) -> None:
    """Add `export` to the subparsers of `himoe`."""
    text = "make a LeRobot dataset (v3.0) of bags; one that was interrupted goes on"
    parser = _command(commands, "export", _export, text)
    parser.add_argument("folder", type=Path, nargs="+", help="bag, or folder of a session")
    parser.add_argument("out", type=Path, help="dataset to write; must not exist")
    parser.add_argument("--robot", default="xarm7", help="embodiment (default: xarm7)")
    parser.add_argument("--rate-hz", type=int, default=10, help="frames a second (default: 10)")


def _command(commands, name: str, run, text: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    return parser


def _bags(folders: list[Path]) -> list[Path]:
    return [bag for folder in folders for bag in bags_in(folder)]


def _info(options: argparse.Namespace) -> int:
    for bag in _bags(options.folder):
        print(describe(read_info(bag)))
    return 0


def _check(options: argparse.Namespace) -> int:
    found, verdicts = {}, []
    for bag in _bags(options.folder):
        try:
            info = read_info(bag)
            embodiment = load_embodiment(info.about.get("embodiment", "xarm7"), config("embodiments"))
            remarks = check(info, load_contract(config("recording.yaml"), embodiment), embodiment)
            verdict, texts = worst(remarks), [f"{r.verdict.value}: {r.text}" for r in remarks]
        except RecordingError as error:
            verdict, texts = Verdict.FAIL, [str(error)]
        verdicts.append(verdict)
        found[str(bag)] = {"verdict": verdict.value, "remarks": texts}
        print("\n  ".join([f"{verdict.value}  {bag}", *texts]))
    counts = ", ".join(f"{verdicts.count(verdict)} {verdict.value}" for verdict in Verdict)
    print(counts)
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    return 1 if Verdict.FAIL in verdicts else 0


def _export(options: argparse.Namespace) -> int:
    try:
        from .recording.export import Progress, export  # noqa: PLC0415 - needs pyarrow and PyAV
    except ImportError as error:
        raise ConfigError(f"himoe export needs more packages ({error}): pip install 'himoe_ros[train]'") from error

    if options.rate_hz < 1:
        raise ConfigError(f"--rate-hz must be at least 1, got {options.rate_hz}")
    embodiment = load_embodiment(options.robot, config("embodiments"))
    begin = time.monotonic()

    def tell(p: Progress) -> None:
        left = (time.monotonic() - begin) / (p.number + 1) * (p.total - p.number - 1)
        print(f"{p.number + 1}/{p.total}  {p.bag}: {p.frames} frames, {left:.0f} s left", flush=True)

    limits = load_safety(config("safety.yaml")).sensors
    frames = export(_bags(options.folder), options.out, embodiment, limits, options.rate_hz, tell)
    print(f"{options.out}: {frames} frames at {options.rate_hz} Hz")
    return 0


def _repair(options: argparse.Namespace) -> int:
    out = options.out or options.folder.with_name(f"{options.folder.name}_repaired")
    done = repair(options.folder, out)
    print(f"{out}: {done.messages} messages saved" + (f"; reading ended with {done.reason}" if done.reason else ""))
    return 0
