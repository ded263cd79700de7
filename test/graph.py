"""Real nodes in processes of their own, and a node of the test's own beside them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from himoe_ros.nodes.managed import RECORD

HIMOE = Path(sys.executable).with_name("himoe")


def himoe(*arguments: str, **options) -> subprocess.Popen:
    """Start a `himoe` command in a process group of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([HIMOE, *arguments], start_new_session=True, **{**pipes, **options})


def himoe_without(*executables: str, robot: str = "xarm7", **arguments) -> subprocess.Popen:
    """The nodes of `himoe up` but some, whose part the test plays."""
    code = (
        "from himoe_ros.bringup import graph; from himoe_ros.runner import run_graph; import sys; "
        f"sys.exit(run_graph([s for s in graph({robot!r}, {arguments!r}) if s.executable not in {executables!r}]))"
    )
    return subprocess.Popen([sys.executable, "-c", code], start_new_session=True)


def end(process: subprocess.Popen, number: int = signal.SIGINT, within: float = 10.0) -> tuple[int, str]:
    """Signal a process, wait for it, and return its exit code and output."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=within)
    return process.returncode, output


def nodes_alive() -> list[str]:
    """Command lines of node processes of this test's ROS domain."""
    mark = f"ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}\0"
    alive = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_text()
            if "himoe_ros.nodes" in command and mark in (folder / "environ").read_text():
                alive.append(command.replace("\0", " "))
        except OSError:  # ended meanwhile
            continue
    return alive


def pid_of(executable: str) -> int:
    """Of a node of this test's ROS domain."""
    mark = f"ROS_DOMAIN_ID={os.environ['ROS_DOMAIN_ID']}\0"
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = mark in (folder / "environ").read_text()
            if mine and f"himoe_ros.nodes.{executable}" in (folder / "cmdline").read_text():
                return int(folder.name)
        except OSError:  # ended meanwhile
            continue
    raise AssertionError(f"no {executable} runs")


def shared_memory() -> set[str]:
    return {p.name for p in Path("/dev/shm").iterdir() if "fastdds" in p.name or "fastrtps" in p.name}


class Watcher:
    """A node that subscribes, calls services, and remembers the diagnostics."""

    def __init__(self) -> None:
        self.context = rclpy.Context()
        self.context.init()
        self.node = Node("watcher", context=self.context)
        self.diagnostics: dict[str, tuple[str, dict[str, str]]] = {}
        self._clients: dict[tuple[type, str], Client] = {}
        self.node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._running = True
        self._thread = threading.Thread(target=self._spin)
        self._thread.start()

    def collect(self, kind: type, topic: str) -> list:
        """A list that grows with every message on the topic."""
        messages: list = []
        self.node.create_subscription(kind, topic, messages.append, RECORD)
        return messages

    def ask(self, kind: type, name: str, request):
        """Call a service and return its answer. Clients are kept: every new one costs the other side some memory."""
        if (kind, name) not in self._clients:
            self._clients[kind, name] = self.node.create_client(kind, name)
            assert self._clients[kind, name].wait_for_service(10.0), f"{name} did not appear"
            time.sleep(0.3)  # the server, too, has to find the client, or its answer goes nowhere
        client = self._clients[kind, name]
        assert client.wait_for_service(10.0), f"{name} did not appear"
        future = client.call_async(request)
        self.wait(future.done, 20.0)
        return future.result()

    def call(self, name: str) -> Trigger.Response:
        return self.ask(Trigger, name, Trigger.Request())

    def set_parameter(self, node: str, name: str, value: object) -> SetParametersResult:
        """Ask a node for another value; says whether it took it."""
        request = SetParameters.Request(parameters=[Parameter(name, value=value).to_parameter_msg()])
        return self.ask(SetParameters, f"{node}/set_parameters", request).results[0]

    def wait(self, condition: Callable[[], object], within: float) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, f"{within} s went by; diagnostics: {self.diagnostics}"
            time.sleep(0.02)

    def close(self) -> None:
        self._running = False
        self._thread.join()
        self.node.destroy_node()
        self.context.shutdown()

    def _spin(self) -> None:
        while self._running:
            self._executor.spin_once(timeout_sec=0.05)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            self.diagnostics[status.name] = (status.message, {v.key: v.value for v in status.values})


@contextmanager
def watcher():
    watching = Watcher()
    try:
        yield watching
    finally:
        watching.close()
