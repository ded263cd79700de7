"""A person takes over from a running policy, and gives back: one source for the controller, and no blow."""

from __future__ import annotations

import signal
import time

import pytest
from fault_graph import fault_graph
from gamepad import Gamepad
from policy_graph import PolicyGraph
from std_msgs.msg import Bool

from himoe_ros.nodes.managed import LATCHED
from himoe_ros.teleop.pad import ABS, KEY


class Shared(PolicyGraph):
    """The policy's plans pass through a gamepad's node."""

    remap = ("action_chunk:=policy/action_chunk", "chunk_source:=policy/chunk_source")

    def begin(self) -> None:
        self.gamepad = Gamepad(self._folder)
        pad = {"device": "gamepad", "device_file": str(self.gamepad.path)}
        self.start("teleop_pad", embodiment="xarm7", action_space="joints", over_policy=True, **pad)
        super().begin()

    def planning(self) -> bool:
        """Before arming no plan passes, so by its word."""
        return "/policy" in self.watching.diagnostics

    def close(self) -> None:
        super().close()
        self.gamepad.close()


def half_a_second(graph: Shared) -> float:
    """rad, how far half a second's commands go."""
    since = time.monotonic()
    time.sleep(0.5)
    graph.sentinel()
    return graph.log.travelled(since)


def test_a_person_takes_over_from_a_policy_and_gives_back(tmp_path):
    with fault_graph(tmp_path, Shared) as graph:
        push, taken = graph.gamepad.push, []
        graph.watching.node.create_subscription(Bool, "intervention", lambda m: taken.append(m.data), LATCHED)
        graph.run()
        push((KEY, "BTN_WEST", 1), (KEY, "BTN_WEST", 0))
        graph.watching.wait(lambda: taken[-1:] == [True], 3.0)
        began = time.monotonic()
        while (moved := half_a_second(graph)) >= 2e-3:
            assert time.monotonic() - began < 4.0, f"nobody moved a thing, and the robot goes on: {moved} rad"
        rest = time.monotonic()
        assert graph.mode() == "running"
        push((KEY, "BTN_TR", 1), (ABS, "ABS_RY", -32768))
        graph.watching.wait(lambda: graph.log.travelled(rest) > 0.05, 3.0)
        push((KEY, "BTN_TR", 0), (KEY, "BTN_WEST", 1))
        graph.watching.wait(lambda: taken[-1:] == [False], 3.0)
        back = time.monotonic()
        graph.watching.wait(lambda: graph.log.travelled(back) > 0.05, 10.0)
        graph.check_always()
        assert graph.watching.call("controller/disarm").success


@pytest.mark.slow
def test_11_a_policy_behind_a_person_disarms_when_it_dies_and_moves_nothing_when_it_is_back(tmp_path):
    """Protected by the SourceWatch of the node that stands before it."""
    with fault_graph(tmp_path, Shared) as graph:
        graph.run()
        killed = time.monotonic()
        graph.end("policy", signal.SIGKILL)
        graph.holds("disarmed", 8.0)
        graph.told("disarmed by an operator", killed, 9.0)
        rest = graph.sentinel()
        graph.restart_policy(passed=False)
        time.sleep(1.5)
        graph.log.check_rest(rest, graph.sentinel())
        assert graph.mode() == "disarmed"
        graph.watching.wait(lambda: graph.arm().success, 10.0)
        graph.check_always()
