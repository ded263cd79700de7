"""The scripted expert of Fold-Shorts: both hands lay the left half over the right one, then the right hand folds the
legs up to the waist.

Reactive like the others (expert.py). Hands point down, so that a panel which hangs from its ball swings clear of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.observation import Floats
from .hands import UP, strides
from .shorts import HEM, MIDDLE, RIGHT_LEG, SIDE, WAIST, Shorts

LEFT, RIGHT = 0, 1
FAR_RAD, NEAR_RAD = 1.0, 1.4  # downward; steeper, an arm does not reach across the middle
ACROSS_RAD, TURNED_RAD = np.pi / 2, 0.1  # of a hand whose fingers close along x
HELD_M = 0.03  # from the tool point to the middle of a held ball
GRASP_M = 0.008  # of the tool point over a ball's middle
PULL_M = 0.01  # outside the way of a ball: pressed, a panel would jack the others up
OVER_M = 0.09  # from where a hand goes down
AWAY_M = 0.10  # up to where it goes when it has let go
NEAR_M, NEAR_FINE_M = 0.02, 0.008
FINE = 0.6
LET_GO_RAD, FOLDED_RAD = 2.6, 2.8
LEFT_HALF = (WAIST, SIDE)  # of the left and the right hand
WAITS = 4  # steps, for a gripper
READY_M = np.array([[-0.25, 0.0, 0.25], [0.25, 0.0, 0.25]])


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode.

    Attributes:
        step: m, longest step in STEP_S.
        gain: share of what is left that a step takes.
        aim: (2, 3) m, by which each hand misses the middle of its ball.
        ahead: rad, by which a goal is ahead of the fold.
    """

    step: float
    gain: float
    aim: Floats
    ahead: float


def sample_manner(rng: np.random.Generator) -> Manner:
    """Draw an operator's manner for one episode."""
    return Manner(
        rng.uniform(0.022, 0.03),
        rng.uniform(0.55, 0.75),
        rng.uniform(-0.002, 0.002, (2, 3)) * [1, 1, 0],
        rng.uniform(0.3, 0.42),
    )


@dataclass(frozen=True)
class _Seen:
    """Hands, (2, 3) m; the garment's origin, (3,) m, yaw, rad, and hinges, rad."""

    tools: Floats
    place: Floats
    yaw: float
    hinges: Mapping[str, float]


_Wish = tuple[Floats, tuple[float, float], bool]  # (2, 3) m goals; grippers; whether it needs care


