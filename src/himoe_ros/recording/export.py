"""Bags -> a LeRobot dataset: whole or not at all, and an export that was interrupted goes on."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.embodiment import SLOTS, Embodiment
from ..core.errors import RecordingError
from ..core.synchronizer import SyncLimits
from .bag import write_whole
from .frames import read_frames
from .lerobot import write_episode, write_meta
from .reader import BagInfo, read_info

PARTIAL = ".partial"
PLAN = "plan.json"  # which bags a partial export is of


@dataclass(frozen=True)
class Progress:
    """One more episode is done."""

    bag: Path
    number: int
    total: int
    frames: int


def export(
    bags: Sequence[Path],
    out: Path,
    embodiment: Embodiment,
    limits: SyncLimits,
    rate_hz: int,
    tell: Callable[[Progress], None],
) -> int:
    """Write the dataset `out`; until it is whole it lies beside, as `out.partial`.

    Args:
        bags: folders, one an episode, in this order.
        out: must not exist.
        embodiment: of the robot that all of them were recorded on.
        limits: of the live policy's synchroniser.
        rate_hz: frames a second.
        tell: is told of every episode.

    Returns:
        Number of frames.

    Raises:
        RecordingError: a bag is not complete, of another robot or configuration, or has no task; `out` exists; or a
            partial export of other bags lies there.
    """
    if out.exists():
        raise RecordingError(f"{out} exists, and nothing is ever overwritten: choose another folder, or move it away")
    infos = [read_info(bag) for bag in bags]
    _require_alike(infos, embodiment)
    root = out.with_name(out.name + PARTIAL)
    root.mkdir(parents=True, exist_ok=True)
    plan = json.dumps({"bags": [str(bag.resolve()) for bag in bags], "rate_hz": rate_hz, "robot": embodiment.name})
    if not (root / PLAN).is_file():
        write_whole(root / PLAN, plan)
    elif (root / PLAN).read_text() != plan:
        raise RecordingError(f"{root} is an export of other bags or another rate; delete it, or choose another folder")
    tasks = list(dict.fromkeys(info.about["task"] for info in infos))
    total = 0
    for number, info in enumerate(infos):
        done = root / "episodes" / f"{number:06d}.json"
        if done.is_file():
            frames = int(json.loads(done.read_text())["length"])
        else:
            steps = read_frames(info, embodiment, limits, rate_hz)
            frames = write_episode(root, number, total, tasks.index(info.about["task"]), steps, rate_hz)
        total += frames
        tell(Progress(info.folder, number, len(infos), frames))
    write_meta(root, embodiment.name, slot_names(embodiment), tasks, rate_hz)
    root.rename(out)
    return total


def slot_names(embodiment: Embodiment) -> list[str]:
    """Names of the 24 slots, as the embodiment fills them; others are called by number."""
    names = [f"unused_{slot}" for slot in range(SLOTS)]
    for space in embodiment.action_spaces.values():
        for name, slot in zip(space.names, space.slots, strict=True):
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
