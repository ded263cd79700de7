"""ALOHA with HiMoE-VLA: `ros2 launch himoe_ros aloha.launch.py --show-args`."""

from himoe_ros.launching import robot_actions
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(robot_actions("aloha"))
