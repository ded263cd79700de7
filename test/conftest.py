"""For every test: draw off screen, keep ROS on this machine and apart from other graphs."""

import os
import signal
from pathlib import Path

import pytest

os.environ.setdefault("MUJOCO_GL", "egl")
# Two threads of OpenMP that wait for each other on a busy core are a hundred times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # so a shell starts jobs in the background, and theirs inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)


LIVE = ("nodes", "faults")  # rooms whose tests run processes in real time


def pytest_collection_modifyitems(items):
    """Where others take this machine's cores away, a live test that fails is run again; the summary names it."""
    if stolen():
        for item in items:
            if item.path.parent.name in LIVE:
                item.add_marker(pytest.mark.flaky(reruns=2))


def stolen() -> bool:
    """Whether a hypervisor has given this machine's time to others, as the kernel counts it (proc_stat(5))."""
    times = Path("/proc/stat").read_text().splitlines()[0].split()
    return int(times[8]) > 0


@pytest.fixture
def rig():
    """A simulated control box on the network, with an arm behind it."""
    from xarm_rig import ADDRESSES, Rig  # what needs no box has no need of the simulation

    rig = Rig(next(ADDRESSES))
    yield rig
    rig.close()
