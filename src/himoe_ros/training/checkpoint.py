"""Checkpoints of a run: written whole or not at all, the last two are kept."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from ..core.errors import TrainingError

KEPT = 2


def save_checkpoint(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Write `step_N.pt`.

    Args:
        folder: of the run's checkpoints.
        step: steps done.
        state: tensors, numbers and texts in mappings and lists.

    Raises:
        TrainingError: there is no room. Earlier checkpoints stay.
    """
    path = folder / f"step_{step:08d}.pt"
    partial = path.with_suffix(".partial")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
    except (OSError, RuntimeError) as error:  # torch tells of a full disk as a RuntimeError
        partial.unlink(missing_ok=True)
        raise TrainingError(
            f"{path} cannot be written, the one before stays: {error}; make room, then resume"
        ) from error
    for old in sorted(folder.glob("step_*.pt"))[:-KEPT]:
        old.unlink()
    return path


def load_checkpoint(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """Steps done and state of the newest checkpoint; None without one.

    Raises:
        TrainingError: it cannot be read.
    """
    found = sorted(folder.glob("step_*.pt"))
    if not found:
        return None
    try:
        return int(found[-1].stem.split("_")[1]), torch.load(found[-1], map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, ValueError, EOFError) as error:
        raise TrainingError(f"{found[-1]} cannot be read: {error}; delete it to go on from the one before") from error
