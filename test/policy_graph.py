"""The running graph with a policy; its cameras and joint states are played by the test, so that they can fail."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable, Sequence

import numpy as np
from fault_graph import XARM7, FaultGraph
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float32MultiArray, String

from himoe_ros.nodes.conversions import image_message
from himoe_ros.nodes.managed import LATCHED, RECORD, SENSOR

RATE_HZ = 20.0
SHAPE = (120, 160, 3)  # px
RELAYED = "relayed/joint_states"


class Sensors:
    """Cameras that show a still scene with sensor noise, and a relay of the robot's joint states to the policy."""

    def __init__(self, graph: FaultGraph) -> None:
        self.work()
        node = graph.watching.node
        self._clock = node.get_clock()
        self._cameras = {c.name: node.create_publisher(Image, c.topic, SENSOR) for c in XARM7.cameras}
        self._relayed = node.create_publisher(JointState, RELAYED, RECORD)
        node.create_subscription(JointState, "joint_states", self._relay, RECORD)
        self._rng = np.random.default_rng(0)
        self._scene = self._rng.integers(20, 230, SHAPE, dtype=np.uint8)
        self._running = threading.Event()
        self._running.set()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def work(self) -> None:
        """Every fault is over."""
        self.picture: Callable[[str, Image], Sequence[Image]] = lambda camera, message: [message]
        self.joints: Callable[[JointState], Sequence[JointState]] = lambda message: [message]

    def close(self) -> None:
        self._running.clear()
        self._thread.join()

    def _run(self) -> None:
        while self._running.is_set():
            for name, publisher in self._cameras.items():
                noise = self._rng.integers(-2, 3, SHAPE, dtype=np.int8)
                noisy = np.clip(self._scene + noise.astype(np.int16), 0, 255).astype(np.uint8)
                message = image_message(noisy, self._clock.now().nanoseconds * 1e-9, name)
                for changed in self.picture(name, message):
                    publisher.publish(changed)
            time.sleep(1 / RATE_HZ)

    def _relay(self, message: JointState) -> None:
        for changed in self.joints(copy.deepcopy(message)):
            self._relayed.publish(changed)


class PolicyGraph(FaultGraph):
    """Controller, box and policy; the untrained policy moves the robot a little."""

    remap: tuple[str, ...] = ()  # of the policy

    def make_source(self) -> None:
        return None

    def begin(self) -> None:
        """Play the sensors, start the policy and tell it what to do."""
        self.sensors = Sensors(self)
        node = self.watching.node
        self._instruction = node.create_publisher(String, "instruction", LATCHED)
        self._instruction.publish(String(data="Pick up the apple"))
        self.unified: list[Float32MultiArray] = self.watching.collect(Float32MultiArray, "unified_state")
        self.start_policy()
        self.watching.wait(self.planning, 40.0)

    def planning(self) -> bool:
        """Whether the policy has begun to plan."""
        return bool(self.chunks)

    def start_policy(self, module: str = "", **parameters: object) -> None:
        usual = {"embodiment": "xarm7", "action_space": "joints", "replan_period_s": 0.25}
        self.start("policy", module, (f"joint_states:={RELAYED}", *self.remap), **{**usual, **parameters})

    def restart_policy(self, module: str = "", passed: bool = True, **parameters: object) -> None:
        """End the policy, where it still runs, and wait for another one's plans; where none may pass, for its word."""
        self.end("policy")
        plans = len(self.chunks)
        self.watching.diagnostics.pop("/policy", None)
        self.start_policy(module, **parameters)
        self.watching.wait(
            lambda: len(self.chunks) > plans + 2 if passed else "/policy" in self.watching.diagnostics, 40.0
        )

    def run(self) -> None:
        """From home, armed, until it moves."""
        assert self.watching.call("controller/home").success
        self.holds("disarmed", 15.0)
        begin = time.monotonic()
        self.watching.wait(lambda: self.arm().success, 20.0)
        self.watching.wait(lambda: self.log.travelled(begin) > 0.05, 10.0)

    def complained(self, node: str, words: str, since: float, within: float) -> float:
        """I4: wait for a diagnostic of another node; s it took."""
        self.watching.wait(lambda: words in self.watching.diagnostics.get(f"/{node}", ("", {}))[0], within + 1.0)
        took = time.monotonic() - since
        assert took <= within, f"told after {took:.2f} s"
        return took

    def close(self) -> None:
        self.sensors.close()
        super().close()
