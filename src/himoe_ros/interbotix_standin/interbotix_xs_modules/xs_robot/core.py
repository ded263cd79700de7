"""A stand-in for Interbotix's package of this name: as much as the driver uses, with the real one's traps.

Services are of standard types here, since the real messages are in no registry: what is asked for travels as
parameters. The other side is xs_sdk.py.
"""

from types import SimpleNamespace

import rclpy
from rcl_interfaces.srv import SetParameters
from rclpy.logging import LoggingSeverity
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

CALLS = ("set_operating_modes", "torque_enable", "reboot_motors", "set_motor_registers", "get_robot_info")


class InterbotixRobotXSCore:
    def __init__(
        self,
        robot_model,
        robot_name=None,
        topic_joint_states="joint_states",
        logging_level=LoggingSeverity.INFO,
        node_name="interbotix_robot_manipulation",
        node=None,
        args=None,
    ):
        self.robot_node, self.joint_states = node, None
        self._clients = {name: node.create_client(SetParameters, f"/{robot_name}/{name}") for name in CALLS}
        for client in self._clients.values():
            client.wait_for_service()  # without end
        self._group = node.create_publisher(JointState, f"/{robot_name}/commands/joint_group", 10)
        self._single = node.create_publisher(JointState, f"/{robot_name}/commands/joint_single", 10)
        node.create_subscription(JointState, f"/{robot_name}/{topic_joint_states}", self._joint_state_cb, 1)
        while self.joint_states is None and rclpy.ok():
            rclpy.spin_once(node)  # without end

    def get_node(self):
        return self.robot_node

    def robot_set_operating_modes(
        self, cmd_type, name, mode, profile_type="velocity", profile_velocity=0, profile_acceleration=0
    ):
        self._ask("set_operating_modes", cmd_type=cmd_type, name=name, mode=mode, profile_type=profile_type)

    def robot_set_motor_registers(self, cmd_type, name, reg, value):
        self._ask("set_motor_registers", cmd_type=cmd_type, name=name, reg=reg, value=value)

    def robot_torque_enable(self, cmd_type, name, enable):
        self._ask("torque_enable", cmd_type=cmd_type, name=name, enable=enable)

    def robot_reboot_motors(self, cmd_type, name, enable, smart_reboot=False):
        self._ask("reboot_motors", cmd_type=cmd_type, name=name, enable=enable)

    def robot_get_robot_info(self, cmd_type, name):
        told = self._ask("get_robot_info", cmd_type=cmd_type, name=name)
        joints, mode, profile = (one.reason for one in told.results)
        return SimpleNamespace(joint_names=joints.split(), mode=mode, profile_type=profile)

    def robot_write_commands(self, group_name, commands):
        self._group.publish(JointState(name=[group_name], position=[_plain(value) for value in commands]))

    def robot_write_joint_command(self, joint_name, command):
        self._single.publish(JointState(name=[joint_name], position=[_plain(command)]))

    def _joint_state_cb(self, msg):
        self.joint_states = msg

    def _ask(self, service, **values):
        request = SetParameters.Request(
            parameters=[Parameter(k, value=v).to_parameter_msg() for k, v in values.items()]
        )
        future = self._clients[service].call_async(request)
        self.robot_node.wait_until_future_complete(future)
        return future.result()


def _plain(value):
    assert type(value) is float, f"{type(value)} in a command ends the real process"
    return value
