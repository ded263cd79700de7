"""`himoe sim ...`: demonstrations and trials in simulated time."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from pathlib import Path

from .bringup import environment
from .core.errors import ConfigError
from .core.execution import Execution
from .options import add_command, positive
from .resources import config, policy_place, require_trained_space
from .trials.protocol import load_protocol
from .trials.summary import rate

CONTROL_HZ = 100  # pictures are taken at ticks of the control loop


def add_sim_commands(commands) -> None:
    """Add `sim record` and `sim trials` to the subparsers of `himoe`."""
    sim = commands.add_parser("sim", help="demonstrations and trials in simulated time").add_subparsers(
        required=True, metavar="WHAT"
    )
    text = "bags of the scripted expert, faster than real time; a session that is begun again goes on"
    record = add_command(sim, "record", _record, text)
    text = "protocol, such as aloha/cup_handover, whose settings are shown in turn; of the xarm7 without a robot's name"
    record.add_argument("task", help=text)
    record.add_argument("--out", default="sim_episodes", help="folder of the session")
    record.add_argument("--episodes", type=positive, default=100, help="how many shall be there")
    record.add_argument("--workers", type=positive, default=2, help="processes")
    record.add_argument("--seed", type=int, default=0, help="the same seed gives the same messages")
    record.add_argument("--width", type=positive, default=224, help="px, of an image")
    record.add_argument("--height", type=positive, default=224, help="px, of an image")
    record.add_argument("--camera-rate-hz", type=float, default=10.0, help="images a second and camera")
    record.add_argument("--images", default="", help="raw, jpeg, png or h264; without it as config/recording.yaml says")
    text = "share of episodes before which the arm was on its way to another thing, so that a policy must listen"
    record.add_argument("--switch", type=_share, default=0.0, help=text)
    text = "chance, at every tenth of a second, that something holds the arm away from where it is sent"
    record.add_argument("--push", type=_share, default=0.0, help=text)

    text = "trials of a policy in simulated time, quick and without the graph; `himoe trials run` has both"
    tried = add_command(sim, "trials", _trials, text)
    tried.add_argument("task", help="protocol, as for record")
    tried.add_argument("--policy", required=True, help="folder, or name of one in config/policies")
    tried.add_argument("--trials", type=positive, default=4, help="of each setting")
    tried.add_argument("--workers", type=positive, default=2, help="processes")
    tried.add_argument("--seed", type=int, default=0, help="of the first scene")
    tried.add_argument("--pixels", type=positive, default=224, help="of the cameras' square images")
    tried.add_argument("--spread-m", type=float, default=0.0, help="of things from their places; 0: the protocol's")
    tried.add_argument("--time-limit-s", type=float, default=0.0, help="of a trial; 0: the protocol's")
    tried.add_argument("--latency-s", type=float, default=0.0, help="s from an image to the plan made of it")
    tried.add_argument("--replan-period-s", type=float, default=0.5, help="between two plans")
    tried.add_argument("--execution", default=Execution.ASYNCHRONOUS.value, help="as of himoe up")
    tried.add_argument("--json", type=Path, metavar="FILE", help="write every trial to this file too")


def _protocol(task: str) -> str:
    """Its name; of the xArm7 it may lack the robot's."""
    return task if "/" in task else f"xarm7/{task}"


def _trials(options: argparse.Namespace) -> int:
    from .rollout.policy_trials import Wanted, tried  # noqa: PLC0415 - MuJoCo reads MUJOCO_GL when imported

    late, replan, execution = options.latency_s, options.replan_period_s, Execution.named(options.execution)
    if not (0.0 <= late < math.inf and 0.0 < replan < math.inf):
        raise ConfigError(f"expected --latency-s >= 0 and --replan-period-s > 0, got {late:g} and {replan:g}")
    place = policy_place(options.policy)
    space = require_trained_space(options.policy)
    told = options.spread_m, options.time_limit_s, options.pixels, late, replan, execution
    wanted = Wanted(_protocol(options.task), place.absolute(), space, *told)
    protocol, rows = wanted.load(), []
    for outcome in tried(wanted, options.trials, options.seed, options.workers):
        rows.append(outcome.row)
        total = options.trials * len(protocol.settings)
        stages = ", ".join(f"{s} {sum(r[s] for r in rows)}" for s in protocol.stages)
        print(f"\r{len(rows)}/{total} trials, {stages} ", end="", flush=True)
    print(f"\n{protocol.title}, in simulated time, Wilson 95 % intervals:")
    for stage in protocol.stages:
        print(f"  {stage} {rate(sum(r[stage] for r in rows), len(rows))}")
    print(f"  wrong object {sum(bool(r['wrong_object']) for r in rows)}, ", end="")
    print(f"wrong target {sum(bool(r['wrong_target']) for r in rows)}")
    if options.json:
        options.json.write_text(
            json.dumps({"options": {**vars(wanted), "policy": str(place)}, "trials": rows}, indent=1)
        )
    return 0


def _record(options: argparse.Namespace) -> int:
    if not 0 < options.camera_rate_hz <= CONTROL_HZ or CONTROL_HZ % options.camera_rate_hz:
        raise ConfigError(f"--camera-rate-hz must divide {CONTROL_HZ}, got {options.camera_rate_hz:g}")
    wanted = {key: value for key, value in vars(options).items() if key not in ("run", "task")}
    wanted["protocol"] = _protocol(options.task)
    load_protocol(wanted["protocol"], config("trials"))
    variables = {**os.environ, **environment(), "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    collector = [sys.executable, "-m", "himoe_ros.nodes.sim_collector", json.dumps(wanted)]
    os.execve(sys.executable, collector, variables)


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text}")
    return value
