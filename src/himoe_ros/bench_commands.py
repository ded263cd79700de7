"""`himoe bench ...`: measure this machine."""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from .bringup import bench_graphs, latency_graph
from .core.errors import ConfigError
from .core.execution import Execution
from .options import ARGUMENTS, TRIAL_ARGUMENTS, add_command, positive
from .resources import EXPERT, config
from .runner import run_graph
from .trials_commands import run_session

if TYPE_CHECKING:
    from .bench.execution import ExecutionRow
    from .bench.policy import Row

LATENCIES_S = (0.0, 0.05, 0.15, 0.3, 0.5)
CHUNK_STEPS = 50  # of the expert's plans, 30 a second


def add_bench_commands(commands) -> None:
    """Add `bench graph`, `latency`, `policy`, `rounding`, `training` and `execution` to the subparsers of `himoe`."""
    bench = commands.add_parser("bench", help="measure this machine").add_subparsers(required=True, metavar="WHAT")
    graph = _command(bench, "graph", _bench_graph, "rates, delivery and latency of the running graph")
    graph.add_argument("--seconds", type=float, default=60.0, help="length of each measurement, s")
    latency = _command(bench, "latency", _bench_latency, "where the time goes from a camera's image to a command")
    latency.add_argument("--policy", default="", help="as of himoe up")
    latency.add_argument("--execution", default=Execution.ASYNCHRONOUS.value, help="as of himoe up")
    text = "noise of 640x480 px, 30 a second, in place of rendered views: a camera's driver needs little of a CPU"
    latency.add_argument("--not-rendered", action="store_true", help=text)
    latency.add_argument("--seconds", type=float, default=60.0, help="length of the measurement, s")
    latency.add_argument("--picture", type=Path, metavar="FILE", help="draw it as a waterfall into this SVG file")
    policy = _command(bench, "policy", _bench_policy, "the model against a plain loop shaped like the release")
    policy.add_argument("--runs", type=int, default=10, help="timed runs of each part; medians are told")
    policy.add_argument("--threads", type=int, default=2, help="CPU threads")
    rounding = _command(bench, "rounding", _bench_rounding, "how far plans move when experts are kept in eight bits")
    rounding.add_argument("--policy", default="xarm7_small", help="shipped policy, or policy folder")
    rounding.add_argument("--protocol", default="xarm7/fruit_to_plate", help="in whose trials, in simulated time")
    rounding.add_argument("--trials", type=positive, default=4, help="of each setting")
    training = _command(bench, "training", _bench_training, "a training step, against the same of that loop")
    training.add_argument("--runs", type=int, default=5, help="timed steps of each; medians are told")
    training.add_argument("--threads", type=int, default=2, help="CPU threads")
    training.add_argument("--batch", type=int, default=16, help="observations of a step")
    execution = _command(bench, "execution", _bench_execution, "trials with late plans, in each way of execution")
    execution.add_argument(
        "--out", type=Path, default=Path("himoe_execution"), help="folder of the sessions, or trials; gone on"
    )
    execution.add_argument("--policy", default=EXPERT, help="who plans; as of himoe up")
    execution.add_argument("--protocol", default="xarm7/fruit_to_plate", help="of the xArm7")
    execution.add_argument("--trials", type=positive, default=2, help="of each setting, latency and way")
    execution.add_argument(
        "--latency-s", type=float, nargs="+", default=list(LATENCIES_S), help="s, added to each plan"
    )
    execution.add_argument("--execution", nargs="+", default=[e.value for e in Execution], help="ways")
    execution.add_argument("--replan-period-s", type=float, default=0.5, help="s between the starts of two plans")
    execution.add_argument("--seed", type=int, default=7, help="of the scenes")
    text = "the expert in simulated time, without the graph: many trials, and the same ones on every machine"
    execution.add_argument("--simulated", action="store_true", help=text)
    execution.add_argument("--workers", type=positive, default=2, help="processes, in simulated time")


