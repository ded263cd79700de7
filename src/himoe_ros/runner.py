"""Runs the nodes of a bringup as processes, where ROS 2 launch is not installed.

One ends, all end: first SIGTERM and time to finish, then SIGKILL, and nothing is left behind. A node that
has to bring a robot to rest goes before those it needs for that.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from .bringup import NodeSpec, environment
from .core.errors import HimoeError
from .leaving import YOUNG_S, end_with_parent, remove_abandoned

GRACE_S = 3.0
LOG_LINES = 15


@dataclass(frozen=True)
class Process:
    """A started node; `log` is None where it writes to the terminal."""

    spec: NodeSpec
    popen: subprocess.Popen
    log: Path | None


def run_graph(
    specs: Sequence[NodeSpec],
    namespace: str = "",
    log_level: str = "warn",
    params_file: str = "",
    logs: Path | None = None,
    foreground: str = "",
) -> int:
    """Start all nodes and wait until one of them ends, or a signal comes.

    Args:
        specs: from bringup.graph.
        namespace: of every node and relative topic.
        log_level: debug, info, warn or error.
        params_file: ROS parameter file that overrides the parameters of the specs.
        logs: folder for the nodes' output; None leaves it in the terminal.
        foreground: name of the node whose output stays in the terminal and whose end is the end.

    Returns:
        The exit code: that of the node that ended first, or 130 after a signal.
    """
    caught: list[int] = []
    before = {n: signal.signal(n, lambda number, _: caught.append(number)) for n in (signal.SIGINT, signal.SIGTERM)}
    running: list[Process] = []
    with tempfile.TemporaryDirectory(prefix="himoe_") as folder:
        try:
            for spec in specs:
                log = None if logs is None or spec.name == foreground else logs / f"{spec.name}.log"
                command = _command(spec, namespace, log_level, params_file, Path(folder))
                running.append(_start(spec, command, log))
            ended = _wait(running, caught)
        finally:
            stop(running)
            for number, handler in before.items():
                signal.signal(number, handler)
    if ended is None:
        return 128 + signal.SIGINT
    code = ended.popen.returncode
    if ended.spec.name != foreground or code < 0:
        print(f"error: node '{ended.spec.name}' ended with code {code}{_tail(ended.log)}", file=sys.stderr)
        return code if code > 0 else 1
    return code


def stop(running: Sequence[Process]) -> None:
    """End processes: SIGTERM, a grace period for all of them together, then SIGKILL."""
    first = [p for p in running if p.spec.leaves_within_s]
    _end(first, max((p.spec.leaves_within_s for p in first), default=0.0))
    _end([p for p in running if p not in first], GRACE_S)
    if any(p.popen.returncode < 0 for p in running):  # a signal ended it before it could clean up
        time.sleep(YOUNG_S)
        remove_abandoned()


def _end(processes: Sequence[Process], grace: float) -> None:
    alive = [p for p in processes if p.popen.poll() is None]
    for process in alive:
        process.popen.terminate()
    deadline = time.monotonic() + grace
    for process in alive:
        try:
            process.popen.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.popen.kill()
            process.popen.wait()


def _wait(running: Sequence[Process], caught: Sequence[int]) -> Process | None:
    while not caught:
        for process in running:
            if process.popen.poll() is not None:
                return process
        time.sleep(0.05)
    return None


def _command(spec: NodeSpec, namespace: str, log_level: str, params_file: str, folder: Path) -> list[str]:
    # Plain JSON is YAML too, and it keeps a float a float.
    own = folder / f"{spec.name}.yaml"
    own.write_text(json.dumps({"/**": {"ros__parameters": dict(spec.parameters)}}))
    arguments = ["--ros-args", "-r", f"__node:={spec.name}", "--log-level", log_level, "--params-file", str(own)]
    for old, new in spec.remappings.items():
        arguments += ["-r", f"{old}:={new}"]
    if namespace:
        arguments += ["-r", f"__ns:=/{namespace.strip('/')}"]
    if params_file:
        _check_params(Path(params_file))
        arguments += ["--params-file", params_file]
    return [sys.executable, "-m", f"himoe_ros.nodes.{spec.executable}", *arguments]


def _check_params(path: Path) -> None:
    try:
        yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise HimoeError(f"params_file {path} must be a readable YAML file of ROS parameters: {error}") from error


def _start(spec: NodeSpec, command: list[str], log: Path | None) -> Process:
    variables = {**os.environ, **environment(), **spec.environment}
    variables.setdefault("AMENT_PREFIX_PATH", sys.prefix)
    out = None
    if log is not None:
        log.parent.mkdir(parents=True, exist_ok=True)
        out = log.open("w")
    try:
        popen = subprocess.Popen(
            command,
            env=variables,
            stdin=None if spec.keyboard else subprocess.DEVNULL,
            stdout=out,
            stderr=None if out is None else subprocess.STDOUT,
            # Ctrl-C reaches the runner alone, which ends the nodes in order ...
            start_new_session=True,
            # ... and if the runner itself is killed, the kernel ends them.
            preexec_fn=end_with_parent,  # noqa: PLW1509 - the runner has one thread
        )
    finally:
        if out is not None:
            out.close()
    return Process(spec, popen, log)


def _tail(log: Path | None) -> str:
    if log is None or not log.is_file():
        return ""
    return "; its last words:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-LOG_LINES:])
