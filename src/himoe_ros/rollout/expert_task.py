"""A trial's setting as an episode of a scripted expert."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Protocol as Interface

import numpy as np

from ..core.embodiment import END_EFFECTOR, Embodiment
from ..core.errors import ConfigError
from ..core.observation import Floats
from ..core.unified import values_pose
from ..sim.expert import HELD_M, STEP_S, Expert, Task
from ..sim.fold import FoldExpert
from ..sim.handover import HandoverExpert
from ..sim.hands import TURN_RAD, hand_pose, pitch_of, roll_of
from ..sim.scoop import ScoopExpert
from ..sim.shorts import SHORTS
from ..sim.transfer import ROLLS, TransferExpert
from ..teleop.tool import Target, tool_slots
from ..trials.fold_judge import FOLD
from ..trials.protocol import Protocol, Setting
from ..trials.reward_judge import REWARDED
from ..trials.scoop_judge import SCOOP, in_spoon
from ..trials.things import NESTED_M, PLATE, THINGS
from ..trials.truth import Pose

CLEARANCE_M = 0.02  # between what is carried and what it is carried over
RIM_M = 0.02  # below a cup's rim goes the tool point: so far open, the fingers end 6 mm above that
HALF_OPEN = 0.5
SPEED = 0.9  # share of the arm's largest speed that can be foreseen
LEVEL = np.zeros(2)  # rad, of two hands that are not turned
HANDOVER = ["grasp", "transfer", "place"]


class Scripted(Interface):
    """One episode of an expert."""

    @property
    def done(self) -> bool:
        """True once everything is where it belongs and the hands have left it."""

    def plan(self, things: Mapping[str, Pose], joints: Mapping[str, float]) -> list[list[Target]]:
        """What to do next: targets of every arm, STEP_S apart.

        Args:
            things: where they are.
            joints: name -> rad or m, grippers among them.
        """


def scripted(embodiment: Embodiment, protocol: Protocol, setting: Setting, rng: np.random.Generator) -> Scripted:
    """The expert that does what a setting asks.

    Raises:
        ConfigError: no expert has learned such a task.
    """
    if list(protocol.stages) == HANDOVER:
        return Handover(embodiment, setting, rng)
    if list(protocol.stages) == SCOOP:
        return Scoop(embodiment, setting, rng)
    if list(protocol.stages) == FOLD:
        return Fold(embodiment, setting, rng)
    if list(protocol.stages) == REWARDED:
        return Transfer(embodiment, setting, rng)
    return OneHand(embodiment, *expert_task(protocol, setting), rng)


def expert_task(protocol: Protocol, setting: Setting) -> tuple[str, str, Task]:
    """What one hand picks up, where it brings it, and how.

    Raises:
        ConfigError: the expert has not learned such a task.
    """
    named, target = (*setting.roles.values(), "", "")[:2]
    how = list(protocol.stages)[-1]
    if {named, target} - set(THINGS) or how not in ("place", "insert", "stack"):
        raise ConfigError(f"{protocol.name}: the scripted expert knows no '{how}' of {list(setting.roles.values())}")
    thing = THINGS[named]
    if how == "insert":
        grasp = thing.top - RIM_M
        over = thing.top + CLEARANCE_M
        return named, target, Task(grasp, NESTED_M, over, over + grasp, care=0.3, within=0.01)
    if how == "stack":
        return named, target, Task(-0.006, 2 * thing.foot, 0.07, 0.11, care=0.3, within=0.02, sided=True)
    return named, target, Task(-0.01, PLATE.top + thing.foot, 0.07, 0.10, care=1.0, within=0.06)


class OneHand:
    """See Scripted: the first arm brings one thing to another."""

    def __init__(self, embodiment: Embodiment, named: str, target: str, task: Task, rng: np.random.Generator) -> None:
        self._arm, self._named, self._target = embodiment.arms[0], named, target
        self._task, self._expert = task, Expert(rng, task)
        self._stride = np.inf if embodiment.workspace is None else SPEED * embodiment.workspace.max_speed * STEP_S

    @property
    def done(self) -> bool:
        """See Scripted."""
        return self._expert.done

    def plan(self, things: Mapping[str, Pose], joints: Mapping[str, float]) -> list[list[Target]]:
        """See Scripted."""
        thing, at = things[self._named], self.hand(joints)
        rows = self._expert.plan(at[:6], at[6], thing.place, thing.yaw, things[self._target].place)
        return self.targets(rows)

    def hand(self, joints: Mapping[str, float]) -> Floats:
        """(7,) pose of the tool as `tool_slots`, and the gripper's opening."""
        arm = self._arm
        tool = tool_slots(arm, np.array([joints[joint] for joint in arm.joints]))
        return np.append(tool, arm.gripper.opening(joints[arm.gripper.joint]))

    def targets(self, rows: Floats) -> list[list[Target]]:
        """(T, 7) as from `hand`."""
        return [
            [(values_pose(self._arm, dict(zip(END_EFFECTOR, row[:6].tolist(), strict=True))), float(row[6]))]
            for row in rows
        ]

    def _feasible(self, at: Floats, wanted: Floats) -> Floats:
        """(7,) as far as the arm gets towards what is wanted, in STEP_S: an expert likes to lead it on."""
        way = wanted[:3] - at[:3]
        share = min(1.0, self._stride / max(float(np.linalg.norm(way)), 1e-9))
        return np.concatenate([at[:3] + share * way, wanted[3:]])

    def foresee(
        self, things: Mapping[str, Pose], joints: Mapping[str, float], steps: int, certain: Floats
    ) -> tuple[Floats, list[OneHand]]:
        """What it would do if all went as it wants; the episode itself does not go on.

        Args:
            things, joints: as in `plan`.
            steps: of the answer.
            certain: (K, 7) what the hand does first, whatever the expert wants; K may be 0.

        Returns:
            (steps, 7) as from `hand`, STEP_S apart; and how far it would be in the episode before each step.
        """
        minds: list[OneHand] = []
        gripper = self._arm.gripper
        at, place = self.hand(joints), things[self._named].place
        yaw, target = things[self._named].yaw, things[self._target].place
        over = np.array([0.0, 0.0, self._task.grasp])
        reach = gripper.max_speed * STEP_S / abs(gripper.closed - gripper.open)  # of the opening, in a step
        rows, expert = [], self._expert
        for k in range(steps):
            minds.append(copy.copy(self))
            minds[-1]._expert, expert = expert, copy.deepcopy(expert)
            wanted = expert.plan(at[:6], at[6], place, yaw, target)[0]
            row = certain[k] if k < len(certain) else self._feasible(at, wanted)
            grasped = np.linalg.norm(place + over - at[:3]) < HELD_M
            if grasped and row[6] < HALF_OPEN:
                place, yaw = place + row[:3] - at[:3], yaw + row[5] - at[5]
            elif grasped and np.linalg.norm((place - target)[:2]) < self._task.within:
                place = np.array([*place[:2], target[2] + self._task.rest])  # it falls the last millimetres
            at = np.append(row[:6], at[6] + np.clip(row[6] - at[6], -reach, reach))
            rows.append(row)
        return np.array(rows), minds


