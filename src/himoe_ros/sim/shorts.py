"""Shorts as they are simulated: no cloth, but four stiff panels, hinged where they are folded, with balls to take.

Cloth that fingers could pinch from a table is beyond this physics; panels fold only along their lines, and the balls
stand for corners that a person would pinch. Frame of a garment: origin on the table where its two lines cross, x to the
right, y to the waistband; flat and open.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..core.observation import Floats

MIDDLE, LEFT_LEG, RIGHT_LEG = "middle", "left_leg", "right_leg"  # hinges: 0 flat; pi, or -pi of the left leg, folded
WAIST, SIDE, HEM = "waist", "side", "hem"  # balls: the left half's two outer corners, and one at the right leg's end


@dataclass(frozen=True)
class Shorts:
    """One garment, m.

    Attributes:
        half: width of a half.
        waist, leg: from the line across to the waistband, and to the legs' ends.
        thickness: of a panel.
        side_cord, hem_cord: from a panel's edge to the middle of a ball; fingers stand slantwise at the hem.
        ball_height: of a ball's middle over the table.
    """

    half: float
    waist: float
    leg: float
    thickness: float = 0.005
    side_cord: float = 0.02
    hem_cord: float = 0.03
    ball_height: float = 0.011

    @cached_property
    def balls(self) -> Mapping[str, Floats]:
        """(3,) m, where they are while it lies flat."""
        outer, height = self.half + self.side_cord, self.ball_height
        return {
            WAIST: np.array([-outer, self.waist - 0.01, height]),
            SIDE: np.array([-outer, -self.leg + 0.005, height]),
            HEM: np.array([self.half / 2, -self.leg - self.hem_cord, height]),
        }

    def place_of(self, ball: str, origin: Floats, yaw: float, hinges: Mapping[str, float]) -> Floats:
        """(3,) m, of a ball of a garment that lies there, folded so far.

        Args:
            origin, yaw: (3,) m and rad, of its frame, whose z axis is taken to point up.
            hinges: rad, of all three.
        """
        place = self.balls[ball]
        if ball == HEM:
            place = _turned(place, (1, 2), 2 * self.thickness, -hinges[RIGHT_LEG])
        if ball == SIDE:
            place = _turned(place, (1, 2), 0.0, -hinges[LEFT_LEG])
        if ball in (WAIST, SIDE):
            place = _turned(place, (2, 0), self.thickness, hinges[MIDDLE])
        c, s = np.cos(yaw), np.sin(yaw)
        return origin + np.array([c * place[0] - s * place[1], s * place[0] + c * place[1], place[2]])


def _turned(place: Floats, plane: tuple[int, int], height: float, angle: float) -> Floats:
    """(3,) turned in a plane of two axes about the line at this height, from the first axis to the second."""
    axis = np.array([0.0, 0.0, height])
    turned, (a, b), (c, s) = place - axis, plane, (np.cos(angle), np.sin(angle))
    turned[[a, b]] = c * turned[a] - s * turned[b], s * turned[a] + c * turned[b]
    return turned + axis


SHORTS = {
    "black_shorts": Shorts(half=0.115, waist=0.10, leg=0.12),
    "novel_shorts": Shorts(half=0.105, waist=0.115, leg=0.105),
}
