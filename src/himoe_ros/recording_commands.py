"""`himoe bag ...`: what bags hold, whether they are good, and saving what can be read of broken ones."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
import time
from pathlib import Path

from .bringup import player
from .core.embodiment import Embodiment, load_embodiment
from .core.errors import ConfigError, RecordingError
from .core.safety import load_safety
from .options import PLAY_ARGUMENTS, add_command
from .recording.bags import describe
from .recording.check import Verdict, check, worst
from .recording.contract import Contract, load_contract
from .recording.reader import BagInfo, read_info
from .recording.repair import repair
from .recording.session import bags_in
from .recording.trim import trim
from .resources import config
from .runner import run_graph

BAR = 24  # characters


def add_bag_commands(commands) -> None:
    """Add `bag info`, `check`, `repair`, `play`, `trim` and `view` to the subparsers of `himoe`."""
    bag = commands.add_parser("bag", help="recorded episodes").add_subparsers(required=True, metavar="WHAT")
    info = add_command(bag, "info", _info, "what bags hold: topics, rates, duration, and what is known of the episode")
    judged = add_command(bag, "check", _check, "gaps, rates, stamps, frozen cameras, jumps; exits with 1 on a failure")
    for parser in (info, judged):
        parser.add_argument("folder", type=Path, nargs="+", help="bag, or folder of a session")
    judged.add_argument("--json", type=Path, metavar="FILE", help="write the findings to this file too")
    mend = add_command(bag, "repair", _repair, "save what can be read of a bag whose recorder was killed")
    mend.add_argument("folder", type=Path, help="the broken bag; it stays as it is")
    mend.add_argument("out", type=Path, nargs="?", help="new bag; FOLDER_repaired without it")
    play = add_command(bag, "play", _play, "publish a bag's messages again, at the pace at which they came")
    play.add_argument("folder", type=Path, help="bag")
    for a in PLAY_ARGUMENTS:
        play.add_argument(f"--{a.name.replace('_', '-')}", default=a.default, help=a.help)
    cut = add_command(bag, "trim", _trim, "write a part of a bag into a new one")
    cut.add_argument("folder", type=Path, help="bag; it stays as it is")
    cut.add_argument("out", type=Path, help="new bag")
    cut.add_argument("--from", dest="begin", type=float, default=0.0, help="s from its start")
    cut.add_argument("--to", dest="end", type=float, default=math.inf, help="s from its start; inf: its end")
    shown = add_command(bag, "view", _view, "a page with rates, gaps, joints and pictures of every episode, and videos")
    shown.add_argument("folder", type=Path, nargs="+", help="bag, or folder of a session")
    shown.add_argument("--out", type=Path, default=Path("himoe_view"), help="folder to write")


def add_export_command(commands) -> None:
    """Add `export` to the subparsers of `himoe`."""
    text = "make a LeRobot dataset (v3.0) of bags; one that was interrupted goes on"
    parser = add_command(commands, "export", _export, text)
    parser.add_argument("folder", type=Path, nargs="+", help="bag, or folder of a session")
    parser.add_argument("out", type=Path, help="dataset to write; must not exist")
    parser.add_argument("--robot", default="xarm7", help="embodiment")
    parser.add_argument("--rate-hz", type=int, default=10, help="frames a second")
    parser.add_argument("--held-out", type=float, default=0.0, help="share of episodes not to train on")
    parser.add_argument("--chunk-steps", type=int, default=10, help="of the policy, for its statistics")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")


def _bags(folders: list[Path]) -> list[Path]:
    return [bag for folder in folders for bag in bags_in(folder)]


def _info(options: argparse.Namespace) -> int:
    for info in _readable(options.folder):
        print(describe(info))
    return 0


def _terms(info: BagInfo) -> tuple[Contract, Embodiment]:
    """What a bag should hold, and of which robot it says it is."""
    embodiment = load_embodiment(info.about.get("embodiment", "xarm7"), config("embodiments"))
    return load_contract(config("recording.yaml"), embodiment), embodiment


def _play(options: argparse.Namespace) -> int:
    read_info(options.folder)
    specs = player(str(options.folder), {a.name: getattr(options, a.name) for a in PLAY_ARGUMENTS})
    return run_graph(specs, foreground=specs[0].name)


def _trim(options: argparse.Namespace) -> int:
    print(f"{options.out}: {trim(read_info(options.folder), options.out, options.begin, options.end)} messages")
    return 0


def _view(options: argparse.Namespace) -> int:
    try:
        from .recording.view import view  # noqa: PLC0415 - needs PyAV
    except ImportError as error:
        raise ConfigError(f"himoe bag view needs more packages ({error}): pip install 'himoe_ros[train]'") from error

    infos = _readable(options.folder)
    print(f"written: {view(infos, *_terms(infos[0]), options.out)}")
    return 0


def _readable(folders: list[Path]) -> list[BagInfo]:
    """Bags that tell about themselves; of the others it is said why they do not."""
    infos, bad = [], []
    for bag in _bags(folders):
        try:
            infos.append(read_info(bag))
        except RecordingError as error:
            bad.append(str(error))
            print(f"left out: {error}", file=sys.stderr)
    if not infos:
        raise RecordingError("; ".join(bad))
    return infos


def _check(options: argparse.Namespace) -> int:
    found, verdicts = {}, []
    for bag in _bags(options.folder):
        try:
            info = read_info(bag)
            remarks = check(info, *_terms(info))
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
        from .recording.export import Progress, Terms, export  # noqa: PLC0415 - needs pyarrow and PyAV
    except ImportError as error:
        raise ConfigError(f"himoe export needs more packages ({error}): pip install 'himoe_ros[train]'") from error

    if options.rate_hz < 1 or options.workers < 1 or options.chunk_steps < 1 or not 0 <= options.held_out < 1:
        raise ConfigError("expected --rate-hz, --workers and --chunk-steps of at least 1, and 0 <= --held-out < 1")
    embodiment = load_embodiment(options.robot, config("embodiments"))
    begin = time.monotonic()

    def tell(p: Progress) -> None:
        spent = time.monotonic() - begin
        bar = "█" * round(BAR * p.done / p.total)
        left = spent / p.done * (p.total - p.done)
        text = f"{bar:<{BAR}} {p.done}/{p.total}  {p.bag.name}: {p.frames} frames, {left:.0f} s left"
        print(f"\r\x1b[K{text}" if sys.stdout.isatty() else text, end="" if sys.stdout.isatty() else "\n", flush=True)

    limits = load_safety(config("safety.yaml")).sensors
    terms = Terms(options.rate_hz, options.held_out, options.chunk_steps, options.workers)
    frames = export(_bags(options.folder), options.out, embodiment, limits, terms, tell)
    print(f"\n{options.out}: {frames} frames at {options.rate_hz} Hz in {time.monotonic() - begin:.1f} s")
    return 0


def _repair(options: argparse.Namespace) -> int:
    out = options.out or options.folder.with_name(f"{options.folder.name}_repaired")
    done = repair(options.folder, out)
    print(f"{out}: {done.messages} messages saved" + (f"; reading ended with {done.reason}" if done.reason else ""))
    return 0
