"""A running simulation of the workplace: command the arm, step the physics, read what happened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import mujoco
import numpy as np

from .xarm7_scene import GRIPPER_CLOSED_RAD, GRIPPER_JOINT, JOINTS, TCP_SITE

HOME_RAD = np.array([0.0, -0.247, 0.0, 0.909, 0.0, 1.156, 0.0])
JOINT_SPEED_RAD_S = np.pi
GRIPPER_SPEED_RAD_S = 2.0
SMOOTHING_RAD_S = 150.0  # of a critically damped filter; it delays by 2 / SMOOTHING_RAD_S = 13 ms
SETTLE_S = 0.3
SHELF_M, SHELF_GAP_M = (-6.0, -0.8), 0.2  # where things wait that are not laid out, and their distance there
FREE_JOINT_PARTS = ("x", "y", "z", "qw", "qx", "qy", "qz")


class World:
    """One simulated workplace.

    Servos follow their setpoints; a setpoint moves towards the command no faster than the
    vendor's controller would: `JOINT_SPEED_RAD_S` (180 deg/s), and `GRIPPER_SPEED_RAD_S`. The
    joints' setpoints are smoothed, as a controller does with a stream of commands: without that
    every command is a blow, and what the gripper holds walks out of it.

    Attributes:
        model: from `build_scene`.
        data: its state. Read it, for instance to render; change it only through this class.
    """

    def __init__(self, model: mujoco.MjModel) -> None:
        self.model = model
        self.data = mujoco.MjData(model)
        actuated = (*JOINTS, GRIPPER_JOINT)
        self._actuators = np.array([model.actuator(name).id for name in actuated])
        self._qpos = np.array([model.joint(name).qposadr[0] for name in actuated])
        self._dofs = np.array([model.joint(name).dofadr[0] for name in actuated])
        self._limits = model.actuator_ctrlrange[self._actuators]
        self._slowest_step = model.opt.timestep * np.append(
            np.full(len(JOINTS), JOINT_SPEED_RAD_S), GRIPPER_SPEED_RAD_S
        )
        self._address_of = _qpos_addresses(model)
        self._target = np.zeros(len(actuated))
        self._leave_home()

    @property
    def things(self) -> tuple[str, ...]:
        """Names of what lies about."""
        free = (j for j in range(self.model.njnt) if self.model.jnt_type[j] == mujoco.mjtJoint.mjJNT_FREE)
        return tuple(self.model.joint(j).name for j in free)

    def reset(self, layout: Mapping[str, Sequence[float]]) -> None:
        """Begin anew: arm at home, gripper open, things laid out and at rest; see `lay_out`."""
        mujoco.mj_resetData(self.model, self.data)
        self.lay_out(layout)
        self._leave_home()
        self.step(SETTLE_S)
        self.data.time = 0.0

    def lay_out(self, layout: Mapping[str, Sequence[float]]) -> None:
        """Lay things out, as a person between trials would; the arm stays as it is.

        Args:
            layout: thing -> (x, y, yaw) in m, m, rad; what is not named waits out of sight.

        Raises:
            ValueError: the layout names a thing that is not here.
        """
        if unknown := sorted(set(layout) - set(self.things)):
            raise ValueError(f"there is no {unknown} here; there are {list(self.things)}")
        for index, name in enumerate(self.things):
            x, y, yaw = layout.get(name, (SHELF_M[0], SHELF_M[1] + SHELF_GAP_M * index, 0.0))
            joint = self.model.joint(name)
            start, dof = joint.qposadr[0], joint.dofadr[0]
            z = self.model.qpos0[start + 2]
            self.data.qpos[start : start + 7] = x, y, z, np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)
            self.data.qvel[dof : dof + 6] = 0.0
        mujoco.mj_forward(self.model, self.data)

    def place_arm(self, joints: np.ndarray, gripper_opening: float) -> None:
        """Put the arm somewhere, at rest; the objects stay as they are.

        Args:
            joints: (7,) rad.
            gripper_opening: 0 closed .. 1 open.
        """
        self.command(joints, gripper_opening)
        self._be_there()

    def command(self, joints: np.ndarray, gripper_opening: float) -> None:
        """Set what the servos should reach; nothing moves before `step`.

        Args:
            joints: (7,) rad; values beyond a joint's range are held at its end.
            gripper_opening: 0 closed .. 1 open.

        Raises:
            ValueError: wrong shape, or a value that is not finite.
        """
        joints = np.asarray(joints, dtype=np.float64)
        if joints.shape != (len(JOINTS),):
            raise ValueError(f"expected joints of shape ({len(JOINTS)},) rad, got {joints.shape}")
        target = np.append(joints, (1.0 - gripper_opening) * GRIPPER_CLOSED_RAD)
        if not np.isfinite(target).all():
            raise ValueError(f"expected finite commands, got joints {joints}, gripper {gripper_opening}")
        self._target = np.clip(target, self._limits[:, 0], self._limits[:, 1])

    def step(self, seconds: float) -> None:
        """Advance the physics by the whole number of time steps nearest to `seconds`."""
        steps = round(seconds / self.model.opt.timestep)
        torques = np.zeros(len(JOINTS))
        dt, w = self.model.opt.timestep, SMOOTHING_RAD_S
        for _ in range(steps):
            self._reached += np.clip(self._target - self._reached, -self._slowest_step, self._slowest_step)
            self._rate += dt * (w * w * (self._reached[:-1] - self._smooth) - 2 * w * self._rate)
            self._smooth += dt * self._rate
            self.data.ctrl[self._actuators] = np.append(self._smooth, self._reached[-1])
            mujoco.mj_step(self.model, self.data)
            torques += self.data.qfrc_actuator[self._dofs[:-1]]
        self._torques = torques / max(steps, 1)
        self._update_poses()

    @property
    def time_s(self) -> float:
        """Simulated time since the last reset, s."""
        return self.data.time

    @property
    def joint_positions(self) -> np.ndarray:
        """(7,) rad, joint1 .. joint7."""
        return self.data.qpos[self._qpos[:-1]]

    @property
    def joint_velocities(self) -> np.ndarray:
        """(7,) rad/s."""
        return self.data.qvel[self._dofs[:-1]]

    @property
    def joint_torques(self) -> np.ndarray:
        """(7,) N m, motor torques averaged over the last `step`; they carry the arm's weight."""
        return self._torques.copy()

    @property
    def gripper_opening(self) -> float:
        """0 closed .. 1 open, measured."""
        return float(np.clip(1.0 - self.data.qpos[self._qpos[-1]] / GRIPPER_CLOSED_RAD, 0.0, 1.0))

    @property
    def tcp_pose(self) -> tuple[np.ndarray, np.ndarray]:
        """Position (3,) m and rotation (3, 3) of the tool point in the base frame of the arm."""
        site = self.data.site(TCP_SITE)
        return site.xpos.copy(), site.xmat.reshape(3, 3).copy()

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

    def _leave_home(self) -> None:
        """Put the arm at home with the gripper open, and let the servos hold it there."""
        self._target = np.append(HOME_RAD, 0.0)
        self._be_there()

    def _be_there(self) -> None:
        self._reached, self._smooth = self._target.copy(), self._target[:-1].copy()
        self._rate = np.zeros(len(JOINTS))
        self.data.qpos[self._qpos] = self._target
        self.data.qvel[self._dofs] = 0.0
        self.data.ctrl[self._actuators] = self._target
        mujoco.mj_forward(self.model, self.data)
        self._torques = self.data.qfrc_actuator[self._dofs[:-1]]

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
