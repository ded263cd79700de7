"""A person's device beside a running robot (a keyboard needs `himoe teleop`): see --show-args."""

from himoe_ros.launching import teleop_actions
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(teleop_actions())
