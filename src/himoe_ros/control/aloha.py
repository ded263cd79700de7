"""ALOHA's two ViperX followers through Interbotix's Python API: positions streamed to both, torque kept on.

The API checks nothing it sends, so every check is ours, here and in the control loop.
"""

from __future__ import annotations

import numpy as np

from ..core.arm import Arm
from ..core.embodiment import Embodiment
from ..core.errors import DriverError
from ..core.observation import Floats
from .driver import Reading
from .interbotix import InterbotixArm

MODEL = "aloha_vx300s"
GRIPPER = "gripper"
CURRENT_LIMIT = 300  # of the gripper, in its motor's unit (ALOHA's own value): a grip that gives way
BEYOND_RAD = 0.2  # outside its configured range, a gripper tells of another convention
CONVENTIONS = "followers of ALOHA 2: 0.6197 .. 1.6214 rad; older stacks and gym-aloha: -0.6213 .. 1.4910 rad"


def joints_of(arm: Arm) -> tuple[str, ...]:
    """As xs_sdk calls them: ours carry the arm's name in front, since two arms share one vector."""
    return tuple(name.removeprefix(f"{arm.name}_") for name in arm.joints)


class AlohaDriver:
    """See Driver. Both arms, in the order of the embodiment. One thread calls it at a time."""

    def __init__(self, address: str, embodiment: Embodiment) -> None:
        """
        Args:
            address: names of the followers with a comma between, in the order of the embodiment's arms (left first).
            embodiment: its arms name the joints, `<arm>_<joint of xs_sdk>`, and the grippers.

        Raises:
            DriverError: not as many names as arms.
        """
        names = [name.strip() for name in address.split(",") if name.strip()]
        if len(set(names)) != len(embodiment.arms):
            raise DriverError(
                f"expected {len(embodiment.arms)} different followers in robot_ip, such as "
                f"follower_left,follower_right, got '{address}'"
            )
        self._arms = embodiment.arms
        self._links = [InterbotixArm(name, MODEL) for name in names]
        self._prepared = False  # operating modes are set, which switches torque off for a moment
        self._enabled = False

    def connect(self) -> None:
        """See Driver.connect."""
        self.close()
        try:
            for arm, link in zip(self._arms, self._links, strict=True):
                expected, found = joints_of(arm), link.open()
                if found != expected:
                    raise DriverError(f"expected joints {list(expected)} of '{link.name}', it has {list(found)}")
                self._check_gripper(link, arm.gripper.open, arm.gripper.closed)
        except DriverError:
            self.close()
            raise

    def enable(self) -> None:
        """See Driver.enable.

        The first time grippers are rebooted and operating modes set, for which torque goes: the arms must lie at rest.
        """
        try:
            self.read()
        except DriverError:
            self.connect()
            self.read()
        if not self._prepared:
            for link in self._links:
                link.ask("reboot_motors", "single", GRIPPER, True)
                link.ask("set_operating_modes", "group", "arm", "position")
                link.ask("set_operating_modes", "single", GRIPPER, "current_based_position")
                link.ask("set_motor_registers", "single", GRIPPER, "Current_Limit", CURRENT_LIMIT)
        for link in self._links:
            link.ask("torque_enable", "group", "arm", True)
            link.ask("torque_enable", "single", GRIPPER, True)
        self._prepared = self._enabled = True

    def read(self) -> Reading:
        """See Driver.read."""
        told = []
        for arm, link in zip(self._arms, self._links, strict=True):
            positions = link.positions()
            wanted = (*joints_of(arm), GRIPPER)
            if missing := sorted(set(wanted) - set(positions)):
                raise DriverError(f"'{link.name}' does not tell where {missing} are; it tells of {sorted(positions)}")
            told += [positions[name] for name in wanted]
        return Reading(np.array(told), "")

    def send(self, positions: Floats) -> None:
        """See Driver.send."""
        if not self._enabled:
            raise DriverError("the arms are stopped: arm again before commands are sent")
        if not np.isfinite(positions).all():
            raise DriverError(f"expected finite positions, got {positions}; nothing was sent")
        at = 0
        for arm, link in zip(self._arms, self._links, strict=True):
            *joints, gripper = positions[at : at + len(arm.joints) + 1].tolist()
            link.send(joints)
            link.send_gripper(gripper)
            at += len(arm.joints) + 1

    def stop(self) -> None:
        """See Driver.stop. Each arm is told to stay where it is, also where the other cannot be reached.

        Grippers keep the place that they were sent to, and with it their grip.
        """
        self._enabled, failed = False, None
        for arm, link in zip(self._arms, self._links, strict=True):
            try:
                now = link.positions()
                link.send([now[name] for name in joints_of(arm)])
            except DriverError as error:  # it stays at the last place that it was sent to
                failed = error
        if failed is not None:
            raise failed

    def close(self) -> None:
        """See Driver.close."""
        self._enabled = False
        for link in self._links:
            link.close()

    @staticmethod
    def _check_gripper(link: InterbotixArm, opened: float, closed: float) -> None:
        """Where a gripper stands far outside its range, its numbers mean something else."""
        at = link.positions()[GRIPPER]
        low, high = sorted((opened, closed))
        if not low - BEYOND_RAD <= at <= high + BEYOND_RAD:
            raise DriverError(
                f"the gripper of '{link.name}' stands at {at:.3f} rad, its configuration says {closed:g} (closed) to "
                f"{opened:g} (open): set open and closed in the embodiment file as this stack has them ({CONVENTIONS})"
            )
