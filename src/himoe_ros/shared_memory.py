"""Shared memory that Fast DDS processes have left behind: one that is killed cannot remove its own."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

FOLDER = Path("/dev/shm")
PREFIX, LOCK = "fastdds_", "_el"  # a segment, and the file on which its owner holds a lock as long as it lives
YOUNG_S = 0.5  # its owner may be about to take the lock


def remove_abandoned() -> int:
    """Remove every segment whose owner is gone; returns how many. Those of others that live are not touched."""
    removed = 0
    for lock in FOLDER.glob(f"{PREFIX}*{LOCK}"):
        try:
            file = os.open(lock, os.O_RDONLY)
        except OSError:  # another process was faster, or it is another user's
            continue
        try:
            if time.time() - os.fstat(file).st_mtime < YOUNG_S:
                continue
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            segment = lock.name.removesuffix(LOCK)
            for name in (segment, f"sem.{segment}_mutex", lock.name):
                (FOLDER / name).unlink(missing_ok=True)
            removed += 1
        except OSError:  # its owner lives
            continue
        finally:
            os.close(file)
    return removed