class _Expert(Interface):
    """Of sim/, for two hands; their plans take different things."""

    @property
    def done(self) -> bool:
        """See Scripted."""


class _TwoHands:
    """What experts of two arms share: where the hands are, and their strides as targets."""

    def __init__(self, embodiment: Embodiment, expert: _Expert) -> None:
        self._arms, self._expert = embodiment.arms, expert

    @property
    def done(self) -> bool:
        """See Scripted."""
        return self._expert.done

    def _hands(self, joints: Mapping[str, float]) -> tuple[Floats, Floats, Floats]:
        """(2, 3) m, (2,) rad downward, (2,) openings."""
        poses = [arm.tool(joints) for arm in self._arms]
        openings = np.array([arm.gripper.opening(joints[arm.gripper.joint]) for arm in self._arms])
        return np.array([p[:3, 3] for p in poses]), np.array([pitch_of(p) for p in poses]), openings

    def _rolls(self, joints: Mapping[str, float]) -> Floats:
        """(2,) rad, of the hands about the way they point."""
        return np.array([roll_of(arm, arm.tool(joints)) for arm in self._arms])

    def _targets(self, rows: Floats, rolls: Floats = LEVEL, wanted: Floats = LEVEL) -> list[list[Target]]:
        """Of strides; where the hands turn about the way they point: (2,) rad now, and (2,) as wanted."""
        targets = []
        for row in rows:
            rolls = rolls + np.clip(wanted - rolls, -TURN_RAD, TURN_RAD)
            hands = zip(self._arms, row, rolls, strict=True)
            targets.append([(hand_pose(arm, r[:3], r[3], roll), float(r[4])) for arm, r, roll in hands])
        return targets


