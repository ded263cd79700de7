"""`himoe bench execution --simulated`: the same in simulated time, whatever else the machine does."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ..core.fingerprint import fingerprint
from ..recording.bag import write_whole
from ..resources import version
from ..rollout.late_trials import Late, LateOutcome, late_trials, require
from .execution import ExecutionRow, execution_row


def simulated_row(wanted: Late, each: int, seed: int, workers: int, folder: Path) -> ExecutionRow:
    """Of `each` trials of every setting, which are kept in a file of the folder and not run again.

    Raises:
        ConfigError: such trials cannot be run.
    """
    protocol, embodiment, _, safety = require(wanted)
    way = wanted.execution.value
    asked = {**asdict(wanted), "execution": way, "each": each, "seed": seed, "version": version()}
    asked["configuration"] = fingerprint([protocol.content, embodiment, safety])
    file = folder / f"{way}_{round(1e3 * wanted.latency)}ms_{fingerprint(asked)[:8]}.json"
    if not file.exists():
        trials = [asdict(outcome) for outcome in late_trials(wanted, each, seed, workers)]
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(file, json.dumps({"asked": asked, "trials": trials}, indent=1))
    outcomes = [LateOutcome(**told) for told in json.loads(file.read_text())["trials"]]
    refused, jerk = sum(o.refused for o in outcomes), max(o.jerk for o in outcomes)
    return execution_row(way, wanted.latency, outcomes, 1e3 * wanted.latency, refused, jerk)
