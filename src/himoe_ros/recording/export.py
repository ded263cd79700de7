"""Bags -> a LeRobot dataset: whole or not at all, and an export that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

from ..core.embodiment import SLOTS, Embodiment
from ..core.errors import RecordingError
from ..core.synchronizer import SyncLimits
from ..leaving import end_with_parent
from .bag import write_whole
from .frames import read_frames, world_labels
from .lerobot import write_episode, write_meta
from .normalisation import write_normalisation
from .reader import BagInfo, read_info

T = TypeVar("T")

PARTIAL = ".partial"
PLAN = "plan.json"  # which bags a partial export is of


@dataclass(frozen=True)
class Progress:
    """One more episode is done: `done` of `total`."""

    bag: Path
    done: int
    total: int
    frames: int


@dataclass(frozen=True)
class Terms:
    """How bags become a dataset.

    Attributes:
        rate_hz: frames a second.
        held_out: share of episodes that are not for training.
        chunk_steps: of the policies to be trained; normalisation statistics hold for it.
        workers: processes.
    """

    rate_hz: int
    held_out: float = 0.0
    chunk_steps: int = 10
    workers: int = 1


@dataclass(frozen=True)
class _Job:
    """One episode to write."""

    number: int
    task: int
    info: BagInfo
    root: Path
    embodiment: Embodiment
    limits: SyncLimits
    rate_hz: int
    world: tuple[str, ...]  # labels of true places


def export(
    bags: Sequence[Path],
    out: Path,
    embodiment: Embodiment,
    limits: SyncLimits,
    terms: Terms,
    tell: Callable[[Progress], None],
) -> int:
    """Write the dataset `out`; until it is whole it lies beside, as `out.partial`.

    Args:
        bags: folders, one an episode; those saved as failures are left out, those held out come last in the dataset.
        out: must not exist.
        embodiment: of the robot that all of them were recorded on.
        limits: of the live policy's synchroniser.
        terms: rate, split and the like.
        tell: is told of every episode.

    Returns:
        Number of frames.

    Raises:
        RecordingError: a bag is not complete, of another robot or configuration, or has no task; `out` exists; or a
            partial export of other bags lies there.
    """
    if out.exists():
        raise RecordingError(f"{out} exists, and nothing is ever overwritten: choose another folder, or move it away")
    shown = [info for info in map(read_info, bags) if info.about.get("outcome") != "failure"]
    kept, held_out = split(shown, terms.held_out)
    infos = [*kept, *held_out]
    if not kept:
        raise RecordingError(
            f"nothing to train on: of {len(bags)} bags {len(bags) - len(shown)} were saved as failures, and "
            f"{len(held_out)} are held out"
        )
    _require_alike(infos, embodiment)
    root = out.with_name(out.name + PARTIAL)
    root.mkdir(parents=True, exist_ok=True)
    about = {"bags": [str(info.folder.resolve()) for info in infos], "robot": embodiment.name, **asdict(terms)}
    del about["workers"]  # which change nothing of what is written
    plan = json.dumps(about)
    if not (root / PLAN).is_file():
        write_whole(root / PLAN, plan)
    elif (root / PLAN).read_text() != plan:
        raise RecordingError(f"{root} is an export of other bags or another rate; delete it, or choose another folder")
    tasks = list(dict.fromkeys(map(_heard, infos)))
    world = tuple(sorted({label for info in infos for label in world_labels(info)}))
    jobs = [
        _Job(number, tasks.index(_heard(info)), info, root, embodiment, limits, terms.rate_hz, world)
        for number, info in enumerate(infos)
    ]
    for count, (job, frames) in enumerate(_written(jobs, terms.workers), start=1):
        tell(Progress(job.info.folder, count, len(jobs), frames))
    vectors = write_meta(root, embodiment.name, slot_names(embodiment), tasks, terms.rate_hz, len(held_out), world)
    write_normalisation(root / "meta", embodiment, vectors, len(kept), terms)
    root.rename(out)
    return sum(len(rows) for rows in vectors["action"])


def _heard(info: BagInfo) -> str:
    """What the policy hears: the instruction that was told, or else the task."""
    return info.about.get("instruction") or info.about["task"]


def split(bags: Sequence[T], share: float) -> tuple[list[T], list[T]]:
    """Bags to train on, and those held out, spread evenly over the session: the same ones every time."""
    out = {round((i + 0.5) / share - 0.5) for i in range(round(share * len(bags)))} if share else set()
    return [b for i, b in enumerate(bags) if i not in out], [b for i, b in enumerate(bags) if i in out]


def _written(jobs: Sequence[_Job], workers: int) -> Iterator[tuple[_Job, int]]:
    """Jobs as they are done, with their frames: first those that were done before."""
    waiting = []
    for job in jobs:
        done = job.root / "episodes" / f"{job.number:06d}.json"
        if done.is_file():
            yield job, int(json.loads(done.read_text())["length"])
        else:
            waiting.append(job)
    bad: list[str] = []
    for job, done in _tried(waiting, workers):
        if isinstance(done, str):
            bad.append(done)
        else:
            yield job, done
    if bad:
        told = "\n  ".join(sorted(bad))
        raise RecordingError(f"{len(bad)} of {len(jobs)} bags cannot be used; leave them out:\n  {told}")


def _tried(waiting: Sequence[_Job], workers: int) -> Iterator[tuple[_Job, int | str]]:
    if workers == 1 or len(waiting) < 2:
        yield from ((job, _write(job)) for job in waiting)
        return
    with ProcessPoolExecutor(workers, get_context("spawn"), end_with_parent) as pool:
        futures = {pool.submit(_write, job): job for job in waiting}
        try:
            yield from ((futures[future], future.result()) for future in as_completed(futures))
        finally:
            pool.shutdown(cancel_futures=True)


def _write(job: _Job) -> int | str:
    """Frames written, or why they cannot be."""
    try:
        frames = read_frames(job.info, job.embodiment, job.limits, job.rate_hz)
        return write_episode(job.root, job.number, job.task, frames, job.rate_hz, job.world)
    except RecordingError as error:
        return str(error)


def slot_names(embodiment: Embodiment) -> list[str]:
    """Names of the 24 slots, as the embodiment fills them; others are called by number."""
    names = [f"unused_{slot}" for slot in range(SLOTS)]
    for space in embodiment.action_spaces.values():
        for name, slot in zip(space.names, space.slots, strict=True):
            if names[slot].startswith("unused"):
                names[slot] = f"{space.name}.{name}"
    return names


def _require_alike(infos: Sequence[BagInfo], embodiment: Embodiment) -> None:
    for info in infos:
        about = info.about
        if about.get("complete") != "yes":
            raise RecordingError(
                f"{info.folder} is not complete ({about.get('reason', 'no reason told')}); leave it out"
            )
        if about.get("embodiment") != embodiment.name:
            raise RecordingError(
                f"{info.folder} was recorded on {about.get('embodiment')}, expected {embodiment.name}; "
                "export each robot on its own"
            )
        if not about.get("task"):
            raise RecordingError(f"{info.folder} has no task: what the policy shall hear is not known; leave it out")
        if about.get("config") != infos[0].about.get("config"):
            raise RecordingError(
                f"{info.folder} was recorded with another version of config/embodiments/{embodiment.name}.yaml than "
                f"{infos[0].folder}: limits or cameras may differ; export them apart"
            )
