"""The xArm7 with HiMoE-VLA: `ros2 launch himoe_ros xarm7.launch.py --show-args`."""

from himoe_ros.launching import robot_actions
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(robot_actions("xarm7"))
