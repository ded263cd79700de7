"""ALOHA's two ViperX followers through Interbotix's Python API: positions streamed to both, torque kept on.

The API checks nothing it sends, so every check is ours, here and in the control loop.
"""

from __future__ import annotations

import numpy as np

from ..core.embodiment import Embodiment
from ..core.errors import DriverError
from ..core.observation import Floats
from .aloha_preflight import GRIPPER, gripper_problem, joints_of
from .driver import Reading
from .interbotix import InterbotixArm

MODEL = "aloha_vx300s"
ARM_MODE, GRIPPER_MODE = "position", "current_based_position"
PROFILE = "velocity"  # of 0: a motor goes to its goal at once; with one of time it would go on after a stop
CURRENT_LIMIT = 300  # of the gripper, in its motor's unit (ALOHA's own value): a grip that gives way


def follower_names(address: str, embodiment: Embodiment) -> list[str]:
    """Names of the followers, in the order of the arms.

    Raises:
        DriverError: not as many different names as arms.
    """
    names = [name.strip() for name in address.split(",") if name.strip()]
    if len(set(names)) != len(embodiment.arms):
        raise DriverError(
            f"expected {len(embodiment.arms)} different followers in robot_ip, such as "
            f"follower_left,follower_right, got '{address}'"
        )
    return names


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
        self._arms = embodiment.arms
        self._links = [InterbotixArm(name, MODEL) for name in follower_names(address, embodiment)]
        self._prepared = False  # grippers have been rebooted, and operating modes set
        self._enabled = False

    def connect(self) -> None:
        """See Driver.connect."""
        self.close()
        try:
            for arm, link in zip(self._arms, self._links, strict=True):
                expected, found = joints_of(arm), link.open()
                if found != expected:
                    raise DriverError(f"expected joints {list(expected)} of '{link.name}', it has {list(found)}")
                if problem := gripper_problem(link.name, arm.gripper, link.positions()[GRIPPER]):
                    raise DriverError(problem)
        except DriverError:
            self.close()
            raise

    def enable(self) -> None:
        """See Driver.enable.

        The first time grippers are rebooted and operating modes set, for which torque goes: the arms must lie at rest.
        An xs_sdk that was started again has the modes of its own file; those that differ are set again.
        """
        try:
            self.read()
        except DriverError:
            self.connect()
            self.read()
        for link in self._links:
            if not self._prepared:
                link.ask("reboot_motors", "single", GRIPPER, True)
            if not self._prepared or link.modes["arm"] != (ARM_MODE, PROFILE):
                link.ask("set_operating_modes", "group", "arm", ARM_MODE, PROFILE)
            if not self._prepared or link.modes[GRIPPER] != (GRIPPER_MODE, PROFILE):
                link.ask("set_operating_modes", "single", GRIPPER, GRIPPER_MODE, PROFILE)
                link.ask("torque_enable", "single", GRIPPER, False)  # with it, a motor keeps its limit as it is
                link.ask("set_motor_registers", "single", GRIPPER, "Current_Limit", CURRENT_LIMIT)
        for link in self._links:
            link.ask("torque_enable", "group", "arm", True)
            link.ask("torque_enable", "single", GRIPPER, True)
            link.modes = {"arm": (ARM_MODE, PROFILE), GRIPPER: (GRIPPER_MODE, PROFILE)}
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
