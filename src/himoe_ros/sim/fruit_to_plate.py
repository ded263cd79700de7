"""The Fruit-to-Plate task, without physics: where things lie, what is asked, whether it was done."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..core.embodiment import Arm
from .xarm7_scene import FRUITS, PLATES

FRUIT_X_M, PLATE_X_M = 0.34, 0.53
FRUIT_Y_M, PLATE_Y_M = 0.10, 0.13
FRUIT_SPREAD_M, PLATE_SPREAD_M = 0.07, 0.06
FRUIT_GAP_M, PLATE_GAP_M, FRUIT_PLATE_GAP_M = 0.115, 0.165, 0.125
LAYOUT_ATTEMPTS = 1000

LIFT_M = 0.05
HOLD_RADIUS_M = 0.035
OPEN_GRIPPER = 0.8
PLATE_RADIUS_M, PLATE_HEIGHT_M = 0.075, 0.004  # as in fruit_to_plate.xml
FRUIT_RADII_M = {"apple": 0.031, "orange": 0.027}
ON_PLATE_HEIGHT_M = 0.02
RESTING_SPEED_M_S = 0.02
RESTING_S = 0.5


@dataclass(frozen=True)
class Instruction:
    """One thing to ask for: `fruit` and `plate` name bodies, `sentence` is what the policy reads."""

    fruit: str
    plate: str
    sentence: str


INSTRUCTIONS = tuple(
    Instruction(fruit, plate, f"Pick up the {fruit} and place it onto the {plate.replace('_', ' ')}")
    for fruit in FRUITS
    for plate in PLATES
)


@dataclass(frozen=True)
class Truth:
    """What the simulator knows at one moment, and no robot would.

    Attributes:
        time_s: simulated time, s.
        positions: body name -> (3,) m, base frame of the arm: centre of a fruit, foot of a plate.
        speeds: body name -> m/s, length of the linear velocity.
        gripper_opening: 0 closed .. 1 open.
        tcp: (3,) m, tool point.
    """

    time_s: float
    positions: Mapping[str, np.ndarray]
    speeds: Mapping[str, float]
    gripper_opening: float
    tcp: np.ndarray


@dataclass(frozen=True)
class Verdict:
    """What has happened so far in a trial. Everything but `wrong_plate` stays once it is true.

    Attributes:
        pick: the named fruit was lifted clear of the table by the gripper.
        place: after that it was let go and came to rest on the named plate.
        wrong_fruit: the other fruit was lifted.
        wrong_plate: the named fruit, once lifted, now rests on the other plate.
    """

    pick: bool = False
    place: bool = False
    wrong_fruit: bool = False
    wrong_plate: bool = False


def truth_from_state(
    time: float, arm: Arm, names: Sequence[str], values: Sequence[float], rates: Sequence[float]
) -> Truth:
    """The truth out of a labelled state of the world, such as another process publishes it.

    Args:
        time: s.
        arm: the arm at the table, whose kinematics give the tool point.
        names, values, rates: as `World.state_names`, `state` and `state_velocity`.

    Raises:
        KinematicsError: the arm has no kinematics.
    """
    value, rate = dict(zip(names, values, strict=True)), dict(zip(names, rates, strict=True))
    objects = FRUITS + PLATES
    return Truth(
        time_s=time,
        positions={o: np.array([value[f"{o}.{axis}"] for axis in "xyz"]) for o in objects},
        speeds={o: math.hypot(*(rate[f"{o}.{axis}"] for axis in "xyz")) for o in objects},
        gripper_opening=arm.gripper.opening(value[arm.gripper.joint]),
        tcp=arm.forward(np.array([value[joint] for joint in arm.joints]))[:3, 3],
    )


def sample_layout(rng: np.random.Generator) -> dict[str, tuple[float, float, float]]:
    """Draw a start: fruits in front, plates behind, which side is random, nothing close together.

    Args:
        rng: source of randomness; the same state gives the same layout.

    Returns:
        Body name -> (x, y, yaw) in m, m, rad, base frame of the arm.

    Raises:
        RuntimeError: no draw kept the distances. The constants of this module then contradict
            each other.
    """
    for _ in range(LAYOUT_ATTEMPTS):
        fruits = _sample_pair(rng, FRUITS, FRUIT_X_M, FRUIT_Y_M, FRUIT_SPREAD_M)
        plates = _sample_pair(rng, PLATES, PLATE_X_M, PLATE_Y_M, PLATE_SPREAD_M)
        apart = (
            _nearest(fruits[:1], fruits[1:]) >= FRUIT_GAP_M
            and _nearest(plates[:1], plates[1:]) >= PLATE_GAP_M
            and _nearest(fruits, plates) >= FRUIT_PLATE_GAP_M
        )
        if apart:
            places = np.concatenate([fruits, plates])
            yaws = rng.uniform(-np.pi, np.pi, len(places))
            return {
                name: (float(x), float(y), float(yaw))
                for name, (x, y), yaw in zip(FRUITS + PLATES, places, yaws, strict=True)
            }
    raise RuntimeError(f"no layout kept its distances in {LAYOUT_ATTEMPTS} draws")


class FruitToPlateJudge:
    """Watches a trial and remembers what it saw.

    A fruit counts as lifted when it is `LIFT_M` above where it first lay, within
    `HOLD_RADIUS_M` of the tool point and the gripper is not wide open. It counts as placed
    when, later, the gripper is open and the fruit has lain on the plate, its centre less than
    `PLATE_RADIUS_M` from the plate's, slower than `RESTING_SPEED_M_S` for `RESTING_S`.
    """

    def __init__(self, instruction: Instruction) -> None:
        self._instruction = instruction
        self._verdict = Verdict()
        self._start_heights: dict[str, float] | None = None
        self._resting_since: dict[str, float] = {}

    @property
    def verdict(self) -> Verdict:
        """The verdict after the last observation."""
        return self._verdict

    def observe(self, truth: Truth) -> Verdict:
        """Take in one moment, in order of time; at 10 Hz or more no lift is missed."""
        if self._start_heights is None:
            self._start_heights = {fruit: float(truth.positions[fruit][2]) for fruit in FRUITS}
        fruit = self._instruction.fruit
        lifted = {name: self._is_lifted(name, truth) for name in FRUITS}
        picked = self._verdict.pick or lifted[fruit]
        rests = {plate: picked and self._rests_on(fruit, plate, truth) for plate in PLATES}
        self._verdict = replace(
            self._verdict,
            pick=picked,
            place=self._verdict.place or rests[self._instruction.plate],
            wrong_fruit=self._verdict.wrong_fruit or any(lifted[f] for f in FRUITS if f != fruit),
            wrong_plate=any(rests[p] for p in PLATES if p != self._instruction.plate),
        )
        return self._verdict

    def _is_lifted(self, fruit: str, truth: Truth) -> bool:
        position = truth.positions[fruit]
        return bool(
            position[2] - self._start_heights[fruit] > LIFT_M
            and np.linalg.norm(position - truth.tcp) < HOLD_RADIUS_M
            and truth.gripper_opening < 0.95
        )

    def _rests_on(self, fruit: str, plate: str, truth: Truth) -> bool:
        offset = truth.positions[fruit] - truth.positions[plate]
        height = offset[2] - self._start_heights[fruit]
        quiet = (
            np.linalg.norm(offset[:2]) < PLATE_RADIUS_M
            and height < ON_PLATE_HEIGHT_M
            and truth.speeds[fruit] < RESTING_SPEED_M_S
            and truth.gripper_opening >= OPEN_GRIPPER
        )
        if not quiet:
            self._resting_since.pop(plate, None)
            return False
        since = self._resting_since.setdefault(plate, truth.time_s)
        return truth.time_s - since >= RESTING_S - 1e-9


def _sample_pair(rng: np.random.Generator, names: tuple[str, ...], x: float, y: float, spread: float) -> np.ndarray:
    """Two places, left and right in random order. Returns (2, 2) m: x, y of each name."""
    sides = rng.permutation([-1.0, 1.0])[: len(names)]
    places = np.stack([np.full(len(names), x), sides * y], axis=1)
    return places + rng.uniform(-spread, spread, places.shape)


def _nearest(first: np.ndarray, second: np.ndarray) -> float:
    """Smallest distance between a point of (A, 2) and one of (B, 2), in their unit."""
    return float(np.linalg.norm(first[:, None] - second[None], axis=-1).min())
