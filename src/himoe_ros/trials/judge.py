"""Stage judges: from true poses, at every moment, what has been done so far in a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..core.errors import ConfigError
from .protocol import Protocol, Setting
from .things import PLATE, THINGS
from .truth import Hand, Pose, Truth
from .verdict import RESTING_S, RESTING_SPEED_M_S, UPRIGHT, Verdict

LIFT_M = 0.05
HOLD_RADIUS_M = 0.035  # of the tool point from the upright axis of what it holds
HOLD_REACH_M = 0.02  # above and below the thing
GRIPPING, OPEN_GRIPPER = 0.95, 0.9  # below, something may be held; from there on, nothing is (a cup is at 0.82)
ON_PLATE_M = 0.02  # higher than that over its surface, a fruit lies on something else
NESTED_AXIS_M, NESTED_LOW_M, NESTED_HIGH_M = 0.008, 0.012, 0.036
STACKED_AXIS_M, STACKED_HEIGHT_M = 0.02, 0.005


def on_plate(fruit: Pose, plate: Pose, name: str) -> bool:
    """The middle of a fruit or an upright cup is above a plate, and it lies on the plate itself."""
    offset, thing = fruit.place - plate.place, THINGS[name]
    height = offset[2] - PLATE.top - thing.foot
    above = np.linalg.norm(offset[:2]) < PLATE.radius and abs(height) < ON_PLATE_M
    return bool(above and plate.up[2] > UPRIGHT and (thing.kind != "cup" or fruit.up[2] > UPRIGHT))


def in_cup(inner: Pose, outer: Pose, _name: str) -> bool:
    """Both stand upright, one in the other as far as their walls allow."""
    offset = inner.place - outer.place
    return bool(
        inner.up[2] > UPRIGHT
        and outer.up[2] > UPRIGHT
        and np.linalg.norm(offset[:2]) < NESTED_AXIS_M
        and NESTED_LOW_M < offset[2] < NESTED_HIGH_M
    )


def on_block(top: Pose, bottom: Pose, name: str) -> bool:
    """A block lies on another one, a face on a face, its middle above the other."""
    offset = top.place - bottom.place
    height = offset[2] - 2 * THINGS[name].foot
    return bool(np.linalg.norm(offset[:2]) < STACKED_AXIS_M and abs(height) < STACKED_HEIGHT_M)


HOLDS = {"pick": None, "grasp": "right", "transfer": "left"}  # stage -> the arm that holds it, alone; None: any does
RELATIONS: Mapping[str, Callable[[Pose, Pose, str], bool]] = {"place": on_plate, "insert": in_cup, "stack": on_block}


class Judge:
    """Watches a trial and remembers what it saw.

    A thing counts as lifted when it is `LIFT_M` above where it first lay, and in the gripper. It counts as
    brought when, later, the gripper is open or elsewhere and it has rested in its relation to the target for
    `RESTING_S`.
    """

    def __init__(self, protocol: Protocol, setting: Setting) -> None:
        """
        Raises:
            ConfigError: no judge knows the protocol's stages or things.
        """
        stages, roles = list(protocol.stages), list(setting.roles.values())
        if len(stages) < 2 or set(stages[:-1]) - set(HOLDS) or stages[-1] not in RELATIONS or len(roles) != 2:
            raise ConfigError(
                f"{protocol.name}: no judge knows the stages {stages} of {len(roles)} things; it knows some of "
                f"{', '.join(HOLDS)}, then one of {', '.join(RELATIONS)}, of two"
            )
        if unknown := sorted(set(roles) - set(THINGS)):
            raise ConfigError(f"{protocol.name}: no judge knows {', '.join(unknown)}; it knows {', '.join(THINGS)}")
        self._named, self._target = roles
        *self._holds, self._bring = stages
        self._relation = RELATIONS[self._bring]
        self._verdict = Verdict(dict.fromkeys(stages, False))
        self._start: dict[str, float] | None = None
        self._resting_since: dict[str, float] = {}

    @property
    def verdict(self) -> Verdict:
        """The verdict after the last observation."""
        return self._verdict

    def observe(self, truth: Truth) -> Verdict:
        """Take in one moment, in order of time; at 10 Hz or more no lift is missed."""
        if self._start is None:
            self._start = {name: float(pose.place[2]) for name, pose in truth.things.items()}
        holders = {name: self._holders(name, truth) for name in truth.things}
        reached, picked = {}, True
        for stage in self._holds:
            by = {HOLDS[stage] or arm for arm in holders[self._named]}
            picked = self._verdict.stages[stage] or (picked and bool(by) and by == holders[self._named])
            reached[stage] = picked
        kind = THINGS[self._target].kind
        targets = [n for n in truth.things if n != self._named and THINGS[n].kind == kind]
        rests = [n for n in targets if picked and self._rests(n, truth)]
        others = [n for n, arms in holders.items() if arms and n != self._named]
        self._verdict = Verdict(
            {**reached, self._bring: self._verdict.stages[self._bring] or self._target in rests},
            wrong_object=self._verdict.wrong_object or (others[0] if others else ""),
            wrong_target=next((n for n in rests if n != self._target), ""),
        )
        return self._verdict

    def _holders(self, name: str, truth: Truth) -> set[str]:
        """Arms that hold a thing up."""
        if truth.things[name].place[2] - self._start[name] <= LIFT_M:
            return set()
        return {
            arm for arm, hand in truth.hands.items() if hand.opening < GRIPPING and self._at_hand(name, hand, truth)
        }

    def _at_hand(self, name: str, hand: Hand, truth: Truth) -> bool:
        """Between the fingers, or where they would be."""
        thing, (x, y, z) = THINGS[name], hand.tcp - truth.things[name].place
        return bool(np.hypot(x, y) < HOLD_RADIUS_M and -thing.foot - HOLD_REACH_M < z < thing.top + HOLD_REACH_M)

    def _rests(self, target: str, truth: Truth) -> bool:
        named, other = truth.things[self._named], truth.things[target]
        quiet = (
            self._relation(named, other, self._named)
            and max(named.speed, other.speed) < RESTING_SPEED_M_S
            and all(h.opening >= OPEN_GRIPPER or not self._at_hand(self._named, h, truth) for h in truth.hands.values())
        )
        if not quiet:
            self._resting_since.pop(target, None)
            return False
        since = self._resting_since.setdefault(target, truth.time_s)
        return truth.time_s - since >= RESTING_S - 1e-9
