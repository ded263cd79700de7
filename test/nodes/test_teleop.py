"""Devices that move the simulated robot through the running graph: keys, pads, leader arms, the scripted expert."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import pytest
from fault_graph import ARM, FaultGraph, fault_graph
from gamepad import Gamepad
from screen import Screen
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from himoe_ros.core.messages import seconds
from himoe_ros.nodes.conversions import joint_message
from himoe_ros.nodes.managed import LATCHED, RECORD
from himoe_ros.resources import config
from himoe_ros.teleop.pad import ABS, KEY
from himoe_ros.trials.judge import Judge
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.truth import truth_from_state


class Robot(FaultGraph):
    """A controller that follows end-effector plans; tests start who makes them."""

    def make_source(self) -> None:
        return None

    def tool(self) -> np.ndarray:
        """(3,) m, measured."""
        return ARM.forward(np.array(self.joints[-1].position[:7]))[:3, 3]

    def opening(self) -> float:
        return ARM.gripper.opening(self.joints[-1].position[7])

    def go_home(self) -> None:
        assert self.watching.call("controller/home").success
        home = ARM.bounds.rest
        at_home = lambda: np.abs(np.array(self.joints[-1].position[:7]) - home).max() < 1e-2  # noqa: E731
        self.watching.wait(lambda: self.mode() == "disarmed" and at_home(), 15.0)

    @contextlib.contextmanager
    def device(self, name: str, **parameters: object):
        """A teleop node, armed from home; ended and disarmed afterwards."""
        self.go_home()
        self.start(name, embodiment="xarm7", action_space="end_effector", **parameters)
        try:
            yield
        finally:
            self.watching.call("controller/disarm")
            self.end(name)
            self.check_always()

    def armed(self) -> None:
        self.watching.wait(lambda: self.arm().success, 20.0)


@pytest.fixture(scope="module")
def robot(tmp_path_factory):
    with fault_graph(tmp_path_factory.mktemp("teleop"), Robot, action_space="end_effector") as graph:
        yield graph


@pytest.fixture
def gamepad(tmp_path):
    pad = Gamepad(tmp_path)
    yield pad
    pad.close()


def test_a_gamepad_moves_the_tool_while_it_is_pushed(robot, gamepad):
    with robot.device("teleop_pad", device="gamepad", device_file=str(gamepad.path)):
        robot.armed()
        begin = robot.tool()
        gamepad.push((ABS, "ABS_Y", -32768))
        time.sleep(0.5)
        assert robot.tool() == pytest.approx(begin, abs=2e-3), "nothing moves unless the button is held"
        gamepad.push((KEY, "BTN_TR", 1))
        robot.watching.wait(lambda: robot.tool()[0] > begin[0] + 0.1, 5.0)
        gamepad.push((ABS, "ABS_Y", 0), (KEY, "BTN_SOUTH", 1))
        released, furthest = time.monotonic(), 0.0
        while time.monotonic() < released + 0.7:
            furthest = max(furthest, robot.tool()[0])
            time.sleep(0.01)
        rest = robot.tool()
        assert furthest - rest[0] < 8e-3, "it need not turn back"
        robot.watching.wait(lambda: robot.opening() < 0.05, 3.0)
        assert np.linalg.norm(robot.tool() - rest) < 5e-3
        assert abs(rest[1] - begin[1]) < 5e-3 and abs(rest[2] - begin[2]) < 5e-3, "straight ahead"


def test_keys_over_a_terminal_arm_jog_and_disarm(robot):
    robot.go_home()
    with Screen("teleop", "xarm7", "--log-level", "error") as screen:
        screen.see("gripper open")
        screen.press("\r")
        screen.see("armed: ")  # "not armed: ..." too, where the controller has not yet heard of this source
        while robot.mode() == "disarmed":
            screen.press("\r")
            screen.see("armed: ")
        screen.see("running")
        begin = robot.tool()
        screen.press("+")
        for _ in range(10):
            screen.press("a")
            time.sleep(0.06)
        robot.watching.wait(lambda: abs(robot.tool()[1] - begin[1] - 0.06) < 3e-3, 5.0)
        was_open = robot.opening() > 0.5
        screen.press(" ")
        screen.see(f"gripper {'closed' if was_open else 'open'}")
        robot.watching.wait(lambda: robot.opening() < 0.05 if was_open else robot.opening() > 0.95, 3.0)
        screen.press("x")
        screen.see("disarmed")
        screen.press("q")
        assert screen.ended() == 0
    robot.check_always()


def test_a_robot_follows_its_leader_once_they_are_near(robot):
    joints = np.append(ARM.bounds.rest, 0.0)
    gello = robot.watching.node.create_publisher(JointState, "gello/joint_states", RECORD)
    clock = robot.watching.node.get_clock()
    names = (*ARM.joints, "gripper")
    place = joints + 0.5
    timer = robot.watching.node.create_timer(
        0.02, lambda: gello.publish(joint_message(names, place, clock.now().nanoseconds * 1e-9))
    )
    try:
        with robot.device("teleop_leader", device="gello_xarm7"):
            robot.watching.wait(lambda: "bring the leader within 0.3 rad" in robot.arm().message, 20.0)
            place[:] = joints
            robot.armed()
            place[0] += 0.25
            place[7] = 0.5
            goal = ARM.forward(place[:7])[:3, 3]
            robot.watching.wait(lambda: np.linalg.norm(robot.tool() - goal) < 5e-3, 5.0)
            robot.watching.wait(lambda: abs(robot.opening() - 0.5) < 0.05, 3.0)
            timer.cancel()
            robot.holds("holding", 3.0)
            place[0] -= 0.45  # put down elsewhere, as far as the guard would let it jump
            timer.reset()
            time.sleep(1.0)
            robot.sentinel()
            rest = time.monotonic()
            time.sleep(0.5)
            robot.sentinel()
            assert robot.log.travelled(rest) < 2e-3, "a robot at rest follows only a leader that is near"
            assert "bring the leader within 0.3 rad" in str(robot.watching.diagnostics["/teleop_leader"])
    finally:
        timer.cancel()
        robot.watching.node.destroy_timer(timer)
        robot.watching.node.destroy_publisher(gello)


def test_the_expert_does_what_it_is_told(robot):
    protocol = load_protocol("xarm7/fruit_to_plate", config("trials"))
    asked = protocol.settings["orange_blue"]
    judge = Judge(protocol, asked)

    def watch(message: JointState) -> None:
        now = seconds(message.header.stamp)
        judge.observe(truth_from_state(now, [ARM], message.name, message.position, message.velocity))

    state = robot.watching.node.create_subscription(JointState, "sim/state", watch, RECORD)
    say = robot.watching.node.create_publisher(String, "instruction", LATCHED)
    try:
        with robot.device("sim_expert", protocol=protocol.name, seed=1):
            robot.watching.wait(lambda: "expected an instruction out of" in robot.arm().message, 20.0)
            say.publish(String(data=asked.instruction))
            robot.armed()
            robot.watching.wait(lambda: judge.verdict.success, 30.0)
            assert judge.verdict.stages["pick"] and not judge.verdict.wrong_object
    finally:
        robot.watching.node.destroy_subscription(state)
        robot.watching.node.destroy_publisher(say)
