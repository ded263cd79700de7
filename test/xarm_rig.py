"""An ideal arm, and a controller box on the network with that arm behind it, for the tests."""

from __future__ import annotations

import itertools
import os
import threading
import time

import numpy as np

from himoe_ros.sim.xarm_box import XArmBox
from himoe_ros.sim.xarm_faults import inject
from himoe_ros.sim.xarm_log import Received
from himoe_ros.sim.xarm_server import XArmServer

START = np.array([0.0, -0.25, 0.0, 0.7, 0.0, 0.95, 0.0])  # rad, the flange looking down
# One for each box; the process number keeps test runs side by side apart.
ADDRESSES = (f"127.{64 + (os.getpid() >> 8) % 128}.{os.getpid() % 256}.{number}" for number in itertools.count(1))
_PERIOD = 0.004  # s
_TIME_CONSTANT = 0.01  # s


class KinematicPlant:
    """Seven joints and a gripper that follow their commands with one time constant."""

    def __init__(self) -> None:
        self.joint_positions = START.copy()
        self.joint_velocities = np.zeros(7)
        self.joint_torques = np.zeros(7)
        self.gripper_opening = 0.5
        self.target = START.copy()
        self._gripper_target = 0.5

    def command(self, joints: np.ndarray, gripper_opening: float) -> None:
        self.target = joints
        self._gripper_target = gripper_opening

    def step(self, dt: float) -> None:
        """Let `dt` s pass."""
        share = 1.0 - np.exp(-dt / _TIME_CONSTANT)
        change = share * (self.target - self.joint_positions)
        self.joint_velocities = change / dt
        self.joint_positions = self.joint_positions + change
        self.gripper_opening += share * (self._gripper_target - self.gripper_opening)


class Rig:
    """A box on the network with an arm that moves in real time."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.plant = KinematicPlant()
        self.received: list[Received] = []
        self.box = XArmBox(self.plant, time.monotonic(), on_received=self.received.append)
        self.server = XArmServer(self.box, address)
        self._running = True
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        due = time.monotonic()
        while self._running:
            self.plant.step(_PERIOD)
            self.box.tick(time.monotonic())
            due += _PERIOD
            time.sleep(max(0.0, due - time.monotonic()))

    def fault(self, text: str) -> None:
        """Make a fault of sim/xarm_faults.py happen."""
        inject(text, self.box, self.server)

    def targets(self) -> list[tuple[float, np.ndarray]]:
        """Servo targets as the box received them: (s, (7,) rad)."""
        return [(r.time, r.joints) for r in self.received if r.joints is not None]

    def close(self) -> None:
        self.server.close()
        self._running = False
        self._thread.join()
