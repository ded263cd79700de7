"""The servos of one simulated arm: command them, read where they are."""

from __future__ import annotations

from dataclasses import dataclass

import mujoco
import numpy as np

from ..core.observation import Floats

JOINT_SPEED_RAD_S = np.pi
HELD_NMS = 1e6  # damping that no motor overcomes
SMOOTHING_RAD_S = 150.0  # of a critically damped filter; it delays by 2 / SMOOTHING_RAD_S = 13 ms


@dataclass(frozen=True)
class ArmModel:
    """How an arm is called in a scene.

    Attributes:
        joints: (J) base to tip; actuators have the same names.
        gripper: joint and actuator of the gripper.
        closed, open: its ends, rad or m.
        gripper_speed: the same a second.
        tool: site of the tool point.
        home: (J,) rad.
    """

    joints: tuple[str, ...]
    gripper: str
    closed: float
    open: float
    gripper_speed: float
    tool: str
    home: Floats


class Servos:
    """One arm.

    A setpoint moves towards the command no faster than the vendor's controller would: JOINT_SPEED_RAD_S, and the
    gripper's own. The joints' setpoints are smoothed, as a controller does with a stream of commands: without that
    every command is a blow, and what the gripper holds walks out of it.
    """

    def __init__(self, model: mujoco.MjModel, data: mujoco.MjData, names: ArmModel) -> None:
        self.names = names
        actuated = (*names.joints, names.gripper)
        self._model, self._data = model, data
        self._actuators = np.array([model.actuator(name).id for name in actuated])
        self._qpos = np.array([model.joint(name).qposadr[0] for name in actuated])
        self._dofs = np.array([model.joint(name).dofadr[0] for name in actuated])
        self._limits = model.actuator_ctrlrange[self._actuators]
        speeds = np.append(np.full(len(names.joints), JOINT_SPEED_RAD_S), names.gripper_speed)
        self._slowest_step = model.opt.timestep * speeds
        self._coupled = _coupled_to(model, names.gripper)
        self._damping = model.dof_damping[self._dofs]
        self._torques = np.zeros(len(names.joints))
        self.place(names.home, 1.0)

    def command(self, joints: Floats, gripper_opening: float) -> None:
        """Set what the servos should reach; nothing moves before a step of the physics.

        Args:
            joints: (J,) rad; values beyond a joint's range are held at its end.
            gripper_opening: 0 closed .. 1 open.

        Raises:
            ValueError: wrong shape, or a value that is not finite.
        """
        joints, names = np.asarray(joints, dtype=np.float64), self.names
        if joints.shape != (len(names.joints),):
            raise ValueError(f"expected joints of shape ({len(names.joints)},) rad, got {joints.shape}")
        target = np.append(joints, names.closed + gripper_opening * (names.open - names.closed))
        if not np.isfinite(target).all():
            raise ValueError(f"expected finite commands, got joints {joints}, gripper {gripper_opening}")
        self._target = np.clip(target, self._limits[:, 0], self._limits[:, 1])

    def place(self, joints: Floats, gripper_opening: float) -> None:
        """Put the arm somewhere, at rest, and let the servos hold it there; see `command`."""
        self.command(joints, gripper_opening)
        self.free()

    def seize(self) -> None:
        """Hold the arm where it is, as something that it is caught in would, until it is freed."""
        self._model.dof_damping[self._dofs] = HELD_NMS

    def free(self) -> None:
        """Take the arm out of what holds it, as a person would: it is at once where its servos pull it, at rest."""
        self._model.dof_damping[self._dofs] = self._damping
        self._reached, self._smooth = self._target.copy(), self._target[:-1].copy()
        self._rate = np.zeros(len(self._smooth))
        self._data.qpos[self._qpos] = self._target
        self._data.qvel[self._dofs] = 0.0
        for joint, curve in self._coupled.items():  # or the coupling would pull fingers through each other
            self._data.joint(joint).qpos, self._data.joint(joint).qvel = np.polyval(curve, self._target[-1]), 0.0
        self._data.ctrl[self._actuators] = self._target
        mujoco.mj_forward(self._model, self._data)
        self._torques = self._data.qfrc_actuator[self._dofs[:-1]]

    def advance(self) -> None:
        """Setpoints of the next step of the physics."""
        dt, w = self._model.opt.timestep, SMOOTHING_RAD_S
        self._reached += np.clip(self._target - self._reached, -self._slowest_step, self._slowest_step)
        self._rate += dt * (w * w * (self._reached[:-1] - self._smooth) - 2 * w * self._rate)
        self._smooth += dt * self._rate
        self._data.ctrl[self._actuators] = np.append(self._smooth, self._reached[-1])

    def feel(self, forces: Floats) -> None:
        """Take in (nv,) N m, the actuators' forces on every degree of freedom."""
        self._torques = forces[self._dofs[:-1]]

    @property
    def joint_positions(self) -> Floats:
        """(J,) rad."""
        return self._data.qpos[self._qpos[:-1]]

    @property
    def joint_velocities(self) -> Floats:
        """(J,) rad/s."""
        return self._data.qvel[self._dofs[:-1]]

    @property
    def joint_torques(self) -> Floats:
        """(J,) N m, motor torques averaged over the world's last step; they carry the arm's weight."""
        return self._torques.copy()

    @property
    def gripper_position(self) -> float:
        """rad or m, of the gripper's joint."""
        return float(self._data.qpos[self._qpos[-1]])

    @property
    def gripper_opening(self) -> float:
        """0 closed .. 1 open, measured."""
        names = self.names
        share = (self.gripper_position - names.closed) / (names.open - names.closed)
        return float(np.clip(share, 0.0, 1.0))

    @property
    def tcp_pose(self) -> tuple[Floats, Floats]:
        """Position (3,) m and rotation (3, 3) of the tool point in the frame of the scene."""
        site = self._data.site(self.names.tool)
        return site.xpos.copy(), site.xmat.reshape(3, 3).copy()


def _coupled_to(model: mujoco.MjModel, leader: str) -> dict[str, Floats]:
    """Joint -> coefficients, highest first, of where it is for each position of another joint."""
    found, index = {}, model.joint(leader).id
    for i in np.flatnonzero(model.eq_type == mujoco.mjtEq.mjEQ_JOINT):
        if model.eq_obj2id[i] == index:
            found[model.joint(model.eq_obj1id[i]).name] = model.eq_data[i][4::-1]
    return found
