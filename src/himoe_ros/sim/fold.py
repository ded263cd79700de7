"""The scripted expert of Fold-Shorts: both hands lay the left half over the right one, then the right hand folds the
legs up to the waist.

Reactive like the others (expert.py). Hands point down, so that a panel which hangs from its ball swings clear of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.observation import Floats
from .hands import strides
from .shorts import HEM, MIDDLE, RIGHT_LEG, SIDE, WAIST, Shorts

LEFT, RIGHT = 0, 1
TURNED_RAD = 0.1
HELD_M = 0.03  # from the tool point to the middle of a held ball
GRASP_M = 0.008  # of the tool point over a ball's middle
PULL_M = 0.01  # outside the way of a ball: pressed, a panel would jack the others up
OVER_M = 0.09  # from where a hand goes down
AWAY_M = 0.10  # over the table: where a hand is off
NEAR_M, NEAR_FINE_M = 0.02, 0.008
FINE = 0.6
LET_GO_RAD, FOLDED_RAD = 2.6, 2.9
WAITS = 4  # steps, for a gripper
READY_M = np.array([[-0.25, 0.0, 0.25], [0.25, 0.0, 0.25]])


@dataclass(frozen=True)
class _Fold:
    """One fold: its hinge, the ball that each hand takes, and how hands that take one are held, rad.

    Attributes:
        pitch: downward.
        roll: about the way they point; fingers close along y, or along x.
    """

    hinge: str
    balls: Mapping[int, str]
    pitch: float
    roll: float


FOLDS = (
    _Fold(MIDDLE, {LEFT: WAIST, RIGHT: SIDE}, 1.0, 0.0),  # steeper, an arm does not reach across the middle
    _Fold(RIGHT_LEG, {RIGHT: HEM}, 1.4, np.pi / 2),  # flatter, a finger would meet the table
)


@dataclass(frozen=True)
class Manner:
    """How this operator moves in this episode.

    Attributes:
        step: m, longest step in STEP_S.
        gain: share of what is left that a step takes.
        aim: (2, 2) m, by which each hand misses the middle of its ball.
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
        rng.uniform(-0.002, 0.002, (2, 2)),
        rng.uniform(0.3, 0.42),
    )


@dataclass(frozen=True)
class _Seen:
    """Hands, (2, 3) m, and whether they are turned as the fold wants; the garment: (3,) m, rad, rad."""

    tools: Floats
    turned: bool
    place: Floats
    yaw: float
    hinges: Mapping[str, float]


_Wish = tuple[Mapping[int, Floats], float, bool]  # hand -> (3,) m goal; opening; whether it needs care


class FoldExpert:
    """One episode. Positions in the robot's frame, m; hands in the order left, right."""

    def __init__(self, rng: np.random.Generator, shape: Shorts) -> None:
        """
        Args:
            rng: of this episode.
            shape: of the garment.
        """
        self.manner, self._shape = sample_manner(rng), shape
        self._folds = iter(FOLDS)
        self._fold, self.phase = next(self._folds), "approach"
        self._waited = 0

    @property
    def done(self) -> bool:
        """True once it is folded twice, and the hands have left it."""
        return self.phase == "done"

    @property
    def rolls(self) -> Floats:
        """(2,) rad, of the hands about the way they point."""
        return np.array([self._fold.roll if hand in self._fold.balls else 0.0 for hand in (LEFT, RIGHT)])

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
        turned = bool(np.abs(rolls - self.rolls).max() < TURNED_RAD)
        wanted, grip, fine = getattr(self, f"_{self.phase}")(_Seen(tools, turned, place, yaw, hinges))
        goals, grips = READY_M.copy(), np.ones(2)
        for hand, goal in wanted.items():
            goals[hand], grips[hand] = goal, grip
        turns = np.array([self._fold.pitch if hand in self._fold.balls else FOLDS[0].pitch for hand in (LEFT, RIGHT)])
        longest = np.full(2, self.manner.step * (FINE if fine else 1.0))
        return strides(tools, pitches, goals, turns, grips, longest, self.manner.gain)

    def _approach(self, s: _Seen) -> _Wish:
        over = self._grasps(s, s.hinges, OVER_M)
        if s.turned and self._near(s, over, NEAR_M):
            self._go("descend")
        return over, 1.0, False

    def _descend(self, s: _Seen) -> _Wish:
        goals = self._grasps(s, s.hinges)
        if self._near(s, goals, NEAR_FINE_M):
            self._go("close")
        return goals, 1.0, True

    def _close(self, s: _Seen) -> _Wish:
        if self._wait(WAITS):
            self._go("swing")
        return self._here(s), 0.0, True

    def _swing(self, s: _Seen) -> _Wish:
        hinge, at = self._fold.hinge, s.hinges[self._fold.hinge]
        if at > LET_GO_RAD or not self._near(s, self._grasps(s, s.hinges), HELD_M):
            self._go("part")
        ahead = at + self.manner.ahead
        return self._grasps(s, {**s.hinges, hinge: ahead}, PULL_M * np.sin(ahead)), 0.0, False

    def _part(self, s: _Seen) -> _Wish:
        """Open, then up; what has slipped before the top is taken again."""
        here = self._here(s)
        if self._wait(3 * WAITS) and all(place[2] > AWAY_M for place in here.values()):
            folded = s.hinges[self._fold.hinge] > FOLDED_RAD
            following = next(self._folds, None) if folded else self._fold
            self._go("done" if following is None else "approach")
            self._fold = following or self._fold
        up = {hand: np.array([*place[:2], AWAY_M + NEAR_M]) for hand, place in here.items()}
        return (up if self._waited > WAITS else here), 1.0, self._waited < 2 * WAITS

    def _done(self, _s: _Seen) -> _Wish:
        return {}, 1.0, False

    def _grasps(self, s: _Seen, hinges: Mapping[str, float], over: float = 0.0) -> dict[int, Floats]:
        """Hand -> (3,) m, where it has, or takes, its ball when the garment is folded so far, or so much higher."""
        return {
            hand: self._shape.place_of(ball, s.place, s.yaw, hinges) + np.append(self.manner.aim[hand], GRASP_M + over)
            for hand, ball in self._fold.balls.items()
        }

    def _here(self, s: _Seen) -> dict[int, Floats]:
        return {hand: s.tools[hand] for hand in self._fold.balls}

    def _near(self, s: _Seen, goals: Mapping[int, Floats], within: float) -> bool:
        return all(np.linalg.norm(s.tools[hand] - goal) < within for hand, goal in goals.items())

    def _wait(self, steps: int) -> bool:
        self._waited += 1
        return self._waited >= steps

    def _go(self, phase: str) -> None:
        self.phase, self._waited = phase, 0
