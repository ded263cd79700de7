"""A graph for all tests of a file; each leaves it armed or not, but with the box well."""

from __future__ import annotations

import pytest
from fault_graph import fault_graph


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
    assert running.watching.call("controller/disarm").success
    running.check_always()
