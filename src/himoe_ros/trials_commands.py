"""`himoe trials ...`: sessions of a protocol, and what they came to."""

from __future__ import annotations

import argparse
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from .bringup import graph
from .core.errors import ConfigError
from .options import ARGUMENTS, TRIAL_ARGUMENTS, add_command
from .resources import config
from .runner import run_graph
from .trials.gather import gather, judge_anew
from .trials.protocol import Protocol, load_protocol, protocols
from .trials.report import write_report
from .trials.schedule import plan
from .trials.session import LOG, read_session
from .trials.summary import summary

OWN = ("policy", "protocol", "salt")


def add_trials_commands(commands) -> None:
    """Add `trials run`, `resume`, `report` and `list` to the subparsers of `himoe`."""
    trials = commands.add_parser("trials", help="a protocol's trials, their verdicts and reports")
    of = trials.add_subparsers(required=True, metavar="WHAT")
    text = "run a session: simulated, or on a robot with --hardware real"
    begin = add_command(of, "run", _run, text)
    begin.add_argument("protocol", help="such as xarm7/fruit_to_plate; himoe trials list tells all")
    begin.add_argument("--policy", action="append", required=True, help="folder, name, preset or expert; give several")
    for a in (*ARGUMENTS, *TRIAL_ARGUMENTS):
        if a.name not in OWN:
            begin.add_argument(f"--{a.name.replace('_', '-')}", default=a.default, metavar="VALUE", help=a.help)
    _add_json(begin)
    resume = add_command(of, "resume", _resume, "go on with a session that was interrupted")
    resume.add_argument("session", type=Path, help="its folder")
    _add_json(resume)
    report = add_command(of, "report", _report, "HTML, Markdown and CSV of one or more sessions")
    report.add_argument("session", type=Path, nargs="+", help="folders")
    report.add_argument("--out", type=Path, help="folder of the report (default: SESSION/report)")
    report.add_argument("--published", action="store_true", help="show the paper's rows beside, from real robots")
    report.add_argument("--sequential", action="store_true", help="tests that hold however often one looked")
    report.add_argument("--from-bags", action="store_true", help="judge anew from the trials' bags alone")
    add_command(of, "list", _list, "the protocols there are")


def run_session(values: Mapping[str, object], to_json: Path | None) -> int:
    """Run a session, or what is left of it, and wait for its end.

    Args:
        values: of ARGUMENTS and TRIAL_ARGUMENTS.
        to_json: file for the results.

    Raises:
        ConfigError: something that cannot be run, or a file that cannot be written.
        SessionError: the folder holds another session.
    """
    protocol = load_protocol(str(values["protocol"]), config("trials"))
    out = Path(str(values["out"]))
    if to_json and not to_json.parent.is_dir():
        raise ConfigError(f"--json {to_json}: its folder does not exist")
    if out.exists() and not out.is_dir():
        raise ConfigError(f"expected a folder for the session, {out} is a file")
    before = read_session(out) if (out / LOG).is_file() else None
    salt = before[0].salt if before else secrets.randbits(31)
    specs = graph(protocol.embodiment, {**values, "salt": salt}, trials=True)
    if before and finished(out, protocol):
        print(f"{out} is finished, nothing is left to run\n{summary(protocol, before[0], before[1])}")
        code = 0
    else:
        code = run_graph(specs, logs=out / "logs", foreground="trials")
    if to_json and code == 0:
        header, results, voids = read_session(out)
        told = {"session": asdict(header), "voids": voids, "trials": [asdict(r) for r in results]}
        to_json.write_text(json.dumps(told, indent=1))
    return code


def finished(out: Path, protocol: Protocol) -> bool:
    """Whether a folder holds a session of which nothing is left to run."""
    if not (out / LOG).is_file():
        return False
    header, results, _ = read_session(out)
    return len(results) == len(plan(protocol, len(header.policies), header.seed, header.trials))


def _run(options: argparse.Namespace) -> int:
    values = {a.name: getattr(options, a.name) for a in (*ARGUMENTS, *TRIAL_ARGUMENTS) if a.name not in OWN}
    if any("," in policy for policy in options.policy) or len(set(options.policy)) < len(options.policy):
        raise ConfigError(f"expected different policies without commas in their names, got {options.policy}")
    if values["out"] == next(a.default for a in TRIAL_ARGUMENTS if a.name == "out"):
        values["out"] = f"{values['out']}/{options.protocol.replace('/', '_')}"
    return run_session({**values, "protocol": options.protocol, "policy": ",".join(options.policy)}, options.json)


def _resume(options: argparse.Namespace) -> int:
    header, _, _ = read_session(options.session)
    return run_session(
        {**header.options, "out": str(options.session), "policy": ",".join(header.policies)}, options.json
    )


def _report(options: argparse.Namespace) -> int:
    out, protocols_folder = options.out or options.session[0] / "report", config("trials")
    differences = []
    if options.from_bags:
        parts, differences = judge_anew(options.session, protocols_folder, config("embodiments"))
    else:
        parts = gather(options.session, protocols_folder)
    index = write_report(parts, out, protocols_folder, options.published, options.sequential)
    print((out / "report.md").read_text())
    for difference in differences:
        print(f"judged differently: {difference}")
    print(f"written: {index}, and report.md and trials.csv beside it")
    return 0


def _list(_: argparse.Namespace) -> int:
    folder = config("trials")
    for name in protocols(folder):
        protocol = load_protocol(name, folder)
        shape = f"{len(protocol.settings)} x {protocol.trials_per_setting}"
        print(f"{name:<30} {protocol.title:<32} {shape:>6}   {', '.join(protocol.stages)}")
    return 0


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to this file too")
