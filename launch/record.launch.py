"""The recorder beside a running robot; episodes are started and ended by services: see --show-args."""

from himoe_ros.launching import recorder_actions
from launch import LaunchDescription


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(recorder_actions())
