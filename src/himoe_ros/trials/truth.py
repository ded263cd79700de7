"""What a simulator knows at one moment, and no robot would: what a judge judges by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core.embodiment import Arm
from ..core.observation import Floats

PARTS = ("x", "y", "z", "qw", "qx", "qy", "qz")  # of a thing's pose


@dataclass(frozen=True)
class Pose:
    """One thing. Frame: the robot's.

    Attributes:
        place: (3,) m, of its origin.
        up: (3,) its own z axis.
        yaw: rad, of its own x axis seen from above.
        speed: m/s.
        hinges: rad, by name; of a thing that folds.
        folding: rad/s, of the hinge that turns fastest.
    """

    place: Floats
    up: Floats
    yaw: float
    speed: float
    hinges: Mapping[str, float] = field(default_factory=dict)
    folding: float = 0.0


@dataclass(frozen=True)
class Hand:
    """One gripper.

    Attributes:
        opening: 0 closed .. 1 open.
        tcp: (3,) m, tool point.
    """

    opening: float
    tcp: Floats


@dataclass(frozen=True)
class Truth:
    """One moment.

    Attributes:
        time_s: s.
        things: by name.
        hands: by the name of the arm.
        reward: of a simulator that judges by itself; None of one that does not.
    """

    time_s: float
    things: Mapping[str, Pose]
    hands: Mapping[str, Hand]
    reward: float | None = None


def truth_from_state(
    time: float, arms: Sequence[Arm], names: Sequence[str], values: Sequence[float], rates: Sequence[float]
) -> Truth:
    """The truth out of a labelled state of the world, such as the simulator publishes it.

    Args:
        time: s.
        arms: those at the table, whose kinematics give the tool points.
        names, values, rates: labels such as `joint1`, `apple.x` .. `apple.qz`; m, rad, quaternion parts and
            their rates per second; `black_shorts.middle`, rad and rad/s, of a thing with hinges.

    Raises:
        ConfigError: an arm has no kinematics.
    """
    value, rate = dict(zip(names, values, strict=True)), dict(zip(names, rates, strict=True))
    things = [name.removesuffix(".qw") for name in names if name.endswith(".qw")]
    hinges = [name for name in names if name.count(".") == 1 and name.rpartition(".")[2] not in PARTS]
    return Truth(
        time_s=time,
        things={thing: _pose(thing, hinges, value, rate) for thing in things},
        hands={arm.name: _hand(arm, value) for arm in arms},
        reward=value.get("reward"),
    )


def _hand(arm: Arm, value: Mapping[str, float]) -> Hand:
    return Hand(arm.gripper.opening(value[arm.gripper.joint]), arm.tool(value)[:3, 3])


def _pose(thing: str, hinges: Sequence[str], value: Mapping[str, float], rate: Mapping[str, float]) -> Pose:
    own = [name for name in hinges if name.startswith(f"{thing}.")]
    w, x, y, z = (value[f"{thing}.{part}"] for part in ("qw", "qx", "qy", "qz"))
    return Pose(
        place=np.array([value[f"{thing}.{axis}"] for axis in "xyz"]),
        up=np.array([2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)]),
        yaw=math.atan2(2 * (x * y + w * z), 1 - 2 * (y * y + z * z)),
        speed=math.hypot(*(rate[f"{thing}.{axis}"] for axis in "xyz")),
        hinges={name.removeprefix(f"{thing}."): value[name] for name in own},
        folding=max((abs(rate[name]) for name in own), default=0.0),
    )
