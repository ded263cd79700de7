"""Measures the running graph from outside: what cameras sent and the policy got, rates, latencies."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from ..bench.latency import joined, spread, sums
from ..core.errors import HimoeError
from ..core.messages import seconds
from .conversions import message_timing
from .managed import LATCHED, RECORD, ManagedNode, run

READY_WITHIN_S = 60.0
SETTLE_S = 2.5  # every node has told its counts once more by then


class GraphProbe(ManagedNode):
    """Pauses the cameras before and after, so that both ends count the same images."""

    def __init__(self) -> None:
        super().__init__("graph_probe")
        self._worker = self.worker("probe")
        self._collecting = False
        self._seconds = self.parameter("seconds", 60.0)
        self._json = self.parameter("json", "")
        self._cameras = self.require("cameras_node", "the name of the node that publishes the images")
        self._moves = self.parameter("robot_moves", True)
        self._sent_on = self.parameter("commands", "sim/commands")  # a topic
        self._values: dict[str, dict[str, str]] = {}
        self._stamps: dict[str, list[float]] = {"joint_states": [], "commands": []}
        self._first_command_ms: list[float] = []
        self._parts: dict[str, dict[float, dict[str, float]]] = {"chunk_timing": {}, "controller/chunk_timing": {}}

    def setup(self) -> None:
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        self.create_subscription(JointState, "joint_states", lambda m: self._on_stamp("joint_states", m), RECORD)
        self.create_subscription(JointState, self._sent_on, lambda m: self._on_stamp("commands", m), RECORD)
        for topic, parts in self._parts.items():
            self.create_subscription(DiagnosticStatus, topic, partial(self._on_timing, parts), RECORD)
        self._instruction = self.create_publisher(String, "instruction", LATCHED)
        self._arm = self.create_client(Trigger, "controller/arm")
        self._change = self.create_client(ChangeState, f"{self._cameras}/change_state")

    def begin(self) -> None:
        self._worker.start(self._session)

    def end(self) -> None:
        self._worker.stop()

    def _session(self) -> None:
        try:
            figures = self._measure()
        except HimoeError as error:
            print(f"error: {error}", file=sys.stderr, flush=True)
            self.exit_code = 2
            return
        for name, value in figures.items():
            print(f"  {name:<52} {value}")
        if self._json:
            Path(self._json).write_text(json.dumps(figures, indent=1))
        self.exit_code = 0

    def _measure(self) -> dict[str, object]:
        self._instruction.publish(String(data="Pick up the apple and place it onto the blue plate"))
        self._wait(lambda: self._received() > 0, "the policy received no image")
        if self._moves:
            self._wait(lambda: float(self._of("controller").get("chunks", 0)) > 0, "the controller got no chunk")
            self._arm_robot()
        self._transition(Transition.TRANSITION_DEACTIVATE)
        sent, received = self._counts()
        self._transition(Transition.TRANSITION_ACTIVATE)
        self._sleep(1.0)
        self._collecting = True
        begin = time.monotonic()
        self._sleep(self._seconds)
        self._collecting = False
        lasted = time.monotonic() - begin
        self._transition(Transition.TRANSITION_DEACTIVATE)
        sent_after, received_after = self._counts()
        images, got = sent_after - sent, received_after - received
        cameras = sum(key.startswith("images ") for key in self._of(self._cameras))
        figures: dict[str, object] = {
            "measured, s": round(lasted, 1),
            "cameras": cameras,
            "images sent": images,
            "images a second and camera": round(images / cameras / (lasted + 1.0), 2),
            "share delivered to the policy": round(got / images, 4),
            "joint_states, Hz": round(_rate(self._stamps["joint_states"]), 2),
        }
        if self._moves:
            figures |= _distribution("servo command period, ms", 1e3 * np.diff(self._stamps["commands"]))
            figures |= _distribution("camera stamp to first command, ms", self._first_command_ms)
            plans = joined(*self._parts.values())
            for name, took in sums(plans).items():
                figures |= _distribution(f"{name}, ms", [1e3 * s for s in took])
            figures["parts, ms: median, p99"] = spread(plans)
        return figures

    def _arm_robot(self) -> None:
        """The source of chunks tells once a second whether it is ready: what it told last may be old."""
        deadline = time.monotonic() + READY_WITHIN_S
        while True:
            try:
                return self._request(self._arm, Trigger.Request())
            except HimoeError:
                if time.monotonic() > deadline:
                    raise
            self._sleep(0.5)

    def _counts(self) -> tuple[float, float]:
        """Images sent and received so far, told after the cameras have paused."""
        self._sleep(SETTLE_S)
        return _images(self._of(self._cameras)), self._received()

    def _received(self) -> float:
        return _images(self._of("policy"))

    def _of(self, node: str) -> dict[str, str]:
        return next((v for name, v in self._values.items() if name.endswith(node)), {})

    def _transition(self, transition: int) -> None:
        self._request(self._change, ChangeState.Request(transition=Transition(id=transition)))

    def _request(self, client, request) -> None:
        self._wait(client.service_is_ready, f"service {client.srv_name} did not appear")
        future = client.call_async(request)
        self._wait(future.done, f"service {client.srv_name} did not answer")
        if not future.result().success:
            raise HimoeError(f"service {client.srv_name} refused: {future.result()}")

    def _wait(self, condition: Callable[[], bool], failure: str) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        while not condition():
            if time.monotonic() > deadline:
                raise HimoeError(f"{failure} within {READY_WITHIN_S:.0f} s")
            self._sleep(0.05)

    def _sleep(self, duration: float) -> None:
        end = time.monotonic() + duration
        while (left := end - time.monotonic()) > 0:
            if not self._worker.running:
                raise HimoeError("the measurement was interrupted")
            time.sleep(min(0.1, left))

    def _on_stamp(self, name: str, message: JointState) -> None:
        if self._collecting:
            self._stamps[name].append(seconds(message.header.stamp))

    def _on_timing(self, parts: dict[float, dict[str, float]], message: DiagnosticStatus) -> None:
        if self._collecting:
            stamp, told = message_timing(message)
            parts[round(stamp, 4)] = told

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            self._values[status.name] = values
            if self._collecting:
                self._first_command_ms += [float(v) for v in values.get("first_command_ms", "").split()]


def _images(values: dict[str, str]) -> float:
    return sum(float(v) for k, v in values.items() if k.startswith("images "))


def _rate(stamps: Sequence[float]) -> float:
    return (len(stamps) - 1) / (stamps[-1] - stamps[0]) if len(stamps) > 1 else 0.0


def _distribution(name: str, values: Sequence[float]) -> dict[str, object]:
    if len(values) == 0:
        return {name: "none seen"}
    middle, high = np.percentile(values, [50, 99])
    return {f"{name}: median": round(float(middle), 2), f"{name}: p99": round(float(high), 2)}


def main() -> None:
    run(GraphProbe)


if __name__ == "__main__":
    main()
