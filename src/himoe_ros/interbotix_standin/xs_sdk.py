"""What the vendor's xs_sdk node offers of one follower: services, commands and joint states, over simulated motors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from rcl_interfaces.msg import SetParametersResult
from rcl_interfaces.srv import SetParameters
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.node import Node
from rclpy.parameter import parameter_value_to_python
from rclpy.task import Future
from sensor_msgs.msg import JointState

SERVICES = ("set_operating_modes", "torque_enable", "reboot_motors", "set_motor_registers", "get_robot_info")
PARTS = {"arm": "position", "gripper": "current_based_position"}  # -> the mode in which it obeys positions


class Motors(Protocol):
    """An arm of J joints and its gripper."""

    def positions(self) -> Mapping[str, float]:
        """Joint name -> rad, `gripper` among them; m for fingers."""

    def command(self, part: str, positions: Sequence[float]) -> None:
        """The part goes there: (J,) rad for `arm`, one for `gripper`."""


class XsSdk:
    """One follower. Its motors obey where torque is on and the mode is one of positions; without, they keep still.

    Attributes:
        asked: (service, values) in the order in which they came.
        torque, modes: of each part.
        silent: whether it has stopped telling where the joints are.
        mute: services that do not answer.
    """

    def __init__(
        self, node: Node, name: str, joints: Sequence[str], motors: Motors, stamp: Callable[[], object] | None = None
    ) -> None:
        """
        Args:
            node: that serves it.
            name: of the robot, such as follower_left.
            joints: of the arm, base to tip.
            motors: behind it.
            stamp: ROS time now; of the node's clock without it.
        """
        self.asked: list[tuple[str, dict]] = []
        self.torque = dict.fromkeys(PARTS, False)
        self.modes = dict.fromkeys(PARTS, "pwm")
        self.profiles = dict.fromkeys(PARTS, "velocity")
        self.current_limit = 1193  # of the gripper, a new motor's
        self.silent, self.mute = False, set[str]()
        self._joints, self._motors, self._answer = tuple(joints), motors, Future()
        self._stamp = stamp or (lambda: node.get_clock().now().to_msg())
        group = ReentrantCallbackGroup()
        self._told = node.create_publisher(JointState, f"/{name}/joint_states", 10)
        for service in SERVICES:
            node.create_service(SetParameters, f"/{name}/{service}", self._handler(service), callback_group=group)
        for kind in ("joint_group", "joint_single"):
            topic = f"/{name}/commands/{kind}"
            node.create_subscription(JointState, topic, self._command, 10, callback_group=group)

    def tell(self) -> None:
        """Publish where the joints are; in an order of its own, as the vendor's node does."""
        if self.silent:
            return
        told = dict(sorted(self._motors.positions().items()))
        message = JointState(name=list(told), position=list(map(float, told.values())))
        message.header.stamp = self._stamp()
        self._told.publish(message)

    def close(self) -> None:
        """Let whoever waits for an answer go."""
        self._answer.set_result(None)

    def _handler(self, service: str) -> Callable:
        async def handle(request: SetParameters.Request, response: SetParameters.Response) -> SetParameters.Response:
            values = {p.name: parameter_value_to_python(p.value) for p in request.parameters}
            if service in self.mute:
                await self._answer
            self.asked.append((service, values))
            self._do(service, values)
            part = str(values["name"])
            told = (" ".join(self._joints), self.modes[part], self.profiles[part])
            response.results = [SetParametersResult(successful=True, reason=text) for text in told]
            return response

        return handle

    def _do(self, service: str, values: Mapping[str, object]) -> None:
        part = str(values["name"])
        if service == "set_operating_modes":  # switches torque off and on, whatever it was before
            self.modes[part], self.profiles[part] = str(values["mode"]), str(values["profile_type"])
            self.torque[part] = True
        elif service == "torque_enable":
            self.torque[part] = bool(values["enable"])
        elif service == "reboot_motors":
            self.torque[part] = False
        elif service == "set_motor_registers" and not self.torque[part]:  # the EEPROM is locked while torque is on
            self.current_limit = int(str(values["value"]))

    def _command(self, message: JointState) -> None:
        part = message.name[0]
        if self.torque[part] and self.modes[part] == PARTS[part]:
            self._motors.command(part, list(message.position))
