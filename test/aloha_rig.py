"""Two ALOHA followers with ideal motors, each behind a FAKE of the xs_sdk node, for the tests of the driver."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import rclpy
from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor
from rclpy.parameter import parameter_value_to_python
from sensor_msgs.msg import JointState

FAKES = Path(__file__).parent / "fakes"
JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
SLEEP = (0.0, -1.80, 1.55, 0.0, -1.57, 0.0)  # rad
PERIOD_S = 0.01
SPEED = 3.0  # rad/s, of every motor
SERVICES = ("set_operating_modes", "torque_enable", "reboot_motors", "set_motor_registers", "get_robot_info")


class FakeXsSdk:
    """One follower. Its motors move where torque is on and the mode is one of positions.

    Attributes:
        asked: (service, values) in the order in which they came.
        positions: rad, arm and gripper.
        silent: whether it has stopped telling where the joints are.
        mute: services that never answer.
    """

    def __init__(self, name: str, gripper: float = 1.0, joints: tuple[str, ...] = JOINTS) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.positions = np.array([*SLEEP[: len(joints)], gripper])
        self.target = self.positions.copy()
        self.torque = {"arm": False, "gripper": False}
        self.modes = {"arm": "pwm", "gripper": "pwm"}
        self.silent, self.mute = False, set()
        self._joints, self._answer = joints, threading.Event()
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(f"xs_sdk_{name}", context=self._context)
        self._told = self._node.create_publisher(JointState, f"/{name}/joint_states", 10)
        for service in SERVICES:
            self._node.create_service(SetParameters, f"/{name}/{service}", self._handler(service))
        for kind in ("joint_group", "joint_single"):
            self._node.create_subscription(JointState, f"/{name}/commands/{kind}", self._command, 10)
        self._node.create_timer(PERIOD_S, self._step)
        self._executor = MultiThreadedExecutor(4, context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._answer.set()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(1.0)
        self._node.destroy_node()
        self._context.shutdown()

    def _handler(self, service: str):
        def handle(request, response):
            values = {p.name: parameter_value_to_python(p.value) for p in request.parameters}
            if service in self.mute:
                self._answer.wait(30.0)
            self.asked.append((service, values))
            name = values["name"]
            if service == "set_operating_modes":  # switches torque off and on, whatever it was before
                self.modes[name], self.torque[name] = values["mode"], True
            elif service == "torque_enable":
                self.torque[name] = values["enable"]
            elif service == "reboot_motors":
                self.torque[name] = False
            response.results = [SetParametersResult(successful=True, reason=" ".join(self._joints))]
            return response

        return handle

    def _command(self, message: JointState) -> None:
        part = message.name[0]
        if not self.torque[part] or self.modes[part] not in ("position", "current_based_position"):
            return
        if part == "arm":
            self.target[:-1] = message.position
        else:
            self.target[-1] = message.position[0]

    def _step(self) -> None:
        reach = SPEED * PERIOD_S
        self.positions = self.positions + np.clip(self.target - self.positions, -reach, reach)
        if not self.silent:
            arm, gripper = self.positions[:-1].tolist(), float(self.positions[-1])
            names = ["gripper", "left_finger", *reversed(self._joints), "right_finger"]  # by name, not by place
            state = JointState(name=names, position=[gripper, 0.02, *reversed(arm), -0.02])
            state.header.stamp = self._node.get_clock().now().to_msg()
            self._told.publish(state)


def use_fakes() -> None:
    """From now on Interbotix's packages are the fakes."""
    if str(FAKES) not in sys.path:
        sys.path.insert(0, str(FAKES))
