"""Processes leave nothing behind: neither children of theirs nor, where one is killed, its shared memory."""

from __future__ import annotations

import ctypes
import fcntl
import multiprocessing
import os
import signal
import time
from pathlib import Path

PR_SET_PDEATHSIG = 1
FOLDER = Path("/dev/shm")
PREFIX, LOCK = "fastdds_", "_el"  # a segment, and the file on which its owner holds a lock as long as it lives
YOUNG_S = 0.5  # its owner may be about to take the lock


def end_with_parent() -> None:
    """From now on the kernel ends this process when its parent dies, however that comes about."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    parent = multiprocessing.parent_process()
    if parent is not None and parent.pid != os.getppid():  # it has died already
        raise SystemExit(128 + signal.SIGTERM)


def remove_abandoned() -> int:
    """Remove every segment of Fast DDS whose owner is gone, and no other; returns how many."""
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
