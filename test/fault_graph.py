"""The running graph for fault tests: controller and simulated box as processes, judged by what the box received."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from graph import Watcher, watcher
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParameters
from sensor_msgs.msg import JointState
from trajectory_msgs.msg import JointTrajectory
from xarm_rig import ADDRESSES

from himoe_ros.bringup import environment, simulated_address
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.safety import load_safety
from himoe_ros.nodes.conversions import chunk_message, seconds
from himoe_ros.nodes.managed import COMMAND
from himoe_ros.resources import config
from himoe_ros.sim.xarm_protocol import PRIVATE, Function, Request, encode_request

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
SPACE = XARM7.action_space("joints")
PERIOD = 1.0 / load_safety(config("safety.yaml")).control_rate_hz
ROUNDING = 2e-6  # rad, of float32 on the wire
ARMING = "MOTION_ENABLE 8 1"


@dataclass(frozen=True)
class Entry:
    """One request that the box received, or a fault that was injected, on the machine's steady clock.

    Attributes:
        time: s.
        words: such as `SERVO_JOINT`, `SET_STATE 4`, `FAULT estop`.
        joints: (7,) rad of a servo command, else None.
        accepted: whether the box obeyed.
    """

    time: float
    words: str
    joints: np.ndarray | None
    accepted: bool


@dataclass
class BoxLog:
    """Everything the box received, in order, and what must hold of it."""

    entries: list[Entry] = field(default_factory=list)

    def add(self, message: JointState) -> None:
        joints = np.array(message.position) if len(message.position) else None
        self.entries.append(
            Entry(seconds(message.header.stamp), message.header.frame_id, joints, bool(message.effort[0]))
        )

    def commands(self, since: float = 0.0) -> list[Entry]:
        """Servo commands received after `since`."""
        return [e for e in self.entries if e.joints is not None and e.time > since]

    def last(self, words: str) -> Entry | None:
        return next((e for e in reversed(self.entries) if e.words == words), None)

    def travelled(self, since: float) -> float:
        """rad, the longest way any joint was sent after `since`."""
        targets = np.array([e.joints for e in self.commands(since)])
        return float(np.abs(np.diff(targets, axis=0)).sum(axis=0).max()) if len(targets) > 1 else 0.0

    def check_limits(self) -> None:
        """I1: every command is finite and within the embodiment's limits."""
        for e in self.commands():
            assert np.isfinite(e.joints).all(), e
            assert (e.joints >= ARM.bounds.lower - ROUNDING).all() and (
                e.joints <= ARM.bounds.upper + ROUNDING
            ).all(), e

    def check_steps(self) -> None:
        """I2: no step beyond v_max dt, and over no window of time more than v_max allows plus one period."""
        for stretch in self._stretches():
            times = np.array([e.time for e in stretch])
            places = np.array([e.joints for e in stretch]).reshape(-1, 7)
            steps = np.abs(np.diff(places, axis=0)).max(axis=1, initial=0.0)
            worst = int(np.argmax(steps)) if len(steps) else 0
            assert steps.max(initial=0.0) <= ARM.max_velocity * PERIOD + ROUNDING, (
                f"a step of {steps[worst]:.4f} rad, {times[worst + 1] - times[worst]:.4f} s after the one before"
            )
            for width in (2, 5, 10, 20, 50):
                ways = np.abs(places[width:] - places[:-width]).max(axis=1, initial=0.0)
                allowed = ARM.max_velocity * (times[width:] - times[:-width] + PERIOD) + ROUNDING
                assert (ways <= allowed).all(), f"{(ways - allowed).max():.4f} rad too far within {width} commands"

    def check_rate(self) -> None:
        """No burst: in 100 ms no more commands than periods, and a few for jitter; a repeated one counts once."""
        for stretch in self._stretches():
            times = [a.time for a, b in pairwise(stretch) if not np.array_equal(a.joints, b.joints)]
            most = round(0.1 / PERIOD) + 3
            spans = [later - first for first, later in zip(times, times[most:], strict=False)]
            assert min(spans, default=1.0) > 0.1, f"{most + 1} commands within {1e3 * min(spans):.0f} ms"

    def check_rest(self, since: float, until: float) -> None:
        """I3: between a stop and the next arming nothing moves: no servo command, and none of another kind.

        A command may be on its way when the stop happens; the box refuses it, and it is one at most.
        """
        moves = [e for e in self.entries if since < e.time < until and _moves(e)]
        assert not [e for e in moves if e.accepted], moves
        assert len(moves) <= 1 and all(e.time < since + 2 * PERIOD for e in moves), moves

    def _stretches(self) -> Iterator[list[Entry]]:
        """Commands between one arming and the next."""
        stretch: list[Entry] = []
        for e in self.entries:
            if e.words == ARMING:
                yield stretch
                stretch = []
            elif e.joints is not None:
                stretch.append(e)
        yield stretch


def _moves(entry: Entry) -> bool:
    return entry.words.split(" ")[0].split("_")[0] in ("SERVO", "MOVE")


class ChunkSource:
    """Publishes plans of one second twice a second: a sway of every joint about a place, the gripper too."""

    def __init__(self, watching: Watcher) -> None:
        self._node = watching.node
        self._publisher = self._node.create_publisher(JointTrajectory, "action_chunk", COMMAND)
        self._running = threading.Event()
        self._thread: threading.Thread | None = None
        self._begin = 0.0
        self.sway = 0.2  # rad
        self.place = np.zeros(7)  # rad

    def start(self, place: np.ndarray) -> None:
        """Sway about (7,) rad, from rest."""
        self.stop()
        self.place, self._begin = np.asarray(place), self.now()
        self._running.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._running.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def now(self) -> float:
        return self._node.get_clock().now().nanoseconds * 1e-9

    def send(self) -> None:
        """One plan from now on."""
        stamp, times = self.now(), np.arange(1, 11) / 10
        share = np.sin(np.pi * (stamp + times - self._begin) / 2)  # 4 s a sway
        joints = self.place + self.sway * share[:, None]
        values = np.column_stack([joints, 0.5 + 0.4 * share])
        self._publisher.publish(chunk_message(ActionChunk(stamp, SPACE.names, values, times)))

    def _run(self) -> None:
        while self._running.is_set():
            self.send()
            time.sleep(0.5)


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
