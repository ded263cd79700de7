"""A person takes over from a running policy, and gives back: one source for the controller, and no blow."""

from __future__ import annotations

import time

import numpy as np
from fault_graph import ARM, FaultGraph, fault_graph
from gamepad import Gamepad
from policy_graph import PolicyGraph
from std_msgs.msg import Bool

from himoe_ros.nodes.managed import LATCHED
from himoe_ros.teleop.pad import ABS, KEY

BLOW = 0.7 * ARM.max_velocity * 0.01  # rad; from rest to full speed would be 0.01


class Shared(PolicyGraph):
    """The policy's plans pass through a gamepad's node."""

    remap = ("action_chunk:=policy/action_chunk", "chunk_source:=policy/chunk_source")

    def begin(self) -> None:
        self.gamepad = Gamepad(self._folder)
        pad = {"device": "gamepad", "device_file": str(self.gamepad.path)}
        self.start("teleop_pad", embodiment="xarm7", action_space="joints", over_policy=True, **pad)
        super().begin()

    def close(self) -> None:
        super().close()
        self.gamepad.close()


def test_a_person_takes_over_from_a_policy_and_gives_back(tmp_path):
    with fault_graph(tmp_path, Shared) as graph:
        push, taken = graph.gamepad.push, []
        graph.watching.node.create_subscription(Bool, "intervention", lambda m: taken.append(m.data), LATCHED)
        graph.run()
        took = time.monotonic()
        push((KEY, "BTN_WEST", 1), (KEY, "BTN_WEST", 0))
        graph.watching.wait(lambda: taken[-1:] == [True], 3.0)
        time.sleep(0.5)
        graph.sentinel()
        rest = time.monotonic()
        time.sleep(0.5)
        graph.sentinel()
        assert graph.log.travelled(rest) < 2e-3, "whoever took over has not moved a thing"
        assert graph.mode() == "running"
        push((KEY, "BTN_TR", 1), (ABS, "ABS_RY", -32768))
        graph.watching.wait(lambda: graph.log.travelled(rest) > 0.05, 3.0)
        push((KEY, "BTN_TR", 0), (KEY, "BTN_WEST", 1))
        graph.watching.wait(lambda: taken[-1:] == [False], 3.0)
        back = time.monotonic()
        graph.watching.wait(lambda: graph.log.travelled(back) > 0.05, 10.0)
        graph.check_always()
        assert fastest_change(graph, took) < BLOW, "neither change is a blow"
        assert graph.watching.call("controller/disarm").success


def fastest_change(graph: FaultGraph, since: float) -> float:
    """rad, by which a joint's step in a tick differs from that before; ticks are not equally long."""
    places = np.array([e.joints for e in graph.log.commands(since)])
    return float(np.abs(np.diff(places, n=2, axis=0)).max())
