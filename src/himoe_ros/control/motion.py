"""The commanded motion of a whole robot: every arm smooth, every gripper no faster than it may be."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from ..core.action_guard import clip_to_workspace, require_finite
from ..core.arm import Arm
from ..core.chunk_buffer import Target
from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment
from ..core.errors import ConfigError
from ..core.observation import Floats
from ..core.unified import pose_values
from .cartesian import CartesianTracker
from .smoother import JointSmoother

CATCHING_UP = 0.2  # rad/s, by which a joint may be faster than the tool's way asks
BRAKING_ROOM = 1.2  # before the workspace's edge, as a multiple of the way a stop takes


class Motion:
    """Where the robot is being sent, one tick after the other."""

    def __init__(self, embodiment: Embodiment, space: ActionSpace) -> None:
        """
        Args:
            embodiment: limits.
            space: of the targets to follow.
        """
        self._embodiment = embodiment
        self._space = space
        self._cartesian = None
        workspace = embodiment.workspace
        if space.names[0] in END_EFFECTOR:
            if workspace is None or embodiment.arms[0].chain is None:
                raise ConfigError(f"{embodiment.name}: end-effector control needs 'workspace' and 'kinematics'")
            self._cartesian = CartesianTracker(embodiment.arms[0], embodiment.arms[0].chain, workspace)
        tool_speed = math.inf if workspace is None else workspace.max_tool_speed
        self._smoothers = [JointSmoother(arm, tool_speed) for arm in embodiment.arms]
        self.speed_scale = 1.0  # share of the velocity limits in use, in (0, 1]
        self.command = np.zeros(len(embodiment.joint_names))  # (N,) as sent last, order of `joint_names`

    def reset(self, positions: Floats, grips: Sequence[float]) -> None:
        """Be at rest at (N,) measured positions, grippers on their way to these, one an arm."""
        require_finite(positions, "joint positions of the robot")
        self.command = positions.copy()
        for (_, part), grip in zip(self._parts(), grips, strict=True):
            self.command[part.stop] = grip
        for smoother, (_, part) in zip(self._smoothers, self._parts(), strict=True):
            smoother.reset(positions[part])
        self._release()

    @property
    def at_rest(self) -> bool:
        """True where no arm moves."""
        return all(smoother.at_rest for smoother in self._smoothers)

    def stop(self, dt: float) -> Floats:
        """(N,) one tick of slowing down, then always the same place. Grippers keep their grip."""
        self._release()
        for smoother in self._smoothers:
            smoother.stop(dt)
        return self._updated(self.grippers(), dt)

    def go_to(self, place: Floats, max_velocity: float, dt: float) -> Floats:
        """(N,) one tick toward (N,) positions to rest at, joints no faster than `max_velocity` rad/s."""
        self._release()
        for smoother, (_, part) in zip(self._smoothers, self._parts(), strict=True):
            target = place[part]
            limits = np.full_like(target, self.speed_scale * max_velocity)
            smoother.follow(target, np.zeros_like(target), limits, dt)
        return self._updated([place[part.stop] for _, part in self._parts()], dt)

    def follow(self, target: Target, dt: float) -> Floats:
        """(N,) one tick toward a target of the action space."""
        slots = dict(zip(self._space.names, target.values.tolist(), strict=True))
        rates = dict(zip(self._space.names, target.rates.tolist(), strict=True))
        for arm, smoother in zip(self._embodiment.arms, self._smoothers, strict=True):
            limits = np.full(len(arm.joints), self.speed_scale * arm.max_velocity)
            if self._cartesian is not None:
                joints, velocity = self._along(target, smoother, dt)
                limits = np.minimum(limits, np.abs(velocity) + CATCHING_UP)
            else:
                joints = np.array([slots[j] for j in arm.joints])
                velocity = np.array([rates[j] for j in arm.joints])
            smoother.follow(joints, velocity, limits, dt)
        grippers = [arm.gripper for arm in self._embodiment.arms]
        return self._updated([gripper.position(slots[gripper.name]) for gripper in grippers], dt)

    def slots(self) -> Floats:
        """(S,) where the robot is being sent, in the order of the action space."""
        named = dict(zip(self._embodiment.joint_names, self.command.tolist(), strict=True))
        for arm in self._embodiment.arms:
            named[arm.gripper.name] = arm.gripper.opening(named[arm.gripper.joint])
        if self._cartesian is not None:
            arm = self._embodiment.arms[0]
            named |= pose_values(arm, arm.forward(self.command[: len(arm.joints)]))
        return np.array([named[n] for n in self._space.names])

    def _along(self, target: Target, smoother: JointSmoother, dt: float) -> tuple[Floats, Floats]:
        """The joints' target on the tool's way. It turns to rest where going on would lead out of the workspace."""
        box, n = self._embodiment.workspace, len(END_EFFECTOR)
        rates = target.rates[:n]
        speed = np.minimum(np.abs(rates), np.repeat([box.max_speed, box.max_rotation], 3))
        brake = speed**2 / (2 * np.repeat([box.max_acceleration, box.max_rotation_acceleration], 3))
        stop = target.values.copy()
        stop[:n] += np.sign(rates) * BRAKING_ROOM * brake
        inside = clip_to_workspace(stop, self._space, box)[:n] == stop[:n]
        values = clip_to_workspace(target.values, self._space, box)[:n]
        state = smoother.state
        return self._cartesian.follow(
            values, np.where(inside, rates, 0.0), state.position, state.velocity, self.speed_scale, dt
        )

    def _updated(self, grippers: list[float], dt: float) -> Floats:
        """Take the arms' new places, and the grippers' as far as they get in a tick, as the command."""
        command = np.empty_like(self.command)
        parts = zip(self._parts(), self._smoothers, grippers, strict=True)
        for (arm, part), smoother, target in parts:
            command[part] = smoother.state.position
            last, reach = self.command[part.stop], arm.gripper.max_speed * dt
            wanted = float(np.clip(target, *sorted((arm.gripper.open, arm.gripper.closed))))
            command[part.stop] = last + np.clip(wanted - last, -reach, reach)
        self.command = command
        return command

    def grippers(self) -> list[float]:
        """Positions sent last, one an arm."""
        return [float(self.command[part.stop]) for _, part in self._parts()]

    def _parts(self) -> Iterator[tuple[Arm, slice]]:
        """Each arm with its joints' place in the (N,) vectors; its gripper follows right after."""
        start = 0
        for arm in self._embodiment.arms:
            yield arm, slice(start, start + len(arm.joints))
            start += len(arm.joints) + 1

    def _release(self) -> None:
        if self._cartesian is not None:
            self._cartesian.release()
