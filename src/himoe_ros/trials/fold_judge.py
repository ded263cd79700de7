"""The judge of Fold-Shorts: how far the garment is folded, whether it lies still, and whether hands are off it."""

from __future__ import annotations

from .judge import OPEN_GRIPPER
from .protocol import Protocol, Setting, only_thing
from .things import SHORTS, THINGS
from .truth import Pose, Truth
from .verdict import RESTING_S, RESTING_SPEED_M_S, UPRIGHT, Verdict

FOLD = ["once", "twice"]  # stages
MIDDLE, LEGS = "middle", ("left_leg", "right_leg")  # hinges, as sim/shorts.py names them
GARMENTS = [name for name, thing in THINGS.items() if thing.kind == SHORTS.kind]
FOLDED_RAD = 2.9  # of pi: an edge that lies on a ball stands off a little; one that is held, more
STILL_RAD_S = 0.5
OFF_M = 0.08  # of a tool point over the table


class FoldJudge:
    """Watches a trial and remembers what it saw."""

    def __init__(self, protocol: Protocol, setting: Setting) -> None:
        """
        Raises:
            ConfigError: the protocol is not of folding.
        """
        self._garment = only_thing(protocol, setting, FOLD, GARMENTS)
        self._since: dict[str, float] = {}  # s, since when what a stage asks for has lasted
        self._verdict = Verdict(dict.fromkeys(FOLD, False))

    @property
    def verdict(self) -> Verdict:
        """The verdict after the last observation."""
        return self._verdict

    def observe(self, truth: Truth) -> Verdict:
        """Take in one moment, in order of time."""
        garment, reached = truth.things[self._garment], dict(self._verdict.stages)
        folded = {name: abs(angle) > FOLDED_RAD for name, angle in garment.hinges.items()}
        off = all(hand.opening >= OPEN_GRIPPER or hand.tcp[2] > OFF_M for hand in truth.hands.values())
        lies = _still(garment) and off and folded[MIDDLE]
        for stage, done in (("once", lies), ("twice", lies and reached["once"] and all(folded[leg] for leg in LEGS))):
            if not done:
                self._since.pop(stage, None)
            elif truth.time_s - self._since.setdefault(stage, truth.time_s) >= RESTING_S - 1e-9:
                reached[stage] = True
        self._verdict = Verdict(reached)
        return self._verdict


def _still(garment: Pose) -> bool:
    return garment.up[2] > UPRIGHT and garment.speed < RESTING_SPEED_M_S and garment.folding < STILL_RAD_S
