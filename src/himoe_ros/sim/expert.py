"""The scripted expert: picks one thing up and brings it to another, from true poses, with a human's unsteady hand.

It is reactive: what it wants next is the robot's present pose plus a bounded step to a goal, so what it does is a
function of what there is to see, and it starts over whenever it does not hold what it should.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..core.observation import Floats

STEP_S = 0.1  # of a plan
STEPS = 3  # of a plan
FINE = 0.8  # share of the usual step near things
HELD_M = 0.022  # from the tool point to where a held thing is grasped
NEAR_M, NEAR_FINE_M = 0.012, 0.005  # a goal is reached
TURN_RAD = 0.06  # largest correction of the orientation in a step
FREE = 0.93  # of the gripper's opening: nothing is touched any more
THERE_M = 0.015  # of its height where it belongs
SETTLED_M = 0.05  # above the place, after letting go
ALIGNED_RAD = 0.12  # of the hand with a thing's sides, before it goes down
PAUSE = 0.15  # share of the phases before which the hand rests for a moment


@dataclass(frozen=True)
class Task:
    """What is done with which things; m.

    Attributes:
        grasp: over a thing's origin goes the tool point. Half closed, the fingers end 3 mm above that.
        rest: height of the thing's origin over the place's, once it is brought.
        clear: the tool is no lower while it moves sideways with nothing in the hand.
        carry: the same with the thing in the hand.
        care: share of the hand's usual misses at the place.
        within: from the place's axis, where the thing has been brought.
        sided: grasped at two of its four sides.
    """

    grasp: float
    rest: float
    clear: float
    carry: float
    care: float
    within: float
    sided: bool = False


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode.

    Attributes:
        step: m, longest step in STEP_S.
        gain: share of what is left that a step takes.
        above: m, over a thing's top, from which to go down.
        aim: (3,) m, by which the grasp misses the middle.
        closing, opening: steps to wait for the gripper.
        lift: m, over what is needed, to carry at.
        place: (2,) m, by which the place misses the middle.
        release: m, above the place.
        orientation: (3,) rad, roll, pitch and yaw to hold.
    """

    step: float
    gain: float
    above: float
    aim: Floats
    closing: int
    opening: int
    lift: float
    place: Floats
    release: float
    orientation: Floats


def sample_manner(rng: np.random.Generator) -> Manner:
    """Draw an operator's manner for one episode."""
    return Manner(
        step=rng.uniform(0.025, 0.042),
        gain=rng.uniform(0.55, 0.8),
        above=rng.uniform(0.05, 0.09),
        aim=rng.uniform(-0.0025, 0.0025, 3),
        closing=int(rng.integers(4, 7)),
        opening=int(rng.integers(3, 5)),
        lift=rng.uniform(0.01, 0.06),
        place=rng.uniform(-0.012, 0.012, 2),
        release=rng.uniform(0.004, 0.020),
        orientation=rng.normal(0.0, [0.02, 0.02, 0.06]),
    )


@dataclass(frozen=True)
class _Seen:
    """Where things are, (3,) m: the tool, the thing, where to grasp it, where to let it go; whether the hand is open,
    the thing held, or where it belongs; and the yaw, rad, that the hand still has to turn for it."""

    tool: Floats
    thing: Floats
    grasp: Floats
    drop: Floats
    free: bool
    held: bool
    there: bool
    turn: float


@dataclass(frozen=True)
class _Goal:
    """Where the tool should be, (3,) m, the gripper's opening, and whether care is needed."""

    place: Floats
    opening: float
    fine: bool = False


