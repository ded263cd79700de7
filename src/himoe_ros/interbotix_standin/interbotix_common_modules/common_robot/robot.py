"""A stand-in for Interbotix's package of this name: as much as the driver uses, with the real one's traps."""

from rclpy.node import Node


class InterbotixRobotNode(Node):
    def __init__(self, node_name="interbotix_robot_manipulation", namespace=None, *args, **kwargs):
        super().__init__(node_name, *args, namespace=namespace, **kwargs)

    def wait_until_future_complete(self, future, timeout_sec=None):
        raise AssertionError("the real one waits without end here")
