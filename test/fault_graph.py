"""The running graph for fault tests: controller and simulated box as processes, judged by what the box received."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from box_log import BoxLog
from chunk_source import ChunkSource
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from graph import Watcher, watcher
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from xarm_rig import ADDRESSES

from himoe_ros.bringup import environment, simulated_address
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.messages import seconds
from himoe_ros.nodes.managed import LATCHED, RECORD
from himoe_ros.nodes.sim_xarm7 import LOG
from himoe_ros.resources import config
from himoe_ros.sim.xarm_protocol import PRIVATE, Function, Request, encode_request

PYTHONPATH = os.pathsep.join(filter(None, [str(Path(__file__).parent), os.environ.get("PYTHONPATH")]))
XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
HOLD_WITHIN_S = 0.1  # of the fault table: decelerate, then hold
TICKS_S = 0.03  # until a stop begins, and its last command has arrived
STOP_S = ARM.max_velocity / ARM.max_acceleration + ARM.max_acceleration / ARM.max_jerk + TICKS_S  # the longest one


MODULES = {"sim_robot": "sim_xarm7"}  # of nodes that are called otherwise


class FaultGraph:
    """Controller and box in processes of their own, which can be killed and started again."""

    def __init__(self, watching: Watcher, folder: Path, **controller: object) -> None:
        """
        Args:
            controller: parameters of the controller other than usual.
        """
        self.watching = watching
        self.log = BoxLog()
        self.source = self.make_source()
        self._controller = {"embodiment": "xarm7", "action_space": "joints", **controller}
        port = simulated_address("xarm7").partition(":")[2]
        self.address = next(ADDRESSES) + (f":{port}" if port else "")
        self._folder = folder
        self._processes: dict[str, subprocess.Popen] = {}
        self._sentinels = 0
        self.joints = watching.collect(JointState, "joint_states")
        self.chunks: list[tuple[float, JointTrajectory]] = []  # s of the steady clock, and what came
        watching.node.create_subscription(
            JointTrajectory, "action_chunk", lambda m: self.chunks.append((time.monotonic(), m)), RECORD
        )
        watching.node.create_subscription(JointState, "sim/requests", self.log.add, LOG)
        self._diagnostics: list[tuple[float, str]] = []  # s, and what was told
        self._modes: list[str] = ["unknown"]
        watching.node.create_subscription(DiagnosticStatus, "controller/state", self._on_state, LATCHED)
        watching.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def make_source(self) -> ChunkSource | None:
        """Who plans, where no node does."""
        return ChunkSource(self.watching)

    def begin(self) -> None:
        """What else there is, once the robot is read."""

    def start(self, name: str, module: str = "", remap: Sequence[str] = (), **parameters: object) -> None:
        """Start a node: `sim_robot`, `controller`, or another with its parameters."""
        parameters |= {
            "sim_robot": {"address": self.address},
            "controller": {**self._controller, "robot_ip": self.address},
        }.get(name, {})
        module = module or f"himoe_ros.nodes.{MODULES.get(name, name)}"
        command = [sys.executable, "-m", module, "--ros-args", "--log-level", "error"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:={json.dumps(value)}"]
        for rule in remap:
            command += ["-r", rule]
        with (self._folder / f"{name}.log").open("a") as out:
            variables = {**os.environ, **environment(), "PYTHONPATH": PYTHONPATH}
            variables["MUJOCO_GL"] = "egl" if name == "sim_cameras" else "disable"
            self._processes[name] = subprocess.Popen(command, env=variables, stdout=out, stderr=out)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def alive(self, name: str) -> bool:
        return self._processes[name].poll() is None

    def exit_code(self, name: str) -> int | None:
        return self._processes[name].poll()

    def output(self, name: str) -> str:
        """Everything a node has printed."""
        return (self._folder / f"{name}.log").read_text()

    def send_signal(self, name: str, number: int) -> None:
        self._processes[name].send_signal(number)

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self._processes[name]
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)  # a stopped one takes no other signal
            process.wait(10.0)

    def ready(self) -> None:
        """Wait until the controller reads the robot."""
        begin = len(self.joints)
        self.watching.wait(lambda: len(self.joints) > begin + 10, 30.0)

    def run(self) -> None:
        """Arm where the robot is, and sway about home until it moves."""
        begin = time.monotonic()
        self.watching.wait(lambda: self.arm().success, 20.0)
        self.ready()
        self.source.start(ARM.bounds.rest)
        self.watching.wait(lambda: self.log.travelled(begin) > 0.05, 10.0)

    def arm(self):
        return self.watching.call("controller/arm")

    def fault(self, text: str) -> float:
        """Make a fault of sim/xarm_faults.py happen; returns when, s of the steady clock."""
        result = self.watching.set_parameter("sim_robot", "fault", text)
        assert result.successful, result.reason
        self.watching.wait(lambda: self.log.last(f"FAULT {text}"), 5.0)
        return self.log.last(f"FAULT {text}").time

    def transition(self, number: int) -> bool:
        """Ask the controller for a lifecycle transition."""
        request = ChangeState.Request(transition=Transition(id=number))
        return self.watching.ask(ChangeState, "controller/change_state", request).success

    def attend(self) -> None:
        """Wait until the log shows what the box receives: nodes take seconds to find each other."""

        def shown() -> bool:
            try:
                self.sentinel(within=0.5)
            except (AssertionError, OSError):
                return False
            return True

        self.watching.wait(shown, 30.0)

    def sentinel(self, within: float = 5.0) -> float:
        """Send the box a mark, and wait until the log shows it: whatever came before it is in the log then.

        Returns:
            s, when the box received it.
        """
        begin = time.monotonic()
        self._sentinels += 1
        host, _, port = self.address.partition(":")
        mark = bytes([self._sentinels % 250])
        with socket.create_connection((host, int(port or 502)), timeout=2.0) as connection:
            connection.sendall(encode_request(Request(1, PRIVATE, Function.SET_TEACH_SENSITIVITY, mark)))
            connection.recv(64)
        words = f"SET_TEACH_SENSITIVITY {mark[0]}"
        self.watching.wait(lambda: (mark := self.log.last(words)) and mark.time >= begin, within)
        return self.log.last(words).time

    def check_held(self, ended: float) -> float:
        """Pass of most rows: HOLD_WITHIN_S after the last step of a plan (s of the steady clock) the robot slows
        down, and it is at rest as soon as its limits allow.

        Returns:
            s between that step and the last command that moved anything.
        """
        held = ended + HOLD_WITHIN_S
        time.sleep(max(0.0, held + STOP_S + 0.1 - time.monotonic()))
        self.sentinel()
        self.log.check_slowing(held)
        late = self.log.moved_last() - ended
        assert late <= HOLD_WITHIN_S + STOP_S, f"still moving {late:.3f} s after the plan's last step"
        return late

    def planned_until(self) -> float:
        """When the last step of the plans sent so far is due, s of the steady clock."""
        return max(plan_end(message) for _, message in self.chunks[-3:] if message.points)

    def told(self, words: str, since: float, within: float) -> float:
        """I4: wait for a diagnostic of the controller that came after `since` with these words; s it took."""

        def says() -> float | None:
            return next((t for t, told in self._diagnostics if t > since and words in told), None)

        self.watching.wait(says, within + 2.0)
        took = says() - since
        assert took <= within, f"told after {took:.2f} s"
        return took

    def holds(self, mode: str = "holding", within: float = 2.5) -> None:
        """Wait for a mode, however short."""
        begin = len(self._modes) - 1
        self.watching.wait(lambda: mode in self._modes[begin:], within)

    def mode(self) -> str:
        """As told last."""
        return self._modes[-1]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/controller":
                values = {v.key: v.value for v in status.values}
                told = f"{status.message}; {values.get('reason', '')}"
                self._diagnostics.append((time.monotonic(), told))

    def _on_state(self, message: DiagnosticStatus) -> None:
        self._modes.append({v.key: v.value for v in message.values}["mode"])

    def check_always(self) -> None:
        """I1 and I2 of everything so far, and the controller lives."""
        self.sentinel()
        assert self.log.lost == 0, "the log of the box is not complete"
        self.log.check_limits()
        self.log.check_steps()
        self.log.check_rate()
        assert self.alive("controller")

    def close(self) -> None:
        if self.source is not None:
            self.source.stop()
        for name in self._processes:
            self.end(name)


def plan_end(message: JointTrajectory) -> float:
    """When a plan's last step is due, s of the steady clock."""
    last = message.points[-1].time_from_start
    end = seconds(message.header.stamp) + last.sec + last.nanosec * 1e-9
    return end - time.time() + time.monotonic()


@contextmanager
def fault_graph(folder: Path, kind: type[FaultGraph] = FaultGraph, **controller: object) -> Iterator[FaultGraph]:
    """Both nodes up and the robot read."""
    with watcher() as watching:
        graph = kind(watching, folder, **controller)
        try:
            graph.start("sim_robot")
            graph.start("controller")
            graph.attend()
            graph.ready()
            graph.begin()
            yield graph
        finally:
            graph.close()
