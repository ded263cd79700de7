"""The scripted expert of ALOHA's Cup-Handover: the right hand picks a cup up, the left one takes it and places it.

Like the xArm7's (expert.py) it is reactive: what it wants next is where the hands are plus a bounded step to a goal,
and it starts over where the cup stands on the table again. Each hand points away from its own base, so an arm moves in
its own upright plane, and the waist turns that.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.observation import Floats
from .hands import UP, strides

LEFT, RIGHT = 0, 1
LOW_M, HIGH_M = 0.035, 0.080  # over the cup's foot: where the right hand holds it, and the left one
HELD_M = 0.022  # from the tool point to where a held cup is grasped
CLOSED, FREE = 0.9, 0.93  # openings: below, something may be held; above, nothing is touched any more
BEHIND_M = 0.065  # from where a hand goes forward to the cup
AWAY_M = 0.055  # of a hand that has let go
NEAR_M, NEAR_FINE_M = 0.015, 0.006  # a goal is reached
FINE = 0.7  # share of the usual step near the cup
CLEAR_M = 0.06  # the foot of a carried cup, before it moves sideways
READY_M = np.array([-0.15, 0.0, 0.25])  # where the left hand waits
ASIDE_M = np.array([0.15, 0.0, 0.27])  # where the right hand goes afterwards
STANDS_M = 0.02  # a cup whose foot is lower stands on the table
UPRIGHT = 0.9
PAUSE = 0.12  # share of the phases before which the hands rest for a moment


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode; m unless told otherwise.

    Attributes:
        step: longest step in STEP_S of expert.py.
        gain: share of what is left that a step takes.
        pitch: (2,) rad, of each hand, downward.
        aim: (2, 2) by which each grasp misses, along the hand and upward.
        waits: steps to wait for a gripper.
        meeting: (3,) of the cup's foot where it changes hands.
        place: (2,) by which the place misses the plate's middle.
        release: above the plate.
    """

    step: float
    gain: float
    pitch: Floats
    aim: Floats
    waits: int
    meeting: Floats
    place: Floats
    release: float


def sample_manner(rng: np.random.Generator) -> Manner:
    """Draw an operator's manner for one episode."""
    return Manner(
        step=rng.uniform(0.022, 0.036),
        gain=rng.uniform(0.5, 0.75),
        pitch=rng.uniform(0.25, 0.4, 2),
        aim=rng.uniform(-0.004, 0.004, (2, 2)),
        waits=int(rng.integers(4, 7)),
        meeting=np.array([*rng.uniform(-0.02, 0.02, 2), rng.uniform(0.11, 0.15)]),
        place=rng.uniform(-0.012, 0.012, 2),
        release=rng.uniform(0.002, 0.006),
    )


@dataclass(frozen=True)
class _Seen:
    """Where hands and cup are, (2, 3) and (3,) m; which hands hold it, and which are open; the plate, (3,) m."""

    tools: Floats
    openings: Floats
    cup: Floats
    plate: Floats
    stands: bool
    held: tuple[bool, bool]


_Wish = tuple[Floats, tuple[float, float], tuple[bool, bool]]  # (2, 3) m goals; grippers; which need care


