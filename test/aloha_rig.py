"""Two ALOHA followers with ideal motors behind the simulation's stand-in for xs_sdk, for the tests of the driver."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor

import himoe_ros.interbotix_standin
from himoe_ros.interbotix_standin.xs_sdk import XsSdk

JOINTS = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate")
SLEEP = (0.0, -1.80, 1.55, 0.0, -1.57, 0.0)  # rad
PERIOD_S = 0.01
SPEED = 3.0  # rad/s, of every motor


class Motors:
    """Ideal ones.

    Attributes:
        at, target: rad, arm and gripper.
    """

    def __init__(self, joints: tuple[str, ...], gripper: float) -> None:
        self.at = np.array([*SLEEP[: len(joints)], gripper])
        self.target, self._names = self.at.copy(), (*joints, "gripper")

    def positions(self) -> dict[str, float]:
        return {**dict(zip(self._names, self.at.tolist(), strict=True)), "left_finger": 0.02, "right_finger": -0.02}

    def command(self, part: str, positions: list[float]) -> None:
        self.target[slice(-1) if part == "arm" else slice(-1, None)] = positions

    def step(self) -> None:
        reach = SPEED * PERIOD_S
        self.at = self.at + np.clip(self.target - self.at, -reach, reach)


class Follower:
    """One follower in a ROS context of its own.

    Attributes:
        sdk: the stand-in.
    """

    def __init__(self, name: str, gripper: float = 1.0, joints: tuple[str, ...] = JOINTS) -> None:
        self._motors = Motors(joints, gripper)
        self._context = Context()
        rclpy.init(context=self._context)
        self._node = rclpy.create_node(f"xs_sdk_{name}", context=self._context)
        self.sdk = XsSdk(self._node, name, joints, self._motors)
        self._node.create_timer(PERIOD_S, self._step)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()

    @property
    def positions(self) -> np.ndarray:
        """(J + 1,) rad, arm and gripper."""
        return self._motors.at

    def close(self) -> None:
        self.sdk.close()
        self._executor.shutdown(timeout_sec=1.0)
        self._thread.join(1.0)
        self._node.destroy_node()
        self._context.shutdown()

    def _step(self) -> None:
        self._motors.step()
        self.sdk.tell()


def use_standin() -> None:
    """From now on Interbotix's packages are the simulation's stand-in."""
    folder = str(Path(himoe_ros.interbotix_standin.__file__).parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
