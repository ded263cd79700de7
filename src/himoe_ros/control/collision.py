"""Would this plan hit something? Asked before it starts, of a model made from the embodiment file alone.

The model is the arm's modified DH chain with a few capsules on each link. MuJoCo finds which of them come
too close; it is imported only where an embodiment has such a model.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from ..core.action_guard import clip_to_workspace
from ..core.arm import Arm, Workspace
from ..core.capsules import BASE, CollisionModel
from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment
from ..core.errors import ConfigError, GuardError
from ..core.observation import ActionChunk, Floats
from ..core.unified import values_pose

try:
    import mujoco
except ImportError as error:
    raise ConfigError(
        "the collision check needs MuJoCo: pip install 'mujoco>=3.8,<3.9', "
        "or set the controller's parameter collision_check to false"
    ) from error

LONGEST_MOVE_RAD = 0.08  # of a joint, between two postures that are looked at
MOST_BETWEEN = 8  # postures on the way to a step of a plan
SAME = np.repeat([0.02, 0.2], 3)  # m, rad: a step whose tool is so near to one looked at is passed over
IK_STEPS = 3  # damped-least-squares steps to each of them, at most
NEAR = 0.002  # m, rad: no further step is needed


class CollisionGuard:
    """Checks plans of a one-armed robot. For one thread at a time."""

    def __init__(self, embodiment: Embodiment, space: ActionSpace) -> None:
        arm, workspace, body = embodiment.arms[0], embodiment.workspace, embodiment.collision
        if body is None or workspace is None or arm.chain is None or len(embodiment.arms) != 1:
            raise ConfigError(f"{embodiment.name}: a collision check needs one arm, 'kinematics' and 'workspace'")
        self._arm: Arm = arm
        self._workspace: Workspace = workspace
        self._body: CollisionModel = body
        self._space = space
        self.model = capsule_model(arm, body)
        self._data = mujoco.MjData(self.model)
        self._links = (BASE, *arm.joints)
        hand = np.array([capsule.link == arm.joints[-1] for capsule in body.capsules])
        self._height = body.table + np.where(hand, body.hand_clearance, body.table_clearance)
        self._on_table = np.array([capsule.link != BASE for capsule in body.capsules])

    def check(self, chunk: ActionChunk, joints: Floats, now: float) -> None:
        """Refuse a plan that leads somewhere it must not.

        Args:
            chunk: already checked by `action_guard.check_chunk`.
            joints: (J,) rad, commanded now; the plan starts here.
            now: s, the clock of `chunk.stamp`.

        Raises:
            GuardError: names the step, and what comes too close there.
        """
        here = joints
        for k, there in self._steps(chunk, joints, now):
            count = int(np.clip(np.ceil(np.abs(there - here).max() / LONGEST_MOVE_RAD), 1, MOST_BETWEEN))
            for i in range(1, count + 1):
                self.check_posture(here + (there - here) * (i / count), f"step {k + 1} of the chunk")
            here = there

    def check_posture(self, joints: Floats, what: str) -> None:
        """Refuse (J,) rad where links are too close to each other, to the table, or out of the workspace."""
        body, data = self._body, self._data
        data.qpos[:] = joints
        mujoco.mj_kinematics(self.model, data)
        mujoco.mj_comPos(self.model, data)  # the broad phase needs it
        lowest = data.geom_xpos[:, 2] - np.abs(data.geom_xmat[:, 8]) * self.model.geom_size[:, 1]
        room = lowest - self.model.geom_size[:, 0] - self._height
        if (room[self._on_table] < 0).any():
            worst = int(np.argmin(np.where(self._on_table, room, np.inf)))
            link = body.capsules[worst].link
            raise GuardError(f"{what} would bring the link of {link} {-room[worst]:.3f} m too close to the table")
        mujoco.mj_collision(self.model, data)
        distances = data.contact.dist
        if len(distances) and distances.min() < body.min_distance:
            nearest = int(distances.argmin())
            one, two = (body.capsules[int(g)].link for g in data.contact.geom[nearest])
            raise GuardError(
                f"{what} would bring the links of {one} and {two} to {distances[nearest]:.3f} m, "
                f"allowed {body.min_distance:g} m"
            )

    def _steps(self, chunk: ActionChunk, here: Floats, now: float) -> Iterator[tuple[int, Floats]]:
        """Steps to look at, and the joints (J,) there; all that are not past lie inside the workspace."""
        ahead = np.flatnonzero(chunk.stamp + chunk.times > now).tolist()
        values, arm = chunk.values[ahead], self._arm
        if self._space.names[0] not in END_EFFECTOR:
            postures = values[:, [self._space.names.index(joint) for joint in arm.joints]]
            self._require_inside(np.array([arm.forward(q)[:3, 3] for q in postures]).reshape(-1, 3), ahead)
            yield from zip(ahead, postures, strict=True)
            return
        self._require_inside(values[:, :3], ahead)
        inside = clip_to_workspace(values, self._space, self._workspace)
        for i in _apart(inside[:, : len(END_EFFECTOR)]):
            pose = values_pose(arm, dict(zip(self._space.names, inside[i].tolist(), strict=True)))
            here, _ = arm.chain.step_toward(here, pose, arm.bounds, IK_STEPS, rest_gain=0.01, enough=NEAR)
            yield ahead[i], here

    def _require_inside(self, places: Floats, steps: list[int]) -> None:
        """Refuse (K, 3) m, of these steps, where one is far outside the workspace."""
        box, most = self._workspace, self._body.overshoot
        out = np.maximum(box.lower - places, places - box.upper)
        far = np.flatnonzero((out > most).any(axis=1))
        if len(far):
            first = int(far[0])
            axis = int(np.argmax(out[first]))
            raise GuardError(
                f"step {steps[first] + 1} of the chunk would leave the workspace: "
                f"{'xyz'[axis]} = {places[first, axis]:.3f} m, "
                f"allowed {box.lower[axis]:g} to {box.upper[axis]:g} m, and {most:g} m more are clipped"
            )


def _apart(tools: Floats) -> Iterator[int]:
    """Of (K, 6) m and rad, the first, those that are away from the one told before, and the last."""
    told = np.full(len(SAME), np.inf)
    for i, tool in enumerate(tools):
        if i == len(tools) - 1 or (np.abs(tool - told) > SAME).any():
            told = tool
            yield i


def capsule_model(arm: Arm, body: CollisionModel) -> mujoco.MjModel:
    """The arm as capsules; its contacts are pairs of links nearer than allowed. Neighbours have none."""
    spec = mujoco.MjSpec()
    link = spec.worldbody.add_body(name=BASE)
    bodies = {BASE: link}
    for joint, (d, theta, alpha, a) in zip(arm.joints, arm.chain.dh, strict=True):
        turn = [np.cos(alpha / 2), np.sin(alpha / 2), 0.0, 0.0]
        link = link.add_body(name=joint, pos=[a, -d * np.sin(alpha), d * np.cos(alpha)], quat=turn)
        link.add_joint(name=joint, type=mujoco.mjtJoint.mjJNT_HINGE, axis=[0, 0, 1], ref=-theta)
        bodies[joint] = link
    for capsule in body.capsules:
        bodies[capsule.link].add_geom(
            type=mujoco.mjtGeom.mjGEOM_CAPSULE,
            fromto=[*capsule.start, *capsule.end],
            size=[capsule.radius, 0, 0],
            margin=body.min_distance,
        )
    links = (BASE, *arm.joints)
    neighbours = {frozenset(pair) for pair in pairwise(links)}
    for one, two in map(sorted, neighbours | body.ignored):
        spec.add_exclude(bodyname1=one, bodyname2=two)
    return spec.compile()
