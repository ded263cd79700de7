"""A stand-in for Interbotix's package of this name: as much as the driver uses, with the real one's traps."""

from rclpy.logging import LoggingSeverity

from .core import InterbotixRobotXSCore
from .gripper import InterbotixGripperXSInterface


class InterbotixArmXSInterface:
    def __init__(self, core, robot_model, group_name, moving_time=2.0, accel_time=0.3, iterative_update_fk=True):
        self.group_info = core.robot_get_robot_info("group", group_name)


class InterbotixManipulatorXS:
    def __init__(
        self,
        robot_model,
        group_name="arm",
        gripper_name="gripper",
        robot_name=None,
        moving_time=2.0,
        accel_time=0.3,
        gripper_pressure=0.5,
        gripper_pressure_lower_limit=150,
        gripper_pressure_upper_limit=350,
        topic_joint_states="joint_states",
        logging_level=LoggingSeverity.INFO,
        node_name="robot_manipulation",
        node=None,
        iterative_update_fk=True,
        args=None,
    ):
        assert node is not None, "the real one starts ROS itself then"
        self.core = InterbotixRobotXSCore(robot_model, robot_name, topic_joint_states, node=node)
        self.arm = InterbotixArmXSInterface(self.core, robot_model, group_name, moving_time, accel_time)
        self.gripper = InterbotixGripperXSInterface(self.core, gripper_name)

    def get_node(self):
        return self.core.get_node()
