"""Row 31 of the fault table: the controller goes up and down many times."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from box_log import ARMING
from fault_graph import fault_graph
from lifecycle_msgs.msg import Transition

CYCLES = int(os.environ.get("HIMOE_CYCLES", "15"))  # the fault table asks for 1000, some 7 minutes
ARM_EVERY = 5
DOWN = (Transition.TRANSITION_DEACTIVATE, Transition.TRANSITION_CLEANUP)
UP = (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE)


def usage(pid: int) -> dict[str, int]:
    """Threads, open files, and memory (kB) of a process."""
    status = Path(f"/proc/{pid}/status").read_text()
    return {
        "threads": len(list(Path(f"/proc/{pid}/task").iterdir())),
        "files": len(list(Path(f"/proc/{pid}/fd").iterdir())),
        "memory": int(status.split("VmRSS:")[1].split()[0]),
    }


@pytest.fixture
def graph(tmp_path):
    with fault_graph(tmp_path) as graph:
        yield graph


def test_31_up_and_down_without_failures_leaks_or_stray_commands(graph, record_property):
    """Protected by ManagedNode's steps, Worker.stop, XArmLink.close, and ControlLoop, which wakes up disarmed."""
    pid = graph.pid("controller")
    graph.source.start(graph.joints[-1].position[:7])  # plans keep coming all the time
    begin = time.monotonic()
    down = 0.0  # s, the first deactivation after the last arming

    def cycle(number: int) -> None:
        nonlocal down
        for step in (*DOWN, *UP):
            assert graph.transition(step), f"cycle {number}: transition {step} failed"
            down = down or time.monotonic()
        if number % ARM_EVERY == 0:
            # Nothing may have come since, in spite of the plans.
            graph.log.check_rest(down, graph.sentinel())
            graph.watching.wait(lambda: graph.arm().success, 5.0)  # once the source has told about itself
            graph.watching.wait(lambda: len(graph.log.commands(graph.log.last(ARMING).time)) > 5, 5.0)
            down = 0.0

    warm = min(10, CYCLES // 3)
    for number in range(warm):
        cycle(number)
    time.sleep(3.0)
    before = usage(pid)
    for number in range(warm, CYCLES):
        cycle(number)
    graph.source.stop()
    time.sleep(3.0)  # the SDK's threads look up every 2 s
    after = usage(pid)
    record_property("row 31", f"{CYCLES} cycles, {(time.monotonic() - begin) / CYCLES:.2f} s each, {before} -> {after}")
    assert after["threads"] <= before["threads"] + 1
    assert after["files"] <= before["files"] + 2
    assert after["memory"] <= before["memory"] + 20_000
    graph.check_always()
