"""A graph for all tests of a file; each leaves it armed or not, but with the box well."""

from __future__ import annotations

import time

import pytest
from fault_graph import fault_graph


def pytest_terminal_summary(terminalreporter):
    """The fault table with what was measured."""
    rows = [p for report in terminalreporter.stats.get("passed", []) for p in report.user_properties]
    if rows:
        terminalreporter.section("fault table")
        for row, figure in sorted(rows, key=lambda r: int(r[0].split()[1])):
            terminalreporter.write_line(f"{row:<8} {figure}")


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    with fault_graph(folder) as graph:
        yield graph
    told = "".join(path.read_text() for path in folder.glob("*.log"))
    assert "Traceback" not in told, told


@pytest.fixture
def graph(running):
    """The graph with a controller that moves the robot."""
    running.run()
    yield running
    running.source.stop()
    time.sleep(0.05)
    assert running.watching.call("controller/disarm").success
    running.check_always()
