"""Normalisation statistics, as the release keeps them: one set for each data set."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.embodiment import SLOTS, ActionSpace, Embodiment
from ..core.errors import ConfigError
from ..core.observation import Floats
from ..core.unified import scatter


@dataclass(frozen=True)
class Normalizer:
    """z = (clip(x, q01, q99) - mean) / (std + 1e-6), slot by slot.

    Attributes:
        mean, std, q01, q99: (24,) in the units of the unified vector; or (T, 24), other ones for each step of a chunk.
    """

    mean: Floats
    std: Floats
    q01: Floats
    q99: Floats

    def __post_init__(self) -> None:
        for name, values in vars(self).items():
            if values.shape[-1:] != (SLOTS,) or values.shape != self.mean.shape or not np.all(np.isfinite(values)):
                raise ConfigError(f"statistics '{name}' must be {SLOTS} finite values, got shape {values.shape}")

    def normalize(self, x: Floats) -> Floats:
        """(..., 24) -> (..., 24), mean 0 and variance 1 over the data set."""
        return (np.clip(x, self.q01, self.q99) - self.mean) / (self.std + 1e-6)

    def restore(self, z: Floats) -> Floats:
        """The inverse of `normalize` for values that were not clipped."""
        return z * (self.std + 1e-6) + self.mean


@dataclass(frozen=True)
class Statistics:
    """Of a policy's states and actions, and for whom they hold.

    Attributes:
        space: number of this embodiment and action space, for a model that was trained on several and numbers them.
    """

    embodiment: str
    action_space: str
    state: Normalizer
    action: Normalizer
    space: int = 0

    def save(self, path: Path) -> None:
        path.write_text(json.dumps(asdict(self), default=np.ndarray.tolist, indent=1))

    @classmethod
    def load(cls, path: Path) -> Statistics:
        """Read a `stats.json` written by `save`."""
        if not path.is_file():
            raise ConfigError(f"statistics {path} are missing; a policy folder needs the stats.json of its training")
        data = json.loads(path.read_text())
        parts = (_normalizer(data[part]) for part in ("state", "action"))
        return cls(data["embodiment"], data["action_space"], *parts, data.get("space", 0))

    def require(self, embodiment: Embodiment, space: ActionSpace) -> None:
        """Refuse a policy that was trained for another robot or action space."""
        if (self.embodiment, self.action_space) != (embodiment.name, space.name):
            raise ConfigError(
                f"the policy was trained for {self.embodiment}/{self.action_space}, "
                f"this robot is {embodiment.name}/{space.name}; choose another policy or action space"
            )


def statistics_from_limits(embodiment: Embodiment, space: ActionSpace) -> Statistics:
    """Stand-in statistics for untrained weights, from the robot's limits alone.

    States spread over the whole range; delta actions over what one step of the chunk may move,
    absolute ones (grippers) over their range.
    """
    lower, upper, speed = (dict[str, float]() for _ in range(3))
    for arm in embodiment.arms:
        lower |= dict(zip(arm.joints, arm.bounds.lower.tolist(), strict=True)) | {arm.gripper.name: 0.0}
        upper |= dict(zip(arm.joints, arm.bounds.upper.tolist(), strict=True)) | {arm.gripper.name: 1.0}
        speed |= dict.fromkeys(arm.joints, arm.max_velocity)
    if embodiment.workspace is not None:
        box = embodiment.workspace
        for i, axis in enumerate("xyz"):
            lower[axis], upper[axis], speed[axis] = float(box.lower[i]), float(box.upper[i]), box.max_speed
        for axis, reach in (("roll", box.max_tilt), ("pitch", box.max_tilt), ("yaw", np.pi)):
            lower[axis], upper[axis], speed[axis] = -reach, reach, box.max_rotation
    low, high = (np.array([table[n] for n in space.names]) for table in (lower, upper))
    step = np.array([speed.get(n, 0.0) / space.rate_hz for n in space.names])
    action_low, action_high = np.where(space.delta, -step, low), np.where(space.delta, step, high)
    return Statistics(embodiment.name, space.name, _spread(space, low, high), _spread(space, action_low, action_high))


def _spread(space: ActionSpace, low: Floats, high: Floats) -> Normalizer:
    return Normalizer(
        scatter(space, (low + high) / 2), scatter(space, (high - low) / 4), scatter(space, low), scatter(space, high)
    )


def _normalizer(data: dict[str, Any]) -> Normalizer:
    return Normalizer(*(np.asarray(data[k], dtype=float) for k in ("mean", "std", "q01", "q99")))
