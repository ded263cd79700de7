"""Checkpoints of a run: written whole or not at all, by all processes together, and read by any number of them.

Each is a folder of torch.distributed.checkpoint; the last two are kept.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch.distributed.checkpoint.api import CheckpointException

from ..core.errors import TrainingError

KEPT = 2
BROKEN = (OSError, RuntimeError, ValueError, EOFError, CheckpointException)  # the last is no Exception


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `step_N`; every process calls this.

    Args:
        folder: of the run's checkpoints.
        step: steps done.
        state: tensors in mappings.

    Raises:
        TrainingError: there is no room. Earlier checkpoints stay.
    """
    path = folder / f"step_{step:08d}"
    partial, first = path.with_suffix(".partial"), not dist.is_initialized() or dist.get_rank() == 0
    try:
        with _one_process_is_enough():
            dcp.save(state, checkpoint_id=partial)
        if first:
            shutil.rmtree(path, ignore_errors=True)
            partial.rename(path)
    except BROKEN as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise TrainingError(
            f"{path} cannot be written, the one before stays: {_reason(error)}; make room, then resume"
        ) from error
    if first:
        for old in _found(folder)[:-KEPT]:
            shutil.rmtree(old)
    return path


def newest_checkpoint(folder: Path) -> tuple[int, Path, dict[str, torch.Size]] | None:
    """Steps done, the checkpoint, and what it holds: name -> shape. None without one.

    Raises:
        TrainingError: it cannot be read.
    """
    found = _found(folder)
    if not found:
        return None
    try:
        kept = dcp.FileSystemReader(found[-1]).read_metadata().state_dict_metadata
        return int(found[-1].name.split("_")[1]), found[-1], {name: told.size for name, told in kept.items()}
    except BROKEN as error:
        raise _unreadable(found[-1], error) from error


def load_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Fill tensors, each process its own; all names in `state` must be there.

    Raises:
        TrainingError: it cannot be read.
    """
    try:
        with _one_process_is_enough():
            dcp.load(state, checkpoint_id=path)
    except BROKEN as error:
        raise _unreadable(path, error) from error


@contextmanager
def _one_process_is_enough() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)
        yield


def _found(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("step_*") if not path.suffix)


def _unreadable(path: Path, error: BaseException) -> TrainingError:
    return TrainingError(f"{path} cannot be read: {_reason(error)}; delete it to go on from the one before")


def _reason(error: BaseException) -> BaseException:
    """What went wrong first, where several processes tell of it."""
    return next(iter(error.failures.values()))[0] if isinstance(error, CheckpointException) else error
