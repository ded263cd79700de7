"""A running simulation of the workplace: step the physics, read what happened."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import mujoco
import numpy as np

from .scene import Scene
from .servos import Servos

SETTLE_S = 0.3
SHELF_M, SHELF_GAP_M = (-6.0, -0.8), 0.2  # where things wait that are not laid out, and their distance there
FREE_JOINT_PARTS = ("x", "y", "z", "qw", "qx", "qy", "qz")


class World:
    """One simulated workplace.

    Attributes:
        model: of the scene.
        data: its state. Read it, for instance to render; change it only through this class and the arms.
        arms: command them, and read where they are.
    """

    def __init__(self, scene: Scene) -> None:
        self.model = scene.model
        self.data = mujoco.MjData(self.model)
        self._address_of = _qpos_addresses(self.model)
        self.arms = tuple(Servos(self.model, self.data, names) for names in scene.arms)

    @property
    def things(self) -> tuple[str, ...]:
        """Names of what lies about; what is in it (`box.0`) goes with it."""
        return tuple(name for name in self._free_joints() if "." not in name)

    def _free_joints(self) -> Iterator[str]:
        free = (j for j in range(self.model.njnt) if self.model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE)
        return (self.model.joint(j).name for j in free)

    def _hinges(self, thing: str) -> list[str]:
        """Of a thing that folds."""
        turning = (j for j in range(self.model.njnt) if self.model.jnt_type[j] == mujoco.mjtJoint.mjJNT_HINGE)
        return [name for name in (self.model.joint(j).name for j in turning) if name.startswith(f"{thing}.")]

    def reset(self, layout: Mapping[str, Sequence[float]]) -> None:
        """Begin anew: arms at home, grippers open, things laid out and at rest; see `lay_out`."""
        mujoco.mj_resetData(self.model, self.data)
        self.lay_out(layout)
        for arm in self.arms:
            arm.place(arm.names.home, 1.0)
        self.step(SETTLE_S)
        self.data.time = 0.0

    def lay_out(self, layout: Mapping[str, Sequence[float]]) -> None:
        """Lay things out, as a person between trials would; the arms stay as they are.

        Args:
            layout: thing -> (x, y, yaw) in m, m, rad; what is not named waits out of sight.

        Raises:
            ValueError: the layout names a thing that is not here.
        """
        if unknown := sorted(set(layout) - set(self.things)):
            raise ValueError(f"there is no {unknown} here; there are {list(self.things)}")
        for index, name in enumerate(self.things):
            x, y, yaw = layout.get(name, (SHELF_M[0], SHELF_M[1] + SHELF_GAP_M * index, 0.0))
            home = self.model.qpos0[self.model.joint(name).qposadr[0] :][:2]
            for part in (name, *(n for n in self._free_joints() if n.startswith(f"{name}."))):
                joint = self.model.joint(part)
                start, dof = joint.qposadr[0], joint.dofadr[0]
                (dx, dy), z = self.model.qpos0[start : start + 2] - home, self.model.qpos0[start + 2]
                place = x + np.cos(yaw) * dx - np.sin(yaw) * dy, y + np.sin(yaw) * dx + np.cos(yaw) * dy, z
                self.data.qpos[start : start + 7] = *place, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
                self.data.qvel[dof : dof + 6] = 0.0
            for hinge in self._hinges(name):
                self.data.joint(hinge).qpos, self.data.joint(hinge).qvel = 0.0, 0.0
        mujoco.mj_forward(self.model, self.data)

    def free(self) -> None:
        """Take every arm out of what holds it; see Servos."""
        for arm in self.arms:
            arm.free()

    def step(self, seconds: float) -> None:
        """Advance the physics by the whole number of time steps nearest to `seconds`."""
        steps = round(seconds / self.model.opt.timestep)
        forces = np.zeros(self.model.nv)
        for _ in range(steps):
            for arm in self.arms:
                arm.advance()
            mujoco.mj_step(self.model, self.data)
            forces += self.data.qfrc_actuator
        for arm in self.arms:
            arm.feel(forces / max(steps, 1))
        self._update_poses()

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset, s."""
        return self.data.time

    def state_names(self) -> tuple[str, ...]:
        """The label of each value of `state`: `joint1`, `drive_joint`, `apple.x` .. `apple.qz`."""
        return tuple(self._address_of)

    def state(self) -> np.ndarray:
        """(S,) m, rad and quaternion parts: the whole configuration, labelled by `state_names`."""
        return self.data.qpos.copy()

    def state_velocity(self) -> np.ndarray:
        """(S,) rad/s and m/s, the rate of each value of `state`; quaternion parts are left at 0."""
        rate = np.zeros(self.model.nq)
        for index in range(self.model.njnt):
            start, dof = self.model.jnt_qposadr[index], self.model.jnt_dofadr[index]
            width = 3 if self.model.jnt_type[index] == mujoco.mjtJoint.mjJNT_FREE else 1
            rate[start : start + width] = self.data.qvel[dof : dof + width]
        return rate

    def set_state(self, names: Sequence[str], values: Sequence[float]) -> None:
        """Show a configuration that another process sent. Physics does not advance.

        Args:
            names: labels out of `state_names`, in any order; what is not named stays as it is.
            values: one for each name.

        Raises:
            ValueError: an unknown label, or not one value for each label.
        """
        unknown = sorted(set(names) - set(self._address_of))
        if unknown:
            raise ValueError(f"unknown state {unknown}; valid are {list(self._address_of)}")
        if len(names) != len(values):
            raise ValueError(f"expected one value for each of {len(names)} names, got {len(values)}")
        self.data.qpos[[self._address_of[name] for name in names]] = values
        self._update_poses()

    def _update_poses(self) -> None:
        """Bring bodies, sites, cameras and Jacobians up to the present configuration."""
        mujoco.mj_kinematics(self.model, self.data)
        mujoco.mj_comPos(self.model, self.data)
        mujoco.mj_camlight(self.model, self.data)


def _qpos_addresses(model: mujoco.MjModel) -> dict[str, int]:
    """Label -> index into qpos, in the order of qpos."""
    addresses = {}
    for index in range(model.njnt):
        joint = model.joint(index)
        free = joint.type[0] == mujoco.mjtJoint.mjJNT_FREE
        labels = [f"{joint.name}.{part}" for part in FREE_JOINT_PARTS] if free else [joint.name]
        for offset, label in enumerate(labels):
            addresses[label] = int(joint.qposadr[0]) + offset
    return addresses
