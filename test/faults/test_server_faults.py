"""Rows 14 and 18 of the fault table with a policy in another process, behind `himoe serve`."""

from __future__ import annotations

import signal
import socket
import subprocess
import time

import numpy as np
import pytest
from fault_graph import fault_graph
from graph import end, himoe
from policy_graph import PolicyGraph

from himoe_ros.core.messages import seconds
from himoe_ros.policy.remote import ANSWER_S

TOLD_WITHIN_S = 2.5  # of the last answer, until the next diagnostic
PERIOD_S = 0.25

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def server():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = himoe("serve", "himoe_small", "--action-space", "joints", "--port", str(port))
    assert "serving at" in process.stdout.readline()
    process.url = f"ws://127.0.0.1:{port}"
    yield process
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        end(process)


@pytest.fixture
def graph(server: subprocess.Popen, tmp_path):
    with fault_graph(tmp_path, PolicyGraph) as running:
        running.restart_policy(policy=server.url)
        running.run()
        yield running
        assert running.watching.call("controller/disarm").success
        running.check_always()


def test_18_a_server_that_is_gone_for_five_seconds_holds_the_robot_and_comes_back_without_a_burst(
    server, graph, record_property
):
    """Protected by the plan's end and by connections that are given up: the robot stays armed, and holds."""
    server.send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    late = graph.check_held(graph.planned_until())
    told = graph.complained("policy", "is lost", stopped, ANSWER_S + TOLD_WITHIN_S)
    time.sleep(5.0)
    plans, back, resumed = len(graph.chunks), time.time(), time.monotonic()
    server.send_signal(signal.SIGCONT)
    graph.watching.wait(lambda: len(graph.chunks) > plans + 4, 10.0)
    stamps = np.array([seconds(m.header.stamp) for _, m in graph.chunks[plans:]])
    assert stamps[0] > back - ANSWER_S - 1.0, "what was asked before the partition is not answered after it"
    assert np.diff(stamps).min() > 0.5 * PERIOD_S
    graph.watching.wait(lambda: graph.log.travelled(resumed) > 0.02, 10.0)
    graph.log.check_rate()
    record_property(
        "row 18",
        f"policy server: at rest {1e3 * late:+.0f} ms from the last step, told {told:.1f} s after; back: goes on "
        "from its hold within its limits, plans no faster than before",
    )
