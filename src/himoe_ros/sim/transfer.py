"""The scripted expert of gym-aloha's cube: the right hand picks it up from above, the left one takes it in the air.

Reactive like the others (expert.py). The hands meet crosswise, the left one's fingers above and below the cube, so that
both find room on it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.observation import Floats
from .hands import UP, strides

LEFT, RIGHT = 0, 1
PITCHES = np.array([0.0, 1.05])  # rad, downward
ROLLS = np.array([np.pi / 2, 0.0])  # rad, about the way the hand points
HELD_M = 0.035  # from the tool point to the middle of a held cube
CLOSED, FREE = 0.95, 0.93  # openings: below, something may be held; above, nothing is touched any more
OVER_M = 0.08  # from where the right hand goes down
BEHIND_M = 0.10  # from where the left hand goes forward
AWAY_M = 0.08  # of the right hand that has let go
NEAR_M, NEAR_FINE_M = 0.02, 0.008
FINE = 0.7  # share of the usual step near the cube
READY_M = np.array([-0.17, 0.0, 0.25])  # where the left hand waits
LIES_M = 0.03  # a cube whose middle is lower lies on the table


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode; m unless told otherwise.

    Attributes:
        step: longest step in STEP_S of expert.py.
        gain: share of what is left that a step takes.
        waits: steps to wait for a gripper.
        meeting: (3,) of the cube where it changes hands.
    """

    step: float
    gain: float
    waits: int
    meeting: Floats


def sample_manner(rng: np.random.Generator) -> Manner:
    """Draw an operator's manner for one episode."""
    return Manner(
        step=rng.uniform(0.026, 0.036),
        gain=rng.uniform(0.55, 0.75),
        waits=int(rng.integers(4, 6)),
        meeting=np.array([*rng.uniform(-0.02, 0.02, 2), rng.uniform(0.19, 0.23)]),
    )


_Wish = tuple[Floats, tuple[float, float], tuple[bool, bool]]  # (2, 3) m goals; grippers; which need care


@dataclass(frozen=True)
class _Seen:
    """Where hands and cube are, (2, 3) and (3,) m; which hands hold it, and how far they are open."""

    tools: Floats
    cube: Floats
    held: tuple[bool, bool]
    openings: Floats


class TransferExpert:
    """One episode. Positions in the robot's frame, m; hands in the order left, right."""

    def __init__(self, rng: np.random.Generator) -> None:
        """`rng`: of this episode."""
        self.manner = sample_manner(rng)
        self.phase = "approach"
        self._waited = 0

    @property
    def done(self) -> bool:
        """True once the left hand holds the cube alone."""
        return self.phase == "done"

    def plan(self, tools: Floats, pitches: Floats, openings: Floats, cube: Floats) -> Floats:
        """What to do next.

        Args:
            tools, pitches, openings: (2, 3) m, (2,) rad downward and (2,), of the hands now.
            cube: (3,) m, its middle.

        Returns:
            (STEPS, 2, 5); see `strides`.
        """
        held = (np.linalg.norm(tools - cube, axis=1) < HELD_M) & (openings < CLOSED)
        seen = _Seen(tools, cube, (bool(held[0]), bool(held[1])), openings)
        goals, grips, fine = getattr(self, f"_{self.phase}")(seen)
        longest = self.manner.step * np.where(fine, FINE, 1.0)
        return strides(tools, pitches, goals, PITCHES, np.array(grips), longest, self.manner.gain)

    def _approach(self, s: _Seen) -> _Wish:
        over = s.cube + OVER_M * UP
        if np.linalg.norm(s.tools[RIGHT] - over) < NEAR_M:
            self._go("descend")
        return np.array([READY_M, over]), (1.0, 1.0), (False, False)

    def _descend(self, s: _Seen) -> _Wish:
        if np.linalg.norm(s.tools[RIGHT] - s.cube) < NEAR_FINE_M:
            self._go("close")
        elif np.linalg.norm((s.tools[RIGHT] - s.cube)[:2]) > 2 * NEAR_M:
            self._go("approach")
        return np.array([READY_M, s.cube]), (1.0, 1.0), (False, True)

    def _close(self, s: _Seen) -> _Wish:
        if self._wait():
            self._go("lift" if s.held[RIGHT] else "approach")
        return np.array([READY_M, s.tools[RIGHT]]), (1.0, 0.0), (False, True)

    def _lift(self, s: _Seen) -> _Wish:
        if self._lost(s):
            self._go("approach")
        elif np.linalg.norm(s.cube - self.manner.meeting) < NEAR_M:
            self._go("offer")
        return np.array([READY_M, self._offered(s)]), (1.0, 0.0), (False, False)

    def _offer(self, s: _Seen) -> _Wish:
        behind = s.cube - [BEHIND_M, 0.0, 0.0]
        if self._lost(s):
            self._go("approach")
        elif np.linalg.norm(s.tools[LEFT] - behind) < NEAR_M:
            self._go("take")
        return np.array([behind, self._offered(s)]), (1.0, 0.0), (False, False)

    def _take(self, s: _Seen) -> _Wish:
        if self._lost(s):
            self._go("approach")
        elif np.linalg.norm(s.tools[LEFT] - s.cube) < NEAR_FINE_M + NEAR_M:
            self._go("hold")
        return np.array([s.cube, s.tools[RIGHT]]), (1.0, 0.0), (True, False)

    def _hold(self, s: _Seen) -> _Wish:
        if self._wait():
            self._go("release" if s.held[LEFT] else "offer")
        return np.array([s.tools[LEFT], s.tools[RIGHT]]), (0.0, 0.0), (True, True)

    def _release(self, s: _Seen) -> _Wish:
        if s.openings[RIGHT] > FREE and self._wait():
            self._go("part")
        return np.array([s.tools[LEFT], s.tools[RIGHT]]), (0.0, 1.0), (True, True)

    def _part(self, s: _Seen) -> _Wish:
        if s.cube[2] < LIES_M:
            self._go("approach")
        elif np.linalg.norm(s.tools[RIGHT] - s.cube) > AWAY_M:
            self._go("done")
        away = s.cube + 2 * AWAY_M * np.array([0.7, 0.0, 0.7])
        return np.array([s.tools[LEFT], away]), (0.0, 1.0), (True, True)

    def _done(self, s: _Seen) -> _Wish:
        if s.cube[2] < LIES_M:
            self._go("approach")
        return np.array([s.tools[LEFT], s.tools[RIGHT]]), (0.0, 1.0), (False, False)

    def _offered(self, s: _Seen) -> Floats:
        """(3,) m, of the right hand when the cube is where it changes hands; it may have slipped."""
        return s.tools[RIGHT] - s.cube + self.manner.meeting

    def _lost(self, s: _Seen) -> bool:
        return s.cube[2] < LIES_M and not s.held[RIGHT]

    def _wait(self) -> bool:
        self._waited += 1
        return self._waited >= self.manner.waits

    def _go(self, phase: str) -> None:
        self.phase, self._waited = phase, 0
