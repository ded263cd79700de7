"""The running graph for fault tests: controller and simulated box as processes, judged by what the box received."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from box_log import BoxLog
from chunk_source import ChunkSource
from diagnostic_msgs.msg import DiagnosticArray
from graph import Watcher, watcher
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import JointState
from xarm_rig import ADDRESSES

from himoe_ros.bringup import environment, simulated_address
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.sim.xarm_protocol import PRIVATE, Function, Request, encode_request

XARM7 = load_embodiment("xarm7", config("embodiments"))


class FaultGraph:
    """Controller and box in processes of their own, which can be killed and started again."""

    def __init__(self, watching: Watcher, folder: Path) -> None:
        self.watching = watching
        self.log = BoxLog()
        self.source = ChunkSource(watching)
        port = simulated_address().partition(":")[2]
        self.address = next(ADDRESSES) + (f":{port}" if port else "")
        self._folder = folder
        self._processes: dict[str, subprocess.Popen] = {}
        self._sentinels = 0
        self.joints = watching.collect(JointState, "joint_states")
        watching.node.create_subscription(JointState, "sim/requests", self.log.add, 1000)
        self._diagnostics: list[tuple[float, str, str]] = []  # s, mode, and what was told
        watching.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def start(self, name: str) -> None:
        """Start a node: `sim_robot` or `controller`."""
        parameters = {
            "sim_robot": {"address": self.address},
            "controller": {"embodiment": "xarm7", "action_space": "joints", "robot_ip": self.address},
        }[name]
        command = [sys.executable, "-m", f"himoe_ros.nodes.{name}", "--ros-args", "--log-level", "error"]
        for key, value in parameters.items():
            command += ["-p", f"{key}:='{value}'"]
        with (self._folder / f"{name}.log").open("a") as out:
            variables = {**os.environ, **environment(), "MUJOCO_GL": "disable"}
            self._processes[name] = subprocess.Popen(command, env=variables, stdout=out, stderr=out)

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def alive(self, name: str) -> bool:
        return self._processes[name].poll() is None

    def end(self, name: str, number: int = signal.SIGTERM) -> None:
        process = self._processes[name]
        if process.poll() is None:
            process.send_signal(number)
            process.wait(10.0)

    def ready(self) -> None:
        """Wait until the controller reads the robot."""
        begin = len(self.joints)
        self.watching.wait(lambda: len(self.joints) > begin + 10, 30.0)

    def run(self) -> None:
        """Arm where the robot is, and sway until it moves."""
        begin = time.monotonic()
        self.watching.wait(lambda: self.arm().success, 20.0)
        self.ready()
        self.source.start(np.array(self.joints[-1].position[:7]))
        self.watching.wait(lambda: self.log.travelled(begin) > 0.05, 10.0)

    def arm(self):
        return self.watching.call("controller/arm")

    def fault(self, text: str) -> float:
        """Make a fault of sim/xarm_faults.py happen; returns when, s of the steady clock."""
        value = ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=text)
        request = SetParameters.Request(parameters=[Parameter(name="fault", value=value)])
        (result,) = self._request(SetParameters, "sim_robot/set_parameters", request).results
        assert result.successful, result.reason
        self.watching.wait(lambda: self.log.last(f"FAULT {text}"), 5.0)
        return self.log.last(f"FAULT {text}").time

    def transition(self, number: int) -> bool:
        """Ask the controller for a lifecycle transition."""
        request = ChangeState.Request(transition=Transition(id=number))
        return self._request(ChangeState, "controller/change_state", request).success

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

    def told(self, words: str, since: float, within: float) -> float:
        """I4: wait for a diagnostic of the controller that came after `since` with these words; s it took."""

        def says() -> float | None:
            return next((t for t, _, told in self._diagnostics if t > since and words in told), None)

        self.watching.wait(says, within + 2.0)
        took = says() - since
        assert took <= within, f"told after {took:.2f} s"
        return took

    def mode(self) -> str:
        """As told last."""
        return self._diagnostics[-1][1]

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "/controller":
                values = {v.key: v.value for v in status.values}
                told = f"{status.message}; {values.get('reason', '')}"
                self._diagnostics.append((time.monotonic(), values.get("mode", ""), told))

    def check_always(self) -> None:
        """I1 and I2 of everything so far, and the controller lives."""
        self.sentinel()
        self.log.check_limits()
        self.log.check_steps()
        self.log.check_rate()
        assert self.alive("controller")

    def close(self) -> None:
        self.source.stop()
        for name in self._processes:
            self.end(name)

    def _request(self, kind: type, name: str, request):
        client = self.watching.node.create_client(kind, name)
        try:
            assert client.wait_for_service(10.0), f"{name} did not appear"
            future = client.call_async(request)
            self.watching.wait(future.done, 20.0)
            return future.result()
        finally:
            self.watching.node.destroy_client(client)


@contextmanager
def fault_graph(folder: Path) -> Iterator[FaultGraph]:
    """Both nodes up and the robot read."""
    with watcher() as watching:
        graph = FaultGraph(watching, folder)
        try:
            graph.start("sim_robot")
            graph.start("controller")
            graph.attend()
            graph.ready()
            yield graph
        finally:
            graph.close()