def _command(commands, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser = add_command(commands, name, run, text)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file too")
    return parser


def _bench_policy(options: argparse.Namespace) -> int:
    """Torch is slow to import, so only here."""
    from .bench.policy import bench_policy  # noqa: PLC0415

    _tell_rows(options, bench_policy(options.runs, options.threads, config("models")))
    return 0


def _bench_training(options: argparse.Namespace) -> int:
    """Torch is slow to import, so only here."""
    from .bench.training import bench_training  # noqa: PLC0415

    recipe = config("training") / "xarm7_small.yaml"
    _tell_rows(options, bench_training(options.runs, options.threads, options.batch, config("models"), recipe))
    return 0


def _bench_rounding(options: argparse.Namespace) -> int:
    """Torch and MuJoCo are slow to import, so only here."""
    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it when imported
    from .bench.rounding import bench_rounding  # noqa: PLC0415

    rows = bench_rounding(options.policy, options.protocol, options.trials)
    print(f"{'experts':<12} {'plans':>6} {'plan, ms':>9}   difference: median, largest")
    for r in rows:
        apart = ", ".join(f"{r.median[unit]:.2g} {r.largest[unit]:.2g} {unit}" for unit in r.median)
        print(f"{r.experts:<12} {r.plans:>6} {1e3 * r.seconds:>9.1f}   {apart}")
    _write(options, [asdict(row) for row in rows])
    return 0


def _tell_rows(options: argparse.Namespace, figures: Mapping[str, Sequence[Row]]) -> None:
    """Print rows of medians, and write them where that is wanted."""
    print(f"medians of {options.runs} runs, ms, {options.threads} threads; difference: largest between both outputs")
    for title, rows in figures.items():
        print(f"{title}\n  {'':<23}{'ours':>10}{'release':>10}{'ratio':>8}{'difference':>12}")
        for r in rows:
            ratio = r.theirs / r.ours
            print(f"  {r.part:<23}{1e3 * r.ours:>10.1f}{1e3 * r.theirs:>10.1f}{ratio:>8.2f}{r.difference:>12.1e}")
    _write(options, {title: [asdict(row) for row in rows] for title, rows in figures.items()})


def _bench_graph(options: argparse.Namespace) -> int:
    """Two robots' graphs as they are, and three large cameras without rendering."""
    figures = {}
    with tempfile.TemporaryDirectory(prefix="himoe_bench_") as folder:
        for title, specs in bench_graphs(options.seconds, Path(folder) / "figures.json").items():
            print(f"{title}, {options.seconds:.0f} s ...", flush=True)
            code = run_graph(specs, logs=Path(folder), foreground="graph_probe")
            if code:
                return code
            figures[title] = json.loads((Path(folder) / "figures.json").read_text())
    _write(options, figures)
    return 0


def _bench_latency(options: argparse.Namespace) -> int:
    from .bench.latency import waterfall  # noqa: PLC0415

    asked = {"policy": options.policy, "execution": options.execution}
    with tempfile.TemporaryDirectory(prefix="himoe_bench_") as folder:
        out = Path(folder) / "figures.json"
        specs = latency_graph(options.seconds, out, asked, not options.not_rendered)
        if code := run_graph(specs, logs=Path(folder), foreground="graph_probe"):
            return code
        figures = json.loads(out.read_text())
    if options.picture:
        options.picture.write_text(waterfall(figures["parts, ms: median, p99"], "from an image to the first command"))
    _write(options, figures)
    return 0


def _bench_execution(options: argparse.Namespace) -> int:
    """A session of trials each, or trials in simulated time; what is finished is not run again."""
    ways = [Execution.named(name) for name in options.execution]
    if not all(0 <= latency < math.inf for latency in options.latency_s):
        raise ConfigError(f"expected latencies >= 0 s, got {options.latency_s}")
    if not 0 < options.replan_period_s < math.inf:
        raise ConfigError(f"--replan-period-s: expected > 0 s, got {options.replan_period_s}")
    if options.simulated and options.policy != EXPERT:
        raise ConfigError("--simulated is for the expert's plans; of a policy's `himoe sim trials --latency-s` tells")
    heads = ("late by, ms", "success", "task, s", "holds", "held, s", "plan, ms", "refused", "jerk")
    print("{:<13} {:>11} {:>9} {:>8} {:>6} {:>8} {:>9} {:>8} {:>6}".format("execution", *heads))
    rows = []
    for latency, way in itertools.product(options.latency_s, ways):
        row = _simulated(options, latency, way) if options.simulated else _in_session(options, latency, way)
        if isinstance(row, int):
            return row
        rows.append(row)
        print(_line(row), flush=True)
    _write(options, [asdict(row) for row in rows])
    return 0


def _simulated(options: argparse.Namespace, latency: float, way: Execution) -> ExecutionRow:
    """In simulated time."""
    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it when imported
    from .bench.late_plans import simulated_row  # noqa: PLC0415
    from .rollout.late_trials import Late  # noqa: PLC0415

    wanted = Late(options.protocol, way, latency, CHUNK_STEPS, options.replan_period_s)
    return simulated_row(wanted, options.trials, options.seed, options.workers, options.out)


def _in_session(options: argparse.Namespace, latency: float, way: Execution) -> ExecutionRow | int:
    """In a session through the whole graph; its exit code where it did not end well."""
    from .bench.execution import session_row  # noqa: PLC0415 - after hours, an error in the options is no help

    out = options.out / f"{way.value}_{round(1e3 * latency)}ms"
    usual = {a.name: a.default for a in (*ARGUMENTS, *TRIAL_ARGUMENTS)}
    asked = {k: getattr(options, k) for k in ("policy", "protocol", "trials", "replan_period_s", "seed")}
    asked["expert_steps"] = CHUNK_STEPS if options.policy == EXPERT else 0
    told = {"execution": way.value, "added_latency_s": latency, "out": str(out)}
    return run_session({**usual, **asked, **told}, None) or session_row(out)


def _line(r: ExecutionRow) -> str:
    def told(value: float | None, digits: int) -> str:
        return "-" if value is None else f"{value:.{digits}f}"

    return (
        f"{r.execution:<13} {1e3 * r.latency:>11.0f} {f'{r.successes}/{r.trials}':>9} {told(r.seconds, 1):>8} "
        f"{r.holds:>6} {r.held_s:>8.2f} {told(r.plan_ms, 0):>9} {told(r.refused, 0):>8} {told(r.jerk, 2):>6}"
    )


def _write(options: argparse.Namespace, figures: object) -> None:
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1, allow_nan=False))
