"""A robot at its simulated workplace, in simulated time: scene, control loop and truth, in one process."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..control.driver import Reading
from ..control.loop import ControlLoop, Tick
from ..control.states import Mode
from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import SimulationError
from ..core.observation import Floats
from ..core.safety import SafetyLimits
from ..sim.scene import build_scene
from ..sim.servos import Servos
from ..sim.world import World
from ..trials.layout import Layout, things_of
from ..trials.protocol import Protocol
from ..trials.truth import Truth, truth_from_state

EPOCH_S = 1_700_000_000  # simulated time begins here
PUSH_RAD_S = 0.3  # how fast a push grows


class WorldDriver:
    """A Driver right over the physics: what is sent is reached a tick later, as by the robot's servos."""

    def __init__(self, servos: Sequence[Servos], embodiment: Embodiment) -> None:
        self._arms = tuple(zip(servos, embodiment.arms, strict=True))
        self._step = PUSH_RAD_S / embodiment.control_rate_hz
        self._push = [np.zeros(len(arm.joints)) for arm in embodiment.arms]
        self.push = list(self._push)  # rad, by which each arm is to be held away from its command

    def connect(self) -> None:
        """It is there."""

    def enable(self) -> None:
        """It is ready."""

    def read(self) -> Reading:
        parts = [np.append(s.joint_positions, a.gripper.position(s.gripper_opening)) for s, a in self._arms]
        return Reading(np.concatenate(parts), "")

    def send(self, positions: Floats) -> None:
        for i, (servos, arm) in enumerate(self._arms):
            own, positions = np.split(positions, [len(arm.joints) + 1])
            self._push[i] = self._push[i] + np.clip(self.push[i] - self._push[i], -self._step, self._step)
            servos.command(own[:-1] + self._push[i], arm.gripper.opening(float(own[-1])))

    def stop(self) -> None:
        """The arms keep their place."""

    def close(self) -> None:
        """Nothing to let go."""


class Workplace:
    """One robot and what lies before it.

    Attributes:
        world: the physics.
        rate_hz: commands a second.
        loop, driver: of the robot; others after every `begin`.
        ticks: of the control loop, since the last `lay_out`.
    """

    def __init__(self, protocol: Protocol, embodiment: Embodiment, space: ActionSpace, safety: SafetyLimits) -> None:
        """
        Args:
            protocol: whose things are there.
            space: that the control loop executes.
        """
        self._embodiment, self._space, self._safety = embodiment, space, safety
        self.rate_hz = embodiment.control_rate_hz
        self._dt = 1.0 / self.rate_hz
        self.world = World(build_scene(embodiment.name, things_of(protocol)))
        self.ticks = 0

    def lay_out(self, layout: Layout) -> None:
        """Arms at home, these things at their places, a new time."""
        self.world.reset(layout)
        self.ticks = 0

    def begin(self) -> None:
        """Arm the robot where it stands."""
        self.driver = WorldDriver(self.world.arms, self._embodiment)
        self.loop = ControlLoop(self.driver, self._embodiment, self._space, self._safety)
        self.loop.arm()

    def act(self) -> Tick:
        """Send one command.

        Raises:
            SimulationError: the control loop stopped.
        """
        tick = self.loop.tick(self.now, self.now)
        if tick.reading is None or self.loop.mode is Mode.FAULTED:
            raise SimulationError(f"the control loop stopped: {self.loop.reason}")
        return tick

    def advance(self) -> None:
        """The physics until the next command."""
        self.world.step(self._dt)
        self.ticks += 1

    @property
    def now(self) -> float:
        """s, simulated."""
        return EPOCH_S + self.ticks * self._dt

    def joints(self) -> dict[str, float]:
        """Joint -> position as the robot tells it."""
        return dict(zip(self._embodiment.joint_names, self.driver.read().positions.tolist(), strict=True))

    def truth(self) -> Truth:
        """What a judge judges by."""
        world = self.world
        names, arms = world.state_names(), self._embodiment.arms
        return truth_from_state(self.now, arms, names, world.state(), world.state_velocity())