class HandoverExpert:
    """One episode. Positions in the robot's frame, m; hands in the order left, right."""

    def __init__(self, rng: np.random.Generator, bases: Floats) -> None:
        """
        Args:
            rng: of this episode.
            bases: (2, 3) m, of the arms.
        """
        self._rng, self._bases = rng, bases
        self.manner = sample_manner(rng)
        self.phase = "approach"
        self._waited = self._pause = 0

    @property
    def done(self) -> bool:
        """True once the cup stands on the plate and the left hand has left it."""
        return self.phase == "done"

    def plan(self, tools: Floats, pitches: Floats, openings: Floats, cup: Floats, up: Floats, plate: Floats) -> Floats:
        """What to do next.

        Args:
            tools: (2, 3) m, of the hands now.
            pitches: (2,) rad, of the hands now, downward.
            openings: (2,) of the grippers now.
            cup: (3,) m, its foot.
            up: (3,) its own axis.
            plate: (3,) m.

        Returns:
            (STEPS, 2, 5); see `strides`.
        """
        points = cup + np.outer([HIGH_M, LOW_M], up)
        held = (np.linalg.norm(tools - points, axis=1) < HELD_M) & (openings < CLOSED)
        seen = _Seen(
            tools, openings, cup, plate, bool(cup[2] < STANDS_M and up[2] > UPRIGHT), (bool(held[0]), bool(held[1]))
        )
        goals, grips, fine = getattr(self, f"_{self.phase}")(seen)
        if self._pause:
            self._pause -= 1
            goals = tools
        longest = self.manner.step * np.where(fine, FINE, 1.0)
        return strides(tools, pitches, goals, self.manner.pitch, np.array(grips), longest, self.manner.gain)

    def _heading(self, hand: int, to: Floats) -> Floats:
        """(3,) level unit vector from an arm's base."""
        way = (to - self._bases[hand]) * [1, 1, 0]
        return way / np.linalg.norm(way)

    def _grasp(self, hand: int, s: _Seen) -> Floats:
        along, upward = self.manner.aim[hand]
        height = HIGH_M if hand == LEFT else LOW_M
        return s.cup + along * self._heading(hand, s.cup) + (height + upward) * UP

    def _behind(self, hand: int, s: _Seen) -> Floats:
        return self._grasp(hand, s) - BEHIND_M * self._heading(hand, s.cup)

    def _approach(self, s: _Seen) -> _Wish:
        behind = self._behind(RIGHT, s) + 0.01 * UP
        if np.linalg.norm(s.tools[RIGHT] - behind) < NEAR_M:
            self._go("reach")
        return self._hands(READY_M, behind), (1.0, 1.0), (False, False)

    def _reach(self, s: _Seen) -> _Wish:
        grasp = self._grasp(RIGHT, s)
        if np.linalg.norm(s.tools[RIGHT] - grasp) < NEAR_FINE_M:
            self._go("close")
        elif self._beside(RIGHT, s) > 2 * NEAR_M:
            self._go("approach")  # the cup was pushed away
        return self._hands(READY_M, grasp), (1.0, 1.0), (False, True)

    def _close(self, s: _Seen) -> _Wish:
        if self._wait():
            self._go("lift" if s.held[RIGHT] else "approach")
        return (
            self._hands(READY_M, s.tools[RIGHT] if s.held[RIGHT] else self._grasp(RIGHT, s)),
            (1.0, 0.0),
            (False, True),
        )

    def _lift(self, s: _Seen) -> _Wish:
        meeting = self.manner.meeting + LOW_M * UP
        if not s.held[RIGHT]:
            self._lost(s)
        elif np.linalg.norm(s.tools[RIGHT] - meeting) < NEAR_M:
            self._go("offer")
        goal = meeting if s.cup[2] > CLEAR_M else np.array([*s.tools[RIGHT][:2], meeting[2]])
        return self._hands(READY_M, goal), (1.0, 0.0), (False, False)

    def _offer(self, s: _Seen) -> _Wish:
        behind = self._behind(LEFT, s)
        if not s.held[RIGHT]:
            self._lost(s)
        elif np.linalg.norm(s.tools[LEFT] - behind) < NEAR_M:
            self._go("take")
        return self._hands(behind, self.manner.meeting + LOW_M * UP), (1.0, 0.0), (False, False)

    def _take(self, s: _Seen) -> _Wish:
        grasp = self._grasp(LEFT, s)
        if not s.held[RIGHT]:
            self._lost(s)
        elif np.linalg.norm(s.tools[LEFT] - grasp) < NEAR_FINE_M:
            self._go("hold")
        elif self._beside(LEFT, s) > 2 * NEAR_M:
            self._go("offer")
        return self._hands(grasp, s.tools[RIGHT]), (1.0, 0.0), (True, False)

    def _hold(self, s: _Seen) -> _Wish:
        if self._wait():
            self._go("release" if s.held[LEFT] else "offer")
        return self._hands(s.tools[LEFT], s.tools[RIGHT]), (0.0, 0.0), (True, True)

    def _release(self, s: _Seen) -> _Wish:
        if not s.held[LEFT]:
            self._lost(s)
        elif s.openings[RIGHT] > FREE and self._wait():
            self._go("part")
        return self._hands(s.tools[LEFT], s.tools[RIGHT]), (0.0, 1.0), (True, True)

    def _part(self, s: _Seen) -> _Wish:
        if not s.held[LEFT]:
            self._lost(s)
        elif np.linalg.norm((s.tools[RIGHT] - s.cup)[:2]) > AWAY_M:
            self._go("carry")
        return self._hands(s.tools[LEFT], self._withdrawn(RIGHT, s)), (0.0, 1.0), (True, False)

    def _carry(self, s: _Seen) -> _Wish:
        over = self._placed(s) + CLEAR_M * UP
        if not s.held[LEFT]:
            self._lost(s)
        elif np.linalg.norm(s.tools[LEFT] - over) < NEAR_M:
            self._go("lower")
        return self._hands(over, ASIDE_M), (0.0, 1.0), (False, False)

    def _lower(self, s: _Seen) -> _Wish:
        drop = self._placed(s)
        if not s.held[LEFT]:
            self._lost(s)
        elif np.linalg.norm(s.tools[LEFT] - drop) < NEAR_FINE_M:
            self._go("open")
        return self._hands(drop, ASIDE_M), (0.0, 1.0), (True, False)

    def _open(self, s: _Seen) -> _Wish:
        if s.openings[LEFT] > FREE and self._wait():
            self._go("retreat")
        return self._hands(s.tools[LEFT], ASIDE_M), (1.0, 1.0), (True, False)

    def _retreat(self, s: _Seen) -> _Wish:
        if np.linalg.norm((s.tools[LEFT] - s.cup)[:2]) > AWAY_M:
            self._go("done")
        return self._hands(self._withdrawn(LEFT, s), ASIDE_M), (1.0, 1.0), (False, False)

    def _done(self, s: _Seen) -> _Wish:
        clear = np.linalg.norm((s.tools[LEFT] - s.cup)[:2]) > AWAY_M
        return self._hands(READY_M if clear else self._withdrawn(LEFT, s), ASIDE_M), (1.0, 1.0), (False, False)

    def _withdrawn(self, hand: int, s: _Seen) -> Floats:
        """(3,) m, of a hand that has let go of the cup and drawn straight back."""
        way = (AWAY_M + NEAR_M) * self._heading(hand, s.cup)
        return np.array([*(s.cup - way)[:2], s.tools[hand][2]])

    def _placed(self, s: _Seen) -> Floats:
        """(3,) m, of the left hand when the cup is where it is let go; it may have slipped in the hand."""
        m = self.manner
        return s.tools[LEFT] - s.cup + s.plate + [*m.place, m.release]

    def _beside(self, hand: int, s: _Seen) -> float:
        """m, of a hand from the line on which it goes forward."""
        off = s.tools[hand] - self._grasp(hand, s)
        heading = self._heading(hand, s.cup)
        return float(np.linalg.norm(off - (off @ heading) * heading))

    def _lost(self, s: _Seen) -> None:
        """Nobody holds the cup, or the wrong hand does."""
        if s.stands:
            self._go("approach")
        elif s.held[RIGHT]:
            self._go("lift")

    def _wait(self) -> bool:
        self._waited += 1
        return self._waited >= self.manner.waits

    @staticmethod
    def _hands(left: Floats, right: Floats) -> Floats:
        return np.array([left, right])

    def _go(self, phase: str) -> None:
        self.phase, self._waited = phase, 0
        if phase != "done" and self._rng.random() < PAUSE:
            self._pause = int(self._rng.integers(2, 5))
