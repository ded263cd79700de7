"""A stand-in for Interbotix's package of this name: as much as the driver uses, with the real one's traps."""


class InterbotixGripperXSInterface:
    def __init__(
        self,
        core,
        gripper_name,
        gripper_pressure=0.5,
        gripper_pressure_lower_limit=150,
        gripper_pressure_upper_limit=350,
    ):
        self.core, self._name = core, gripper_name
        self.gripper_info = core.robot_get_robot_info("single", gripper_name)
        self.tmr_gripper_state = core.robot_node.create_timer(0.02, self.gripper_state)

    def gripper_state(self):
        """The real one commands the gripper as soon as something has moved it."""
        self.core.robot_write_joint_command(self._name, -1.0)