class Handover(_TwoHands):
    """See Scripted: a cup goes from the right hand to the left, and onto a plate."""

    def __init__(self, embodiment: Embodiment, setting: Setting, rng: np.random.Generator) -> None:
        super().__init__(embodiment, HandoverExpert(rng, _bases(embodiment)))
        self._cup, self._plate = setting.roles.values()

    def plan(self, things: Mapping[str, Pose], joints: Mapping[str, float]) -> list[list[Target]]:
        """See Scripted."""
        cup = things[self._cup]
        return self._targets(self._expert.plan(*self._hands(joints), cup.place, cup.up, things[self._plate].place))


class Scoop(_TwoHands):
    """See Scripted: the left hand pushes a bowl to the middle, the right one scoops and pours."""

    def __init__(self, embodiment: Embodiment, setting: Setting, rng: np.random.Generator) -> None:
        super().__init__(embodiment, ScoopExpert(rng, _bases(embodiment)))
        (self._box,) = setting.roles.values()

    def plan(self, things: Mapping[str, Pose], joints: Mapping[str, float]) -> list[list[Target]]:
        """See Scripted."""
        tools, pitches, _ = self._hands(joints)
        spoon, (box, bowl) = things["spoon"], (things[name].place for name in (self._box, "bowl"))
        load = len(in_spoon(things))
        return self._targets(self._expert.plan(tools, pitches, spoon.place, spoon.up, load, box, bowl))


class Fold(_TwoHands):
    """See Scripted: both hands fold a garment along its middle, the right one then across."""

    def __init__(self, embodiment: Embodiment, setting: Setting, rng: np.random.Generator) -> None:
        (self._garment,) = setting.roles.values()
        super().__init__(embodiment, FoldExpert(rng, SHORTS[self._garment]))

    def plan(self, things: Mapping[str, Pose], joints: Mapping[str, float]) -> list[list[Target]]:
        """See Scripted."""
        (tools, pitches, _), rolls = self._hands(joints), self._rolls(joints)
        garment = things[self._garment]
        rows = self._expert.plan(tools, pitches, rolls, garment.place, garment.yaw, garment.hinges)
        return self._targets(rows, rolls, self._expert.rolls)


class Transfer(_TwoHands):
    """See Scripted: gym-aloha's cube goes from the right hand to the left, whose fingers stand crosswise."""

    def __init__(self, embodiment: Embodiment, setting: Setting, rng: np.random.Generator) -> None:
        super().__init__(embodiment, TransferExpert(rng))
        (self._cube,) = setting.roles.values()

    def plan(self, things: Mapping[str, Pose], joints: Mapping[str, float]) -> list[list[Target]]:
        """See Scripted."""
        rows = self._expert.plan(*self._hands(joints), things[self._cube].place)
        return self._targets(rows, self._rolls(joints), ROLLS)


def _bases(embodiment: Embodiment) -> Floats:
    return np.array([arm.mount[:3, 3] for arm in embodiment.arms])
