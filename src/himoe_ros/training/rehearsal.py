"""Trials in simulation on the way: what `himoe trials run` says of the policy as it is by then."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import TrainingError
from ..trials.session import read_session


def rehearse(policy: Path, protocols: Sequence[str], trials: int, out: Path) -> dict[str, float]:
    """Run protocols with a policy, through the real graph.

    Args:
        policy: its folder.
        protocols: such as xarm7/fruit_to_plate.
        trials: of each setting.
        out: folder of the sessions.

    Returns:
        For each protocol "trials_NAME": share that succeeded, and "wrong_NAME": share with a wrong thing or place.

    Raises:
        TrainingError: a session could not be run; its last words are told.
    """
    told = {}
    for protocol in protocols:
        name = protocol.rpartition("/")[2]
        command = [sys.executable, "-m", "himoe_ros.cli", "trials", "run", protocol, "--policy", str(policy)]
        command += ["--trials", str(trials), "--out", str(out / name), "--bags", "false"]
        done = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise TrainingError(f"the trials of {protocol} could not be run: {done.stdout[-500:]}")
        _, results, _ = read_session(out / name)
        told[f"trials_{name}"] = sum(r.success for r in results) / len(results)
        told[f"wrong_{name}"] = sum(bool(r.wrong_object or r.wrong_target) for r in results) / len(results)
    return told
