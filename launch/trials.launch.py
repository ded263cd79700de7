"""A session of a protocol's trials from reset to results: `ros2 launch himoe_ros trials.launch.py --show-args`."""

from himoe_ros.launching import trials_actions
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(trials_actions())