class Expert:
    """One episode. Positions are (3,) m in the frame of the arm's base; targets in the slots of the end effector."""

    def __init__(self, rng: np.random.Generator, task: Task) -> None:
        """`rng`: of this episode."""
        self._rng, self._task = rng, task
        self.manner = sample_manner(rng)
        self.phase = "approach"
        self._waited = 0
        self._pause = 0

    @property
    def done(self) -> bool:
        """True once the thing is let go of and the tool has left it."""
        return self.phase == "done"

    def plan(self, tool: Floats, opening: float, thing: Floats, yaw: float, place: Floats) -> Floats:
        """What to do next.

        Args:
            tool: (6,) x y z roll pitch yaw of the tool now, m and rad.
            opening: of the gripper now, 0 closed .. 1 open.
            thing: origin of what to pick up.
            yaw: rad, how that is turned.
            place: origin of where to bring it.

        Returns:
            (STEPS, 7) targets at STEP_S, 2 STEP_S, ...: pose and gripper opening.
        """
        m, task = self.manner, self._task
        over = np.array([0.0, 0.0, task.grasp])
        held = float(np.linalg.norm(thing + over - tool[:3])) < HELD_M
        # What is held may have slipped: it is the thing that goes to its place, not the hand.
        in_hand = np.array([*(tool[:2] - thing[:2]), task.grasp]) if held else over
        wanted = m.orientation[2]
        if task.sided:
            wanted = tool[5] if held else yaw + task.care * wanted + np.pi / 2 * round((tool[5] - yaw) / (np.pi / 2))
        seen = _Seen(
            tool[:3],
            thing,
            grasp=thing + m.aim + over,
            drop=place + in_hand + np.array([*(task.care * m.place), task.rest + task.care * m.release]),
            free=opening > FREE,
            held=held,
            there=bool(
                np.linalg.norm((thing - place)[:2]) < task.within and abs(thing[2] - place[2] - task.rest) < THERE_M
            ),
            turn=wanted - tool[5],
        )
        goal: _Goal = getattr(self, f"_{self.phase}")(seen)
        if self._pause:
            self._pause -= 1
            goal = replace(goal, place=tool[:3])
        facing = np.array([*m.orientation[:2], wanted])
        rows, pose = [], tool.copy()
        for _ in range(STEPS):
            pose = pose + self._stride(pose, goal, facing)
            rows.append([*pose, goal.opening])
        return np.array(rows)

    def _stride(self, pose: Floats, goal: _Goal, facing: Floats) -> Floats:
        way = self.manner.gain * (goal.place - pose[:3])
        longest = self.manner.step * (FINE if goal.fine else 1.0)
        way *= min(1.0, longest / max(float(np.linalg.norm(way)), 1e-9))
        return np.concatenate([way, np.clip(facing - pose[3:6], -TURN_RAD, TURN_RAD)])

    def _approach(self, s: _Seen) -> _Goal:
        if s.there:
            self._go("done")
            return self._done(s)
        over = np.array([*s.grasp[:2], max(s.grasp[2], self._task.clear) + self.manner.above])
        sideways = np.linalg.norm((s.tool - over)[:2])
        ready = not self._task.sided or abs(s.turn) < ALIGNED_RAD
        if sideways < NEAR_M and s.tool[2] > over[2] - 2 * NEAR_M and ready:
            self._go("descend")
        if s.tool[2] < self._task.clear and sideways > 3 * NEAR_M:
            over = np.array([*s.tool[:2], over[2]])  # up before sideways, where things stand about
        return _Goal(over, 1.0)

    def _descend(self, s: _Seen) -> _Goal:
        if np.linalg.norm(s.tool - s.grasp) < NEAR_FINE_M:
            self._go("close")
        elif np.linalg.norm((s.tool - s.grasp)[:2]) > 2.5 * NEAR_M:
            self._go("approach")  # it was pushed away
        return _Goal(s.grasp, 1.0, fine=True)

    def _close(self, s: _Seen) -> _Goal:
        self._waited += 1
        if self._waited >= self.manner.closing:
            self._go("lift" if s.held else "approach")
        return _Goal(s.tool if s.held else s.grasp, 0.0, fine=True)

    @property
    def _carried(self) -> float:
        """m, height of the tool on the way to the place."""
        return self._task.carry + self.manner.lift

    def _lift(self, s: _Seen) -> _Goal:
        if not s.held:
            self._go("approach")  # it slipped
        elif s.tool[2] > self._carried - NEAR_M:
            self._go("carry")
        return _Goal(np.array([*(s.drop if s.tool[2] > self._task.carry else s.tool)[:2], self._carried]), 0.0)

    def _carry(self, s: _Seen) -> _Goal:
        over = np.array([*s.drop[:2], self._carried])
        if not s.held:
            self._go("approach")
        elif np.linalg.norm(s.tool - over) < (NEAR_M if self._task.care == 1.0 else NEAR_FINE_M):
            self._go("lower")
        return _Goal(over, 0.0)

    def _lower(self, s: _Seen) -> _Goal:
        if not s.held:
            self._go("approach")
        elif np.linalg.norm(s.tool - s.drop) < NEAR_FINE_M:
            self._go("open")
        return _Goal(s.drop, 0.0, fine=True)

    def _open(self, s: _Seen) -> _Goal:
        self._waited += 1
        if self._waited >= self.manner.opening and s.free:
            self._go("retreat")
        return _Goal(s.tool, 1.0, fine=True)

    def _retreat(self, s: _Seen) -> _Goal:
        up = np.array([*s.tool[:2], max(self._carried, s.drop[2] + SETTLED_M + NEAR_M)])
        if s.tool[2] > s.drop[2] + SETTLED_M:
            self._go("done" if s.there else "approach")
        return _Goal(up, 1.0)

    def _done(self, s: _Seen) -> _Goal:
        return _Goal(np.array([*s.tool[:2], max(self._carried, s.drop[2] + SETTLED_M)]), 1.0)

    def _go(self, phase: str) -> None:
        self.phase, self._waited = phase, 0
        if phase != "done" and self._rng.random() < PAUSE:
            self._pause = int(self._rng.integers(2, 6))
