"""Row 16 of the fault table: the ROS clock jumps, or stands still."""

from __future__ import annotations

import threading
import time

import pytest
from fault_graph import STOP_S, FaultGraph, fault_graph
from rosgraph_msgs.msg import Clock as ClockMessage

from himoe_ros.core.safety import load_safety
from himoe_ros.nodes.conversions import stamp
from himoe_ros.resources import config

SAFETY = load_safety(config("safety.yaml"))
RATE_HZ = 200.0
TICKS_S = 0.05  # until a message of the clock has arrived and the loop has looked
TOLD_WITHIN_S = 1.1


class ClockedGraph(FaultGraph):
    """All of it runs on /clock, which the test keeps."""

    def begin(self) -> None:
        publisher = self.watching.node.create_publisher(ClockMessage, "/clock", 1)
        self.offset, self.frozen_at = 0.0, None
        self.source.now = self.time
        self._keeping = threading.Event()
        self._keeping.set()

        def keep() -> None:
            while self._keeping.is_set():
                publisher.publish(ClockMessage(clock=stamp(self.time())))
                time.sleep(1 / RATE_HZ)

        self._clock = threading.Thread(target=keep)
        self._clock.start()

    def time(self) -> float:
        return self.frozen_at or time.time() + self.offset

    def close(self) -> None:
        self._keeping.clear()
        self._clock.join()
        super().close()


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with fault_graph(tmp_path_factory.mktemp("clock"), ClockedGraph, use_sim_time=True) as graph:
        yield graph


@pytest.mark.parametrize("jump", [10.0, -10.0])
def test_16_a_clock_that_jumps_ends_the_plan(graph, jump, record_property):
    """Protected by ClockWatch, which holds the ROS clock against a steady one, and the cleared buffer."""
    graph.source.stop()
    graph.source.send()  # a plan of a second, whose steps a jump would make all past, or far away
    time.sleep(0.2)
    jumped = time.monotonic()
    graph.offset += jump
    graph.told("the ROS clock jumped by", jumped, TOLD_WITHIN_S)
    graph.holds()
    graph.sentinel()
    late = graph.log.moved_last() - jumped
    assert late <= STOP_S + TICKS_S
    record_property("row 16", f"jump of {jump:+.0f} s: at rest after {1e3 * late:.0f} ms")
    begin = time.monotonic()
    graph.source.start(graph.source.place)  # buffers are reset: plans of the new time are welcome
    graph.watching.wait(lambda: graph.log.travelled(begin) > 0.05, 10.0)


def test_16_a_clock_that_stands_still_does_not_keep_a_plan_alive(graph, record_property):
    """Protected by ClockWatch; the watchdog runs on the steady clock too."""
    frozen = time.monotonic()
    graph.frozen_at = graph.time()
    graph.told("the ROS clock has stood still", frozen, SAFETY.clock_tolerance_s + TOLD_WITHIN_S)
    graph.holds()
    time.sleep(1.0)  # plans go on coming, with the stamp of a clock that stands still
    graph.sentinel()
    late = graph.log.moved_last() - frozen
    assert late <= SAFETY.clock_tolerance_s + STOP_S + TICKS_S
    record_property("row 16", f"clock frozen: at rest after {1e3 * late:.0f} ms")
    graph.offset = graph.frozen_at - time.time()
    graph.frozen_at = None
    begin = time.monotonic()
    graph.watching.wait(lambda: graph.log.travelled(begin) > 0.05, 10.0)
