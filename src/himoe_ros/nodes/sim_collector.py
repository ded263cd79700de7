"""Demonstrations of the scripted expert, faster than real time: `himoe sim record`.

No node, but the same code as the nodes run: the control loop between the expert's plans and the arm, messages through
conversions, bags through the recorder's writer. Time is the simulation's own, so a seed gives the same messages again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from multiprocessing import get_context
from pathlib import Path

from ..core.embodiment import load_embodiment
from ..core.errors import HimoeError, SimulationError
from ..leaving import end_with_parent
from ..recording.bag import write_whole
from ..recording.contract import load_contract
from ..recording.session import Session
from ..resources import config
from ..trials.protocol import load_protocol
from .demonstrator import PARTIAL, Collection, Demonstrator
from .shrinking import ImageShrinker

PLAN = "collection.json"  # what a session is of

_demonstrator: Demonstrator | None = None  # of a worker's process


def _prepare(wanted: Collection) -> None:
    end_with_parent()
    global _demonstrator  # noqa: PLW0603 - how a process pool keeps what is costly to make
    _demonstrator = Demonstrator(wanted)


def _record(index: int) -> int:
    return _demonstrator.record(index)


def collect(wanted: Collection) -> int:
    """Record what is missing of a session, and tell how it goes.

    Returns:
        How many episodes are there now.
    """
    robot = load_protocol(wanted.protocol, config("trials")).embodiment
    contract = load_contract(config("recording.yaml"), load_embodiment(robot, config("embodiments")))
    ImageShrinker(wanted.images, contract)  # before any process starts: it says what is wrong
    session = Session(Path(wanted.out))
    try:
        folder = Path(wanted.out)
        _require_same(wanted, folder)
        (folder / PARTIAL).mkdir(exist_ok=True)
        missing = [i for i in range(wanted.episodes) if not (folder / f"episode_{i:04d}").exists()]
        begin, failed = time.monotonic(), 0
        with ProcessPoolExecutor(wanted.workers, get_context("spawn"), _prepare, (wanted,)) as pool:
            futures = [pool.submit(_record, i) for i in missing]
            for done, future in enumerate(as_completed(futures), start=1):
                try:
                    failed += future.result()
                except BaseException:
                    pool.shutdown(cancel_futures=True)  # else it is told only after all the others
                    raise
                spent = time.monotonic() - begin
                left = spent / done * (len(missing) - done)
                print(
                    f"\r{wanted.episodes - len(missing) + done}/{wanted.episodes} episodes, {failed} attempts failed, "
                    f"{60 * done / spent:.0f} a minute, {left:.0f} s left ",
                    end="",
                    flush=True,
                )
        print()
        shutil.rmtree(folder / PARTIAL)
        return wanted.episodes
    finally:
        session.close()


def _require_same(wanted: Collection, folder: Path) -> None:
    """A session is of one collection: other episodes, or other pictures, would be mixed without a word."""
    varying = ("out", "episodes", "workers")
    plan = json.dumps({k: v for k, v in asdict(wanted).items() if k not in varying})
    path = folder / PLAN
    if path.is_file():
        if path.read_text() != plan:
            raise SimulationError(f"{folder} is a session of {path.read_text()}, not of {plan}; choose another --out")
    elif any(folder.glob("episode_*")):
        raise SimulationError(f"{folder} holds episodes that himoe sim record has not written; choose another --out")
    else:
        write_whole(path, plan)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("options", help="JSON of a Collection; himoe sim record writes it")
    wanted = Collection(**json.loads(parser.parse_args().options))
    try:
        collect(wanted)
    except HimoeError as error:
        raise SystemExit(f"error: {error}") from error


if __name__ == "__main__":
    main()
