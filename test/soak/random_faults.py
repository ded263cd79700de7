"""Row 32 of the fault table: random faults at random times (`make soak`; HIMOE_SOAK_S seconds, HIMOE_SEED)."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from fault_graph import fault_graph
from graph import nodes_alive, shared_memory
from policy_graph import PolicyGraph
from trajectory_msgs.msg import JointTrajectory

from himoe_ros.nodes.managed import COMMAND

SOAK_S = float(os.environ.get("HIMOE_SOAK_S", "600"))
SEED = int(os.environ.get("HIMOE_SEED", "0"))
WARM_UP = 0.25  # share of the time, after which memory may hardly grow
MAX_GROWTH = 0.01


class Operator:
    """Makes faults happen, ends them, and arms again, as a person would."""

    def __init__(self, graph: PolicyGraph, rng: np.random.Generator) -> None:
        self._graph, self._rng = graph, rng
        self.done: Counter[str] = Counter()
        self.armed = 0
        box = ("stall 0.19", "drop", "refuse 0.2", "silence 0.6", "garble 4", "error 31", "error 24", "warning 14")
        self._faults: dict[str, Callable[[], None]] = {
            **{name: lambda name=name: self._box(name) for name in box},
            "emergency stop": self._emergency_stop,
            "silent camera": lambda: self._pictures(lambda name, m: [] if name == "base" else [m]),
            "no images": lambda: self._pictures(lambda name, m: []),
            "zero stamps": lambda: self._pictures(self._without_stamp),
            "cut images": lambda: self._pictures(self._cut),
            "no joint states": lambda: self._joints(lambda m: []),
            "NaN joints": lambda: self._joints(self._nan),
            "policy killed": self._kill_policy,
            "policy frozen": self._freeze_policy,
            "second publisher": self._second_publisher,
            "disarm": lambda: self._call("disarm"),
            "stop": lambda: self._call("stop"),
            "home": lambda: self._call("home"),
            "park": lambda: self._call("park"),
        }

    def fault(self) -> None:
        name = str(self._rng.choice(list(self._faults)))
        self._faults[name]()
        self.done[name] += 1

    def arm(self) -> None:
        """Until it follows plans again; arming may be refused while a fault is remembered."""
        graph = self._graph
        deadline = time.monotonic() + 30.0
        while graph.mode() != "running":
            assert time.monotonic() < deadline, f"after {self.done}: {graph.watching.diagnostics}"
            if graph.mode() not in ("armed", "holding", "homing", "stopping"):
                self.armed += graph.arm().success
            time.sleep(0.2)
            if graph.mode() in ("armed", "holding") and not self._followed(3.0):
                graph.watching.call("controller/home")  # an untrained policy may have lost itself
                graph.holds("disarmed", 20.0)

    def _followed(self, within: float) -> bool:
        deadline = time.monotonic() + within
        while time.monotonic() < deadline and self._graph.mode() != "running":
            time.sleep(0.05)
        return self._graph.mode() == "running"

    def _wait(self, longest: float = 1.5) -> None:
        time.sleep(self._rng.uniform(0.1, longest))

    def _box(self, name: str) -> None:
        self._graph.fault(name)
        self._wait()

    def _emergency_stop(self) -> None:
        self._graph.fault("estop")
        self._wait()
        self._graph.fault("release")

    def _pictures(self, change: Callable) -> None:
        self._graph.sensors.picture = change
        self._wait()
        self._graph.sensors.work()

    def _joints(self, change: Callable) -> None:
        self._graph.sensors.joints = change
        self._wait()
        self._graph.sensors.work()

    def _without_stamp(self, _name: str, message):
        message.header.stamp.sec = message.header.stamp.nanosec = 0
        return [message]

    def _cut(self, _name: str, message):
        message.data = message.data[: len(message.data) // 2]
        return [message]

    def _nan(self, message):
        message.position[int(self._rng.integers(7))] = float("nan")
        return [message]

    def _kill_policy(self) -> None:
        self._graph.end("policy", signal.SIGKILL)
        self._wait()
        self._graph.restart_policy()

    def _freeze_policy(self) -> None:
        self._graph.send_signal("policy", signal.SIGSTOP)
        self._wait(4.0)
        self._graph.send_signal("policy", signal.SIGCONT)

    def _second_publisher(self) -> None:
        node = self._graph.watching.node
        intruder = node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._wait()
        node.destroy_publisher(intruder)

    def _call(self, name: str) -> None:
        self._graph.watching.call(f"controller/{name}")
        self._wait()


def memory(pid: int) -> int:
    """kB that are this process's alone."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("RssAnon:")[1].split()[0])


def segments() -> set[str]:
    """Shared memory of processes; ports stay, for the next process with that number in the domain."""
    return {name for name in shared_memory() if "port" not in name}


def test_32_invariants_hold_under_random_faults(tmp_path):
    before = segments()
    rng = np.random.default_rng(SEED)
    with fault_graph(tmp_path, PolicyGraph) as graph:
        graph.run()
        operator = Operator(graph, rng)
        begin, warm = time.monotonic(), {}
        while (elapsed := time.monotonic() - begin) < SOAK_S:
            operator.fault()
            operator.arm()
            time.sleep(rng.uniform(0.1, 1.0))
            if not warm and elapsed > WARM_UP * SOAK_S:
                warm = {name: memory(graph.pid(name)) for name in ("controller", "sim_robot")}
        graph.check_always()
        graph.log.check_stops()
        growth = {name: memory(graph.pid(name)) / before - 1 for name, before in warm.items()}
        grown = ", ".join(f"{name} {100 * share:+.2f} %" for name, share in growth.items())
        print(
            f"\n{SOAK_S:.0f} s, seed {SEED}: {operator.done.total()} faults, armed {operator.armed} times, "
            f"{len(graph.log.commands())} commands, memory {grown}"
        )
        print(", ".join(f"{name} {count}" for name, count in sorted(operator.done.items())))
        assert max(growth.values()) < MAX_GROWTH
        assert "Traceback" not in graph.output("controller")
    assert not nodes_alive()
    assert segments() <= before, "what a killed policy has left is the next one's to remove"
