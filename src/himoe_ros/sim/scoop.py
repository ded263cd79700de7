"""The scripted expert of ALOHA's Scoop: the left hand pushes the bowl to the middle, the right one scoops and pours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.observation import Floats
from .hands import TURN_RAD, UP, strides

LEFT, RIGHT = 0, 1
HANDLE_M = 0.11  # over the spoon's mouth: where it is held
LEAST_LOAD = 2  # grains; with less it goes in again
BEHIND_M = 0.06
NEAR_M, NEAR_FINE_M = 0.015, 0.006
FINE = 0.6
FLOOR_M = 0.025  # of the mouth's middle, when its edge is on the floor of a box
OVER_M, HIGH_M = 0.075, 0.13  # of the mouth's middle: over boxes and bowl, and with its load
ENTER_M, LEAVE_M = 0.020, -0.020  # from the middle of the box, along the hand, where the mouth goes down and up
FIRST_TIPPED_RAD, TIPPED_RAD, POURED_RAD = 0.25, 0.38, -1.0  # of the spoon: with its load, and without
GRASP_PITCH_RAD, PUSH_PITCH_RAD = 0.1, 0.35
PUSH_M, APART_M, TOUCH_M = 0.03, 0.09, 0.05  # of the left hand: its height, and from the bowl's middle
MIDDLE_M = 0.015  # of the bowl from the middle of the table
POURING, PUSHED = 8, 6  # steps
READY_M = np.array([-0.16, 0.0, 0.25])


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode.

    Attributes:
        step: m, longest step in STEP_S.
        gain: share of what is left that a step takes.
        aim: (2,) m, by which the scoop misses the middle of the box, across and upward.
        pour: (2,) m, by which the load misses the middle of the bowl.
    """

    step: float
    gain: float
    aim: Floats
    pour: Floats


def sample_manner(rng: np.random.Generator) -> Manner:
    """Draw an operator's manner for one episode."""
    return Manner(
        rng.uniform(0.02, 0.032),
        rng.uniform(0.5, 0.7),
        rng.uniform([-0.004, 0.0], [0.004, 0.001]),
        rng.uniform(-0.012, 0.012, 2),
    )


@dataclass(frozen=True)
class _Seen:
    """A hand's place, (3,) m, and pitch, rad; the spoon's mouth, (3,) m, how far it is tipped back, rad, and its load;
    box and bowl, (3,) m."""

    tool: Floats
    pitch: float
    spoon: Floats
    tipped: float
    load: int
    box: Floats
    bowl: Floats


_Wish = tuple[Floats, float, float, bool]  # (3,) m goal, rad, opening; whether it needs care


