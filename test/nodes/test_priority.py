"""Real-time priority where the system allows it, and no error where it does not."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import os, resource, threading
from himoe_ros.nodes.priority import go_first, goes_first, take_turns
{limit}
go_first()
{then}
told = []
thread = threading.Thread(target=lambda: told.append(goes_first()))
thread.start()
thread.join()
print(told[0])
"""
FORBIDDEN = "resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0)); os.setuid(65534) if os.getuid() == 0 else None"


def told(limit: str = "", then: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(limit=limit, then=then)], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def test_threads_started_later_go_first_where_the_system_allows_it():
    allowed = subprocess.run(["chrt", "-f", "20", "true"], capture_output=True).returncode == 0
    assert told() == str(allowed)


def test_without_the_right_to_it_nothing_changes():
    assert told(FORBIDDEN) == "False"


def test_a_thread_may_take_its_turn_again():
    assert told(then="take_turns()") == "False"
