"""The judge of Scoop: what is in the spoon, and what of it comes to lie in the bowl."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from .protocol import Protocol, Setting, only_thing
from .things import BOWL, MATERIALS
from .truth import Pose, Truth
from .verdict import RESTING_S, RESTING_SPEED_M_S, UPRIGHT, Verdict

SCOOP = ["scoop", "pour"]  # stages
MOUTH_M = 0.026  # from the middle of a spoon's mouth, a grain lies in it
RAISED_M = 0.07  # of the mouth over the table: above the boxes
ENOUGH = 2  # grains
MIDDLE_M = 0.08  # of a bowl from the middle of the table


def in_spoon(things: Mapping[str, Pose]) -> list[str]:
    """Grains that lie in the spoon's mouth."""
    mouth = things["spoon"].place
    return [n for n, pose in things.items() if "." in n and np.linalg.norm(pose.place - mouth) < MOUTH_M]


class ScoopJudge:
    """Watches a trial and remembers what it saw."""

    def __init__(self, protocol: Protocol, setting: Setting) -> None:
        """
        Raises:
            ConfigError: the protocol is not of scooping.
        """
        self._material = only_thing(protocol, setting, SCOOP, MATERIALS)
        self._since: float | None = None  # s, since when enough has lain in the bowl
        self._verdict = Verdict(dict.fromkeys(SCOOP, False))

    @property
    def verdict(self) -> Verdict:
        """The verdict after the last observation."""
        return self._verdict

    def observe(self, truth: Truth) -> Verdict:
        """Take in one moment, in order of time."""
        before, things = self._verdict, truth.things
        raised = things["spoon"].place[2] > RAISED_M
        load = Counter(name.split(".")[0] for name in in_spoon(things)) if raised else Counter[str]()
        scooped = before.stages["scoop"] or load[self._material] >= ENOUGH
        others = [material for material, count in load.items() if material != self._material and count >= ENOUGH]
        self._since = (self._since or truth.time_s) if scooped and self._poured(things) else None
        poured = before.stages["pour"] or (self._since is not None and truth.time_s - self._since >= RESTING_S - 1e-9)
        wrong = before.wrong_object or (others[0] if others else "")
        self._verdict = Verdict({"scoop": scooped, "pour": poured}, wrong_object=wrong)
        return self._verdict

    def _poured(self, things: Mapping[str, Pose]) -> bool:
        bowl = things["bowl"]
        ready = np.linalg.norm(bowl.place[:2]) < MIDDLE_M and bowl.up[2] > UPRIGHT and bowl.speed < RESTING_SPEED_M_S
        grains = (pose for name, pose in things.items() if name.startswith(f"{self._material}."))
        inside = [p for p in (grain.place - bowl.place for grain in grains) if np.hypot(p[0], p[1]) < BOWL.radius]
        return bool(ready and sum(0 < p[2] < BOWL.top for p in inside) >= ENOUGH)
