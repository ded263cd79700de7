"""`himoe sim ...`: demonstrations in simulation."""

from __future__ import annotations

import argparse
import json
import os
import sys

from .bringup import environment
from .core.errors import ConfigError
from .resources import config
from .trials.protocol import load_protocol

CONTROL_HZ = 100  # pictures are taken at ticks of the control loop


def add_sim_commands(commands) -> None:
    """Add `sim record` to the subparsers of `himoe`."""
    sim = commands.add_parser("sim", help="demonstrations in simulation").add_subparsers(required=True, metavar="WHAT")
    text = "bags of the scripted expert, faster than real time; a session that is begun again goes on"
    record = sim.add_parser("record", help=text, description=text[0].upper() + text[1:] + ".")
    record.set_defaults(run=_record)
    text = "protocol, such as aloha/cup_handover, whose settings are shown in turn; of the xarm7 without a robot's name"
    record.add_argument("task", help=text)
    record.add_argument("--out", default="sim_episodes", help="folder of the session (default: sim_episodes)")
    record.add_argument("--episodes", type=_positive, default=100, help="how many shall be there (default: 100)")
    record.add_argument("--workers", type=_positive, default=2, help="processes (default: 2)")
    record.add_argument("--seed", type=int, default=0, help="the same seed gives the same messages (default: 0)")
    record.add_argument("--width", type=_positive, default=224, help="px, of an image (default: 224)")
    record.add_argument("--height", type=_positive, default=224, help="px, of an image (default: 224)")
    record.add_argument("--camera-rate-hz", type=float, default=10.0, help="images a second and camera (default: 10)")
    record.add_argument("--images", default="", help="raw, jpeg, png or h264 (default: config/recording.yaml)")
    text = "share of episodes before which the arm was on its way to another thing, so that a policy must listen"
    record.add_argument("--switch", type=_share, default=0.0, help=f"{text} (default: 0)")
    text = "chance, at every tenth of a second, that something holds the arm away from where it is sent"
    record.add_argument("--push", type=_share, default=0.0, help=f"{text} (default: 0)")


def _record(options: argparse.Namespace) -> int:
    if not 0 < options.camera_rate_hz <= CONTROL_HZ or CONTROL_HZ % options.camera_rate_hz:
        raise ConfigError(f"--camera-rate-hz must divide {CONTROL_HZ}, got {options.camera_rate_hz:g}")
    wanted = {key: value for key, value in vars(options).items() if key not in ("run", "task")}
    wanted["protocol"] = options.task if "/" in options.task else f"xarm7/{options.task}"
    load_protocol(wanted["protocol"], config("trials"))
    variables = {**os.environ, **environment(), "MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    collector = [sys.executable, "-m", "himoe_ros.nodes.sim_collector", json.dumps(wanted)]
    os.execve(sys.executable, collector, variables)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number > 0, got {text}")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0.0 <= value <= 1.0:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to 1, got {text}")
    return value
