"""Which processes the machine serves first."""

from __future__ import annotations

import os

# Of SCHED_FIFO's 1 to 99: before everything ordinary, behind the kernel's own threads.
MOVES, PLANS = 20, 10


def go_first(priority: int = MOVES) -> None:
    """Let this thread go before all ordinary ones, and after those of a higher priority.

    Threads that it starts later go first, too. Where the system does not allow it, nothing changes: see
    `goes_first`.

    Args:
        priority: MOVES where the next command is due every few milliseconds; PLANS where a robot waits for a plan.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
    except PermissionError:
        return


def take_turns() -> None:
    """Let this thread wait for its turn, as ordinary ones do."""
    os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def go_last() -> None:
    """Let this process, which only watches, go behind those that it watches."""
    os.nice(10)


def goes_first() -> bool:
    """Whether this thread, and those it starts, have real-time priority."""
    return os.sched_getscheduler(0) == os.SCHED_FIFO