class ScoopExpert:
    """One episode. Positions in the robot's frame, m; hands in the order left, right."""

    def __init__(self, rng: np.random.Generator, bases: Floats) -> None:
        """
        Args:
            rng: of this episode.
            bases: (2, 3) m, of the arms.
        """
        self._bases = bases
        self.manner = sample_manner(rng)
        self.left, self.right = "behind", "approach"
        self._waited = 0

    @property
    def done(self) -> bool:
        """True once the load is poured, and the spoon is away from the bowl."""
        return self.right == "done"

    def plan(
        self, tools: Floats, pitches: Floats, spoon: Floats, up: Floats, load: int, box: Floats, bowl: Floats
    ) -> Floats:
        """What to do next.

        Args:
            tools, pitches: (2, 3) m and (2,) rad downward, of the hands now.
            spoon: (3,) m, the middle of its mouth.
            up: (3,) the way of its handle.
            load: grains in it.
            box, bowl: (3,) m.

        Returns:
            (STEPS, 2, 5); see `strides`.
        """
        tipped = float(np.arctan2(-up @ self._heading(spoon), up[2]))
        left, right = (_Seen(tools[hand], pitches[hand], spoon, tipped, load, box, bowl) for hand in (LEFT, RIGHT))
        wishes = getattr(self, f"_left_{self.left}")(left), getattr(self, f"_{self.right}")(right)
        goals, turns, grips, fine = (np.array(part, float) for part in zip(*wishes, strict=True))
        longest = self.manner.step * np.where(fine, FINE, 1.0)
        return strides(tools, pitches, goals, turns, grips, longest, self.manner.gain)

    def _left_behind(self, s: _Seen) -> _Wish:
        goal = self._pushing(s.bowl, APART_M)
        if np.linalg.norm(s.bowl[:2]) < MIDDLE_M:
            self.left = "ready"
        elif np.linalg.norm(s.tool - goal) < NEAR_M:
            self.left = "push"
        return goal, PUSH_PITCH_RAD, 1.0, False

    def _left_push(self, s: _Seen) -> _Wish:
        """With both fingers apart, which keeps a round thing between them."""
        if s.bowl[0] > -MIDDLE_M / 2:
            self.left = "leave"
        return self._pushing(s.bowl * [0, 1, 0], TOUCH_M), PUSH_PITCH_RAD, 1.0, True

    def _left_leave(self, s: _Seen) -> _Wish:
        goal = self._pushing(s.bowl, APART_M)
        if np.linalg.norm(s.tool - goal) < NEAR_M:
            self.left = "ready"
        return goal, PUSH_PITCH_RAD, 1.0, False

    def _pushing(self, bowl: Floats, apart: float) -> Floats:
        """(3,) m, of the left hand so far behind the bowl's middle."""
        way = (bowl - self._bases[LEFT]) * [1, 1, 0]
        return np.array([*(bowl - apart * way / np.linalg.norm(way))[:2], PUSH_M])

    def _left_ready(self, _s: _Seen) -> _Wish:
        return READY_M, 0.3, 1.0, False

    def _approach(self, s: _Seen) -> _Wish:
        grasp = s.spoon + HANDLE_M * UP
        goal = grasp - BEHIND_M * self._heading(s.spoon)
        if np.linalg.norm(s.tool - goal) < NEAR_M and abs(s.pitch - GRASP_PITCH_RAD) < TURN_RAD:
            self._go("reach")
        return goal, GRASP_PITCH_RAD, 1.0, False

    def _reach(self, s: _Seen) -> _Wish:
        goal = s.spoon + HANDLE_M * UP
        if np.linalg.norm(s.tool - goal) < NEAR_FINE_M:
            self._go("close")
        return goal, GRASP_PITCH_RAD, 1.0, True

    def _close(self, s: _Seen) -> _Wish:
        if self._wait(PUSHED):
            self._go("lift")
        return s.tool, GRASP_PITCH_RAD, 0.0, True

    def _lift(self, s: _Seen) -> _Wish:
        if s.spoon[2] > OVER_M - NEAR_M:
            self._go("enter")
        return self._held(s, np.array([*s.spoon[:2], OVER_M]), 0.0, False)

    def _enter(self, s: _Seen) -> _Wish:
        start = self._in_box(s.box, -ENTER_M)
        aside = np.linalg.norm((s.spoon - start)[:2])
        goal = np.array([*start[:2], OVER_M]) if aside > NEAR_FINE_M else start
        if aside < NEAR_FINE_M and s.spoon[2] < start[2] + NEAR_FINE_M:
            self._go("drag")
        return self._held(s, goal, 0.0, bool(aside < 2 * NEAR_M))

    def _drag(self, s: _Seen) -> _Wish:
        goal = self._in_box(s.box, -LEAVE_M)
        if np.linalg.norm((s.spoon - goal)[:2]) < NEAR_FINE_M or self._wait(20):
            self._go("tip")
        return self._held(s, goal, 0.0, True)

    def _tip(self, s: _Seen) -> _Wish:
        """Along the box's far wall, which keeps the load in until the mouth points up."""
        wanted = TIPPED_RAD if s.spoon[2] > OVER_M else FIRST_TIPPED_RAD
        if s.tipped > TIPPED_RAD - 0.1 or self._wait(40):
            self._go("carry" if s.load >= LEAST_LOAD else "enter")
        return self._held(s, np.array([*self._in_box(s.box, -LEAVE_M)[:2], HIGH_M]), wanted, True)

    def _carry(self, s: _Seen) -> _Wish:
        goal = self._over(s.bowl)
        if np.linalg.norm((s.spoon - goal)[:2]) < NEAR_M and self.left == "ready":
            self._go("pour")
        return self._held(s, goal, TIPPED_RAD, False)

    def _pour(self, s: _Seen) -> _Wish:
        if s.tipped < POURED_RAD + 0.15 and self._wait(POURING):
            self._go("back")
        return self._held(s, self._over(s.bowl), POURED_RAD, True)

    def _back(self, s: _Seen) -> _Wish:
        goal = s.bowl - 0.16 * self._heading(s.bowl) + 0.12 * UP
        if np.linalg.norm((s.spoon - goal)[:2]) < 2 * NEAR_M:
            self._go("done")
        return self._held(s, goal, 0.0, False)

    _done = _back

    def _in_box(self, box: Floats, along: float) -> Floats:
        """(3,) m, of the mouth on the floor of a box, so far along the hand from its middle."""
        heading = self._heading(box)
        across = np.array([-heading[1], heading[0], 0.0])
        return box + along * heading + self.manner.aim[0] * across + (FLOOR_M + self.manner.aim[1]) * UP

    def _over(self, bowl: Floats) -> Floats:
        return bowl + np.array([*self.manner.pour, HIGH_M]) - 0.015 * self._heading(bowl)

    def _held(self, s: _Seen, mouth: Floats, tipped: float, fine: bool) -> _Wish:
        """The hand whose spoon gets its mouth there, (3,) m, and is tipped back by so much, rad; it may sit askew."""
        turn = float(np.clip(tipped - s.tipped, -TURN_RAD, TURN_RAD))

        def grip(angle: float) -> Floats:
            return HANDLE_M * (np.cos(angle) * UP - np.sin(angle) * self._heading(mouth))

        return s.tool + mouth - s.spoon + grip(s.tipped + turn) - grip(s.tipped), s.pitch - turn, 0.0, fine

    def _heading(self, to: Floats) -> Floats:
        way = (to - self._bases[RIGHT]) * [1, 1, 0]
        return way / np.linalg.norm(way)

    def _wait(self, steps: int) -> bool:
        self._waited += 1
        return self._waited >= steps

    def _go(self, phase: str) -> None:
        self.right, self._waited = phase, 0
