"""`himoe check ROBOT`: a preflight that lists what it found and moves nothing."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

from .bringup import environment
from .control.aloha_preflight import judge_followers
from .control.finding import Finding, Level
from .control.preflight import judge_robot
from .core.embodiment import Embodiment, load_embodiment
from .core.errors import ConfigError, DriverError, HimoeError
from .core.safety import load_safety
from .options import add_command
from .resources import config

GRAPH_WITHIN_S = 30.0


def add_check_commands(commands) -> None:
    """Add `check` to the subparsers of `himoe`."""
    text = "what a robot and the ROS graph are like before arming; moves nothing, exits with 1 where it is unsafe"
    check = add_command(commands, "check", _check, text)
    check.add_argument("robot", help="embodiment")
    check.add_argument(
        "--robot-ip", required=True, help="an xArm's host or host:port; names of ALOHA's followers, left,right"
    )
    check.add_argument("--namespace", default="", help="of the ROS graph")
    check.add_argument("--without-ros", action="store_true", help="look at the robot alone")
    check.add_argument("--json", type=Path, metavar="FILE", help="write the findings to this file too")


def _check(options: argparse.Namespace) -> int:
    embodiment = load_embodiment(options.robot, config("embodiments"))
    safety = load_safety(config("safety.yaml"))
    joints = sum(len(a.joints) for a in embodiment.arms)
    findings = [
        Finding("embodiment", Level.OK, f"{embodiment.name}, {joints} joints, {len(embodiment.cameras)} cameras"),
        Finding(
            "control",
            Level.OK,
            f"{embodiment.control_rate_hz:g} Hz, chunks within {safety.chunk_timeout_s:g} s (safety.yaml)",
        ),
        *_check_robot(embodiment, options.robot_ip),
    ]
    if not options.without_ros:
        findings += _check_graph(options.robot, options.namespace)
    for finding in findings:
        print(finding)
    counts = {level: sum(f.level is level for f in findings) for level in Level}
    print(f"{counts[Level.UNSAFE]} unsafe, {counts[Level.WARNING]} warnings, {counts[Level.OK]} ok")
    if options.json:
        data = [{**asdict(f), "level": f.level.value} for f in findings]
        options.json.write_text(json.dumps(data, indent=1))
    return 1 if counts[Level.UNSAFE] else 0


def _check_robot(embodiment: Embodiment, address: str) -> list[Finding]:
    if embodiment.driver == "aloha":
        from .control.aloha import MODEL, follower_names  # noqa: PLC0415 - needs ROS
        from .control.aloha_survey import survey_followers  # noqa: PLC0415

        return judge_followers(survey_followers(follower_names(address, embodiment), MODEL), embodiment)
    if embodiment.driver != "xarm7":
        raise ConfigError(f"there is no preflight for driver '{embodiment.driver}'; there are: xarm7, aloha")
    from .control.xarm_survey import survey  # noqa: PLC0415 - needs the vendor's SDK

    try:
        facts = survey(address)
    except DriverError as error:
        return [Finding("connection", Level.UNSAFE, str(error), f"a controller at {address}")]
    return [Finding("connection", Level.OK, address), *judge_robot(facts, embodiment)]


def _check_graph(robot: str, namespace: str) -> list[Finding]:
    """In a process of its own: a machine without ROS can check its robot too."""
    command = [sys.executable, "-m", "himoe_ros.nodes.graph_survey", robot, "--namespace", namespace]
    variables = {**os.environ, **environment()}
    try:
        done = subprocess.run(
            command, env=variables, capture_output=True, text=True, timeout=GRAPH_WITHIN_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise HimoeError(f"looking at the ROS graph took over {GRAPH_WITHIN_S:g} s; try --without-ros") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no reason given"]
        return [Finding("ROS graph", Level.WARNING, f"cannot be looked at: {lines[-1]}", "ROS 2", "Or --without-ros")]
    found = json.loads(done.stdout.strip().splitlines()[-1])
    return [Finding(**{**f, "level": Level(f["level"])}) for f in found]
