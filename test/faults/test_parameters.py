"""Row 22 of the fault table: parameters are changed while the robot moves."""

from __future__ import annotations

import time

import numpy as np
import pytest
from fault_graph import ARM


def set_parameter(graph, name: str, value: float | str) -> str:
    """Returns why it was refused, or ""."""
    result = graph.watching.set_parameter("controller", name, value)
    assert result.successful == (not result.reason)
    return result.reason


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("speed_scale", 0.5, "only while disarmed"),
        pytest.param("speed_scale", 2.0, "must be > 0 and <= 1", marks=pytest.mark.slow),
        ("speed_scale", float("nan"), "must be > 0 and <= 1"),
        pytest.param("speed_scale", -1.0, "must be > 0 and <= 1", marks=pytest.mark.slow),
        ("embodiment", "aloha", "read when the node starts"),
        pytest.param("robot_ip", "127.0.0.9", "read when the node starts", marks=pytest.mark.slow),
    ],
)
def test_22_limits_are_read_only_while_armed_and_unsafe_values_are_refused(graph, name, value, words, record_property):
    """Protected by Controller._on_parameters and ControlLoop.set_speed_scale."""
    before = time.monotonic()
    assert words in set_parameter(graph, name, value)
    graph.watching.wait(lambda: graph.log.travelled(before) > 0.05, 5.0)
    assert graph.mode() == "running"
    record_property("row 22", f"{name} {value}: refused, the robot goes on")


def test_22_a_slower_speed_is_taken_while_disarmed_and_kept(graph, record_property):
    """What the box receives afterwards is that slow."""
    assert graph.watching.call("controller/disarm").success
    graph.holds("disarmed")
    assert set_parameter(graph, "speed_scale", 0.1) == ""
    try:
        graph.watching.wait(lambda: graph.arm().success, 5.0)
        armed = graph.sentinel()
        graph.source.start(graph.source.place)
        graph.watching.wait(lambda: graph.log.travelled(armed) > 0.1, 10.0)
        graph.sentinel()
        commands = graph.log.commands(armed)
        step = np.abs(np.diff([e.joints for e in commands], axis=0)).max()
        assert step <= 0.1 * ARM.max_velocity * 0.01 + 2e-6
        record_property("row 22", f"speed_scale 0.1: largest step {1e3 * step:.2f} mrad in 10 ms")
    finally:
        assert graph.watching.call("controller/disarm").success
        graph.holds("disarmed")
        assert set_parameter(graph, "speed_scale", 1.0) == ""
