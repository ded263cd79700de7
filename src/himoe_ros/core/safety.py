"""Limits of the control stack, read from `config/safety.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from .embodiment import ANGLES, END_EFFECTOR, ActionSpace, Embodiment
from .observation import Floats
from .reading import count, load_yaml, mapping, positive
from .synchronizer import SyncLimits


@dataclass(frozen=True)
class SafetyLimits:
    """See the comments in config/safety.yaml; units in the names."""

    blend_s: float
    first_step_m: float
    first_step_rad: float
    chunk_timeout_s: float
    home_velocity_rad_s: float
    clock_tolerance_s: float
    sensors: SyncLimits


def load_safety(path: Path) -> SafetyLimits:
    """Read and check the file: every key is there, none is unknown, every value is a limit > 0."""
    data = mapping(load_yaml(path), str(path), [f.name for f in fields(SafetyLimits)])
    where = f"{path}: sensors"
    sensors = mapping(data.pop("sensors"), where, [f.name for f in fields(SyncLimits)])
    frozen_after = count(sensors.pop("frozen_after"), f"{where}.frozen_after", least=2)
    return SafetyLimits(
        **{key: positive(value, f"{path}: {key}") for key, value in data.items()},
        sensors=SyncLimits(
            **{key: positive(value, f"{where}.{key}") for key, value in sensors.items()}, frozen_after=frozen_after
        ),
    )


def first_step(safety: SafetyLimits, embodiment: Embodiment, space: ActionSpace) -> Floats:
    """(N,) m or rad, largest distance of a plan's first step from the robot; inf for grippers."""
    table = {n: safety.first_step_rad for arm in embodiment.arms for n in arm.joints}
    table |= {arm.gripper.name: np.inf for arm in embodiment.arms}
    table |= {n: safety.first_step_rad if n in ANGLES else safety.first_step_m for n in END_EFFECTOR}
    return np.array([table[n] for n in space.names])
