"""The simulated ALOHA: MuJoCo physics in real time behind what the vendor's xs_sdk offers of both followers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..control.aloha_preflight import GRIPPER, joints_of
from ..core.arm import Arm
from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, SimulationError
from ..interbotix_standin.xs_sdk import SERVICES, XsSdk
from ..resources import config
from ..sim.servos import Servos
from .managed import run
from .priority import go_first
from .sim_workplace import SimWorkplace

TELL_EVERY = 2  # ticks between joint states: 125 Hz; the real one has 100


class FollowerMotors:
    """A simulated arm as xs_sdk sees it."""

    def __init__(self, servos: Servos, arm: Arm) -> None:
        self._servos, self._arm = servos, arm
        self._joints, self._opening = servos.joint_positions, servos.gripper_opening

    def positions(self) -> Mapping[str, float]:
        """See Motors."""
        told = dict(zip(joints_of(self._arm), self._servos.joint_positions.tolist(), strict=True))
        finger = self._servos.gripper_position
        gripper = self._arm.gripper.position(self._servos.gripper_opening)
        return {**told, GRIPPER: gripper, "left_finger": finger, "right_finger": -finger}

    def command(self, part: str, positions: Sequence[float]) -> None:
        """See Motors."""
        if part == GRIPPER:
            self._opening = self._arm.gripper.opening(positions[0])
        else:
            self._joints = positions
        self._servos.command(self._joints, self._opening)


class SimAloha(SimWorkplace):
    """A process that the driver cannot tell from two running xs_sdk nodes, but for the messages' types."""

    def __init__(self) -> None:
        super().__init__("aloha", "aloha/cup_handover")
        self._followers = self.parameter("followers", "follower_left,follower_right")  # in the order of the arms
        self._sdks: dict[str, XsSdk] = {}

    def setup(self) -> None:
        super().setup()
        arms = load_embodiment(self._robot, config("embodiments")).arms
        names = self._followers.split(",")
        if len(names) != len(arms):
            raise ConfigError(f"parameter 'followers' must name {len(arms)} robots, got '{self._followers}'")
        self._sdks = {
            name: XsSdk(self, name, joints_of(arm), FollowerMotors(servos, arm))
            for name, arm, servos in zip(names, arms, self._world.arms, strict=True)
        }

    def teardown(self) -> None:
        for sdk in self._sdks.values():
            sdk.close()

    def status(self) -> dict[str, object]:
        return {"followers": self._followers, **super().status()}

    def after(self, ticks: int) -> None:
        if ticks % TELL_EVERY == 0:
            for sdk in self._sdks.values():
                sdk.tell()

    def inject(self, fault: str) -> None:
        """`silent NAME`, `mute NAME SERVICE`, `held NAME`; `heal NAME` of all three."""
        kind, name, *rest = (*fault.split(), "", "")
        names = list(self._sdks)
        known = f"silent NAME, mute NAME SERVICE, heal NAME, held NAME; names: {', '.join(names)}; services: {SERVICES}"
        if name not in names or kind not in ("silent", "mute", "heal", "held"):
            raise SimulationError(f"there is no fault '{fault}'; there are: {known}")
        arm = self._world.arms[names.index(name)]
        if kind == "held":
            with self._lock:
                arm.seize()
            return
        sdk = self._sdks[name]
        if kind == "mute":
            if rest[0] not in SERVICES:
                raise SimulationError(f"there is no service '{rest[0]}'; there are: {known}")
            sdk.mute.add(rest[0])
            return
        sdk.silent = kind == "silent"
        if kind == "heal":
            sdk.mute.clear()
            with self._lock:
                arm.free()


def main() -> None:
    go_first()  # a real robot has motors of its own
    run(SimAloha)


if __name__ == "__main__":
    main()