class FoldExpert:
    """One episode. Positions in the robot's frame, m; hands in the order left, right."""

    def __init__(self, rng: np.random.Generator, shape: Shorts) -> None:
        """
        Args:
            rng: of this episode.
            shape: of the garment.
        """
        self.manner, self._shape = sample_manner(rng), shape
        self.phase = "approach"
        self._waited = 0

    @property
    def done(self) -> bool:
        """True once it is folded twice, and the hands have left it."""
        return self.phase == "done"

    @property
    def _across(self) -> bool:
        """Whether the right hand folds the legs."""
        return self.phase.startswith("leg") or self.done

    @property
    def rolls(self) -> Floats:
        """(2,) rad, of the hands about the way they point."""
        return np.array([0.0, ACROSS_RAD if self._across else 0.0])

    def plan(
        self, tools: Floats, pitches: Floats, rolls: Floats, place: Floats, yaw: float, hinges: Mapping[str, float]
    ) -> Floats:
        """What to do next.

        Args:
            tools, pitches, rolls: (2, 3) m, (2,) rad downward and (2,) rad, of the hands now.
            place, yaw, hinges: (3,) m, rad and rad, of the garment.

        Returns:
            (STEPS, 2, 5); see `strides`.
        """
        self._turned = bool(np.abs(rolls - self.rolls).max() < TURNED_RAD)
        goals, grips, fine = getattr(self, f"_{self.phase}")(_Seen(tools, place, yaw, hinges))
        longest = np.full(2, self.manner.step * (FINE if fine else 1.0))
        turns = np.array([FAR_RAD, NEAR_RAD if self._across else FAR_RAD])
        return strides(tools, pitches, goals, turns, np.array(grips), longest, self.manner.gain)

    def _approach(self, s: _Seen) -> _Wish:
        over = self._grasps(s, s.hinges) + OVER_M * UP
        if self._near(s, over, NEAR_M):
            self._go("descend")
        return over, (1.0, 1.0), False

    def _descend(self, s: _Seen) -> _Wish:
        goals = self._grasps(s, s.hinges)
        if self._near(s, goals, NEAR_FINE_M):
            self._go("close")
        return goals, (1.0, 1.0), True

    def _close(self, s: _Seen) -> _Wish:
        if self._wait():
            self._go("fold")
        return s.tools, (0.0, 0.0), True

    def _fold(self, s: _Seen) -> _Wish:
        if s.hinges[MIDDLE] > LET_GO_RAD or not all(self._holds(s, hand, b) for hand, b in enumerate(LEFT_HALF)):
            self._go("part")
        ahead = {**s.hinges, MIDDLE: s.hinges[MIDDLE] + self.manner.ahead}
        return self._grasps(s, ahead) + PULL_M * np.sin(ahead[MIDDLE]) * UP, (0.0, 0.0), False

    def _part(self, s: _Seen) -> _Wish:
        """Open, then up; what has slipped before the top is taken again."""
        if self._wait(3 * WAITS) and (s.tools[:, 2] > AWAY_M).all():
            self._go("leg_approach" if s.hinges[MIDDLE] > FOLDED_RAD else "approach")
        up = s.tools * [1, 1, 0] + (AWAY_M + NEAR_M) * UP
        return up if self._waited > WAITS else s.tools, (1.0, 1.0), self._waited < 2 * WAITS

    def _leg_approach(self, s: _Seen) -> _Wish:
        over = self._hem(s, s.hinges) + OVER_M * UP
        if np.linalg.norm(s.tools[RIGHT] - over) < NEAR_M and self._turned:
            self._go("leg_descend")
        return np.array([READY_M[LEFT], over]), (1.0, 1.0), False

    def _leg_descend(self, s: _Seen) -> _Wish:
        goal = self._hem(s, s.hinges)
        if np.linalg.norm(s.tools[RIGHT] - goal) < NEAR_FINE_M:
            self._go("leg_close")
        return np.array([READY_M[LEFT], goal]), (1.0, 1.0), True

    def _leg_close(self, s: _Seen) -> _Wish:
        if self._wait():
            self._go("leg_fold")
        return np.array([READY_M[LEFT], s.tools[RIGHT]]), (1.0, 0.0), True

    def _leg_fold(self, s: _Seen) -> _Wish:
        folded = s.hinges[RIGHT_LEG]
        if folded > LET_GO_RAD or not self._holds(s, RIGHT, HEM):
            self._go("leg_part")
        ahead = {**s.hinges, RIGHT_LEG: folded + self.manner.ahead}
        pulled = self._hem(s, ahead) + PULL_M * np.sin(ahead[RIGHT_LEG]) * UP
        return np.array([READY_M[LEFT], pulled]), (1.0, 0.0), False

    def _leg_part(self, s: _Seen) -> _Wish:
        if self._wait(3 * WAITS) and s.tools[RIGHT, 2] > AWAY_M:
            self._go("done" if s.hinges[RIGHT_LEG] > FOLDED_RAD else "leg_approach")
        up = s.tools[RIGHT] * [1, 1, 0] + (AWAY_M + NEAR_M) * UP
        away = up if self._waited > WAITS else s.tools[RIGHT]
        return np.array([READY_M[LEFT], away]), (1.0, 1.0), self._waited < 2 * WAITS

    def _done(self, _s: _Seen) -> _Wish:
        return READY_M, (1.0, 1.0), False

    def _grasps(self, s: _Seen, hinges: Mapping[str, float]) -> Floats:
        """(2, 3) m, of the hands that have, or take, the left half when it is folded so far."""
        return np.array([self._ball(b, s, hinges) for b in LEFT_HALF]) + self.manner.aim + GRASP_M * UP

    def _hem(self, s: _Seen, hinges: Mapping[str, float]) -> Floats:
        return self._ball(HEM, s, hinges) + self.manner.aim[RIGHT] + GRASP_M * UP

    def _ball(self, name: str, s: _Seen, hinges: Mapping[str, float]) -> Floats:
        return self._shape.place_of(name, s.place, s.yaw, hinges)

    def _holds(self, s: _Seen, hand: int, ball: str) -> bool:
        return bool(np.linalg.norm(s.tools[hand] - self._ball(ball, s, s.hinges)) < HELD_M)

    def _near(self, s: _Seen, goals: Floats, within: float) -> bool:
        return bool(np.linalg.norm(s.tools - goals, axis=1).max() < within)

    def _wait(self, steps: int = WAITS) -> bool:
        self._waited += 1
        return self._waited >= steps

    def _go(self, phase: str) -> None:
        self.phase, self._waited = phase, 0
