"""The scripted expert: picks one thing up and puts it onto another, from true poses, with a human's unsteady hand.

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
DEEP_M = 0.010  # below a thing's middle goes the tool point: half closed, the fingers end 3 mm above that
HELD_M = 0.022  # from the tool point to the middle of what is held
CLEAR_M = 0.07  # below this height nothing is moved sideways
NEAR_M, NEAR_FINE_M = 0.012, 0.005  # a goal is reached
TURN_RAD = 0.06  # largest correction of the orientation in a step
SETTLED_M = 0.05  # above the place, after letting go
ON_IT_M = 0.06  # from the place's middle
PAUSE = 0.15  # share of the phases before which the hand rests for a moment


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode.

    Attributes:
        step: m, longest step in STEP_S.
        gain: share of what is left that a step takes.
        above: m, height from which to go down.
        aim: (3,) m, by which the grasp misses the middle.
        closing, opening: steps to wait for the gripper.
        lift: m, height to carry at.
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
        above=rng.uniform(0.07, 0.11),
        aim=rng.uniform(-0.0025, 0.0025, 3),
        closing=int(rng.integers(4, 7)),
        opening=int(rng.integers(3, 5)),
        lift=rng.uniform(0.11, 0.16),
        place=rng.uniform(-0.012, 0.012, 2),
        release=rng.uniform(0.004, 0.020),
        orientation=rng.normal(0.0, [0.02, 0.02, 0.06]),
    )


@dataclass(frozen=True)
class _Seen:
    """Where things are, (3,) m: the tool, the thing, where to grasp it, where to let it go; and whether it is held."""

    tool: Floats
    thing: Floats
    grasp: Floats
    drop: Floats
    held: bool


@dataclass(frozen=True)
class _Goal:
    """Where the tool should be, (3,) m, the gripper's opening, and whether care is needed."""

    place: Floats
    opening: float
    fine: bool = False


class Expert:
    """One episode. Positions are (3,) m in the frame of the arm's base; targets in the slots of the end effector."""

    def __init__(self, rng: np.random.Generator, rest: float, height: float) -> None:
        """
        Args:
            rng: of this episode.
            rest: m, height of the thing's middle over where it stands.
            height: m, of the surface to put it onto, over the place's origin.
        """
        self._rng, self._rest, self._height = rng, rest, height
        self.manner = sample_manner(rng)
        self.phase = "approach"
        self._waited = 0
        self._pause = 0

    @property
    def done(self) -> bool:
        """True once the thing is let go of and the tool has left it."""
        return self.phase == "done"

    def plan(self, tool: Floats, thing: Floats, place: Floats) -> Floats:
        """What to do next.

        Args:
            tool: (6,) x y z roll pitch yaw of the tool now, m and rad.
            thing: middle of what to pick up.
            place: origin of what to put it onto.

        Returns:
            (STEPS, 7) targets at STEP_S, 2 STEP_S, ...: pose and gripper opening.
        """
        m = self.manner
        height = place[2] + self._height + self._rest - DEEP_M + m.release
        seen = _Seen(
            tool[:3],
            thing,
            grasp=thing + m.aim - np.array([0.0, 0.0, DEEP_M]),
            drop=np.array([*(place[:2] + m.place), height]),
            held=float(np.linalg.norm(thing - tool[:3])) < HELD_M,
        )
        goal: _Goal = getattr(self, f"_{self.phase}")(seen)
        if self._pause:
            self._pause -= 1
            goal = replace(goal, place=tool[:3])
        rows, pose = [], tool.copy()
        for _ in range(STEPS):
            pose = pose + self._stride(pose, goal)
            rows.append([*pose, goal.opening])
        return np.array(rows)

    def _stride(self, pose: Floats, goal: _Goal) -> Floats:
        way = self.manner.gain * (goal.place - pose[:3])
        longest = self.manner.step * (FINE if goal.fine else 1.0)
        way *= min(1.0, longest / max(float(np.linalg.norm(way)), 1e-9))
        turn = np.clip(self.manner.orientation - pose[3:6], -TURN_RAD, TURN_RAD)
        return np.concatenate([way, turn])

    def _approach(self, s: _Seen) -> _Goal:
        over = np.array([*s.grasp[:2], s.thing[2] + self.manner.above])
        if np.linalg.norm((s.tool - over)[:2]) < NEAR_M and s.tool[2] > over[2] - 2 * NEAR_M:
            self._go("descend")
        if s.tool[2] < CLEAR_M and np.linalg.norm((s.tool - over)[:2]) > 3 * NEAR_M:
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

    def _lift(self, s: _Seen) -> _Goal:
        if not s.held:
            self._go("approach")  # it slipped
        elif s.tool[2] > self.manner.lift - NEAR_M:
            self._go("carry")
        return _Goal(np.array([*(s.drop if s.tool[2] > CLEAR_M else s.tool)[:2], self.manner.lift]), 0.0)

    def _carry(self, s: _Seen) -> _Goal:
        over = np.array([*s.drop[:2], self.manner.lift])
        if not s.held:
            self._go("approach")
        elif np.linalg.norm(s.tool - over) < NEAR_M:
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
        if self._waited >= self.manner.opening:
            self._go("retreat")
        return _Goal(s.tool, 1.0, fine=True)

    def _retreat(self, s: _Seen) -> _Goal:
        if s.tool[2] > s.drop[2] + SETTLED_M:
            low = s.thing[2] < s.drop[2] + self._rest
            self._go("done" if low and np.linalg.norm((s.thing - s.drop)[:2]) < ON_IT_M else "approach")
        return _Goal(np.array([*s.tool[:2], self.manner.lift]), 1.0)

    def _done(self, s: _Seen) -> _Goal:
        return _Goal(np.array([*s.tool[:2], self.manner.lift]), 1.0)

    def _go(self, phase: str) -> None:
        self.phase, self._waited = phase, 0
        if phase != "done" and self._rng.random() < PAUSE:
            self._pause = int(self._rng.integers(2, 6))
