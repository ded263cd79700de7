"""Which processes the machine serves first."""

from __future__ import annotations

import os

PRIORITY = 20  # of SCHED_FIFO's 1 to 99: before everything ordinary, behind the kernel's own threads


def go_first() -> None:
    """Let this process, whose next command is due every few milliseconds, go before all ordinary ones.

    Threads that are started later go first, too. Where the system does not allow it, nothing changes: see
    `goes_first`.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(PRIORITY))
    except PermissionError:
        return


def go_last() -> None:
    """Let this process, which only watches, go behind those that it watches."""
    os.nice(10)


def goes_first() -> bool:
    """Whether this thread, and those it starts, have real-time priority."""
    return os.sched_getscheduler(0) == os.SCHED_FIFO
