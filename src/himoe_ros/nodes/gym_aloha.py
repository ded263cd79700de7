"""gym-aloha's own AlohaTransferCube-v0 behind our topics: an outside judge of our graph. See `make gym-aloha`.

The environment is stepped in real time, 50 times a second, with what the followers are commanded; its reward is told
with the state. Only its pictures, which it would render at every step, are left out: gym_cameras shows the state.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.arm import Arm
from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, SimulationError
from ..core.observation import Floats
from ..resources import config
from ..trials.layout import Layout
from ..trials.truth import PARTS
from .managed import run
from .priority import go_first
from .sim_aloha import SimAloha

ENVIRONMENT = "gym_aloha/AlohaTransferCube-v0"
BOX, CUBE = "red_box_joint", "red_block"  # the same thing, as they and we call it
TABLE_Y_M = 0.5  # our frame's origin in theirs
CUBE_Z_M = 0.02  # of its middle, on the table
ORIGIN = np.array([0.0, TABLE_Y_M, 0.0, 0.0, 0.0, 0.0, 0.0])  # of our frame, as a pose of theirs


class GymServos:
    """One arm of the environment, as FollowerMotors wants it."""

    def __init__(self, world: GymWorld, first: int) -> None:
        """`first`: of its seven actions; its eight positions begin at first * 8 / 7."""
        self._world, self._first = world, first
        self._qpos = first // 7 * 8

    @property
    def joint_positions(self) -> Floats:
        """(6,) rad."""
        return self._world.physics.data.qpos[self._qpos : self._qpos + 6].copy()

    @property
    def gripper_position(self) -> float:
        """m, of the left finger."""
        return float(self._world.physics.data.qpos[self._qpos + 6])

    @property
    def gripper_opening(self) -> float:
        """0 closed .. 1 open, measured."""
        return float(np.clip(self._world.opening(self.gripper_position), 0.0, 1.0))

    def command(self, joints: Sequence[float], opening: float) -> None:
        """What the next steps of the environment are given."""
        self._world.action[self._first : self._first + 7] = [*joints, opening]

    def show(self, joints: Sequence[float], opening: float) -> None:
        """Put the arm there."""
        finger = self._world.finger(opening)
        self._world.physics.data.qpos[self._qpos : self._qpos + 8] = [*joints, finger, -finger]

    def seize(self) -> None:
        """See Servos; nothing holds an arm here."""
        raise SimulationError("gym-aloha's arms cannot be held")

    def free(self) -> None:
        """See Servos."""
        *joints, opening = self._world.action[self._first : self._first + 7]
        self.show(joints, opening)
        self._world.physics.data.qvel[self._qpos : self._qpos + 8] = 0.0


class GymWorld:
    """The environment where SimWorkplace expects a World."""

    def __init__(self, arms: Sequence[Arm]) -> None:
        """
        Raises:
            ConfigError: gym-aloha is not installed with what it needs.
        """
        try:
            import gym_aloha  # noqa: F401, PLC0415 - registers the environment
            import gymnasium  # noqa: PLC0415
            from gym_aloha import constants  # noqa: PLC0415
        except ImportError as error:
            raise ConfigError(
                f"gym-aloha is not installed with what it needs ({error}); run: make gym-aloha"
            ) from error
        self._names, self._dt = arms, constants.DT
        self._env = gymnasium.make(ENVIRONMENT, disable_env_checker=True).unwrapped
        blank = {"top": np.zeros((1, 1, 3), np.uint8)}
        self._env._env.task.get_observation = lambda _physics: {"images": blank}
        self._env.reset(seed=0)
        self.physics: Any = self._env._env.physics
        self.opening = constants.normalize_puppet_gripper_position  # of a finger, m
        self.finger = constants.unnormalize_puppet_gripper_position  # of an opening
        start = np.array(constants.START_ARM_POSE)
        self.action = np.concatenate([start[:6], [1.0], start[8:14], [1.0]])
        self.arms = (GymServos(self, 0), GymServos(self, 7))
        self.reward, self._passed = 0.0, 0.0

    def step(self, seconds: float) -> None:
        """Advance the environment by as many whole steps as have become due."""
        self._passed += seconds
        while self._passed > self._dt - 1e-9:
            self._passed -= self._dt
            _, reward, *_ = self._env.step(self.action)
            self.reward = float(reward)

    def reset(self, layout: Layout) -> None:
        """As at the beginning."""
        self.lay_out(layout)

    def free(self) -> None:
        """See World."""
        for servos in self.arms:
            servos.free()
        self.physics.forward()

    def lay_out(self, layout: Layout) -> None:
        """Put the cube somewhere, at rest; the arms stay."""
        x, y, _ = layout[CUBE]
        self.physics.named.data.qpos[BOX] = [x, y + TABLE_Y_M, CUBE_Z_M, 1.0, 0.0, 0.0, 0.0]
        self.physics.named.data.qvel[BOX] = 0.0
        self.physics.forward()
        self.reward = 0.0

    def state_names(self) -> tuple[str, ...]:
        """See World."""
        arms = [name for arm in self._names for name in (*arm.joints, arm.gripper.joint)]
        return (*arms, *(f"{CUBE}.{part}" for part in PARTS), "reward")

    def state(self) -> Floats:
        """See World; and the reward of the last step."""
        arms = [
            [*servos.joint_positions, arm.gripper.position(servos.gripper_opening)]
            for servos, arm in zip(self.arms, self._names, strict=True)
        ]
        box = np.array(self.physics.named.data.qpos[BOX]) - ORIGIN
        return np.concatenate([*arms, box, [self.reward]])

    def set_state(self, names: Sequence[str], values: Sequence[float]) -> None:
        """Show a configuration that another process sent; see World."""
        value = dict(zip(names, values, strict=True))
        for arm, servos in zip(self._names, self.arms, strict=True):
            servos.show([value[joint] for joint in arm.joints], arm.gripper.opening(value[arm.gripper.joint]))
        box = [value[f"{CUBE}.{part}"] for part in PARTS]
        self.physics.named.data.qpos[BOX] = np.array(box) + ORIGIN
        self.physics.forward()

    def state_velocity(self) -> Floats:
        """See World; of the cube alone."""
        rates = np.zeros(len(self.state_names()))
        rates[-8:-5] = self.physics.named.data.qvel[BOX][:3]
        return rates


class GymAloha(SimAloha):
    """Followers and cube of the environment; its cameras are a node of their own, gym_cameras."""

    def make_world(self) -> GymWorld:
        """The environment."""
        return GymWorld(load_embodiment(self._robot, config("embodiments")).arms)


def main() -> None:
    go_first()  # a real robot has motors of its own
    run(GymAloha)


if __name__ == "__main__":
    main()
