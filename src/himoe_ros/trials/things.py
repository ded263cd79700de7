"""The things that simulated trials are made of, and their sizes, as in sim/things.xml."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Thing:
    """One kind of thing; lengths in m.

    Attributes:
        kind: fruit, plate, cup, block and the like; a protocol tells where each kind is laid.
        radius: no part is farther from its upright axis.
        foot: from its origin down to where it stands.
        top: from its origin up to its rim.
        gripped: whether fingers go down beside it, for which room is left.
        turned: whether it may be laid at any angle.
    """

    kind: str
    radius: float
    foot: float
    top: float
    gripped: bool = True
    turned: bool = True


def _ball(radius: float) -> Thing:
    return Thing("fruit", radius, radius, radius)


PLATE = Thing("plate", 0.075, 0.0, 0.004, gripped=False)  # its surface; the rim is for the eye
CUP = Thing("cup", 0.0355, 0.0, 0.072)
BEAKER = Thing("cup", 0.027, 0.0, 0.105)  # slim enough for ALOHA's fingers, and tall enough for two hands
BLOCK = Thing("block", 0.0283, 0.02, 0.02)
BOWL = Thing("bowl", 0.07, 0.0, 0.043, gripped=False)
SPOON = Thing("spoon", 0.0225, 0.02, 0.145, gripped=False, turned=False)  # upright in its stand, its mouth ahead
BOX = Thing("box", 0.065, 0.0, 0.04, gripped=False, turned=False)
MATERIALS = ("mung_beans", "black_rice", "sticky_rice")  # boxes full of grains, which are called <material>.<number>
SHORTS = Thing("shorts", 0.185, 0.0, 0.021, gripped=False, turned=False)  # flat and open, to the balls on its corners
NESTED_M = 0.024  # a cup's foot over that of the one it stands in: there their walls meet
THINGS = {
    "apple": _ball(0.031),
    "orange": _ball(0.027),
    "pomegranate": _ball(0.034),
    "green_apple": Thing("distractor", 0.031, 0.031, 0.031),
    "banana": Thing("distractor", 0.0585, 0.016, 0.016),
    **{f"{colour}_plate": PLATE for colour in ("blue", "pink", "purple")},
    **{f"{colour}_cup": CUP for colour in ("red", "yellow", "blue", "green")},
    **{f"{colour}_beaker": BEAKER for colour in ("red", "yellow", "blue")},
    "bowl": BOWL,
    "spoon": SPOON,
    **dict.fromkeys(MATERIALS, BOX),
    "black_shorts": SHORTS,
    "novel_shorts": replace(SHORTS, radius=0.17),
    **{f"{colour}_block": BLOCK for colour in ("red", "yellow", "blue")},
}
