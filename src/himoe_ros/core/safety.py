"""Limits of the control stack, read from `config/safety.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError
from .synchronizer import SyncLimits


@dataclass(frozen=True)
class SafetyLimits:
    """See the comments in config/safety.yaml; units in the names."""

    control_rate_hz: float
    blend_s: float
    first_step_m: float
    first_step_rad: float
    chunk_timeout_s: float
    home_velocity_rad_s: float
    sensors: SyncLimits


def load_safety(path: Path) -> SafetyLimits:
    """Read and check the file: every key is there, none is unknown, all are numbers > 0."""
    data = dict(yaml.safe_load(path.read_text()))
    sensors = data.get("sensors", {})
    _check(sensors, SyncLimits, f"{path}: sensors")
    _check({**data, "sensors": 1}, SafetyLimits, str(path))
    return SafetyLimits(**{**data, "sensors": SyncLimits(**sensors)})


def _check(data: dict[str, Any], cls: type, where: str) -> None:
    names = {f.name for f in fields(cls)}
    if set(data) != names:
        raise ConfigError(
            f"{where}: expected the keys {sorted(names)}; missing {sorted(names - set(data))}, "
            f"unknown {sorted(set(data) - names)}"
        )
    bad = {k: v for k, v in data.items() if not isinstance(v, int | float) or not v > 0}
    if bad:
        raise ConfigError(f"{where}: expected numbers > 0, got {bad}")
