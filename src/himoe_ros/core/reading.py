"""Checked values out of parsed YAML and JSON: what is missing, unknown or malformed is told with its place."""

from __future__ import annotations

import json
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .errors import ConfigError
from .observation import Floats


def load_yaml(path: Path) -> Any:
    """Parse a YAML file, or say why it cannot be read."""
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} must be a readable YAML file: {error}") from error


def load_json(path: Path) -> Any:
    """Parse a JSON file, or say why it cannot be read."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} must be a readable JSON file: {error}") from error


def mapping(
    data: Any, where: str, required: Collection[str] | None = None, optional: Collection[str] = ()
) -> dict[str, Any]:
    """A non-empty mapping; where `required` is given, with these keys and no others but `optional`."""
    if not isinstance(data, Mapping) or not data or not all(isinstance(key, str) for key in data):
        raise ConfigError(f"{where}: expected named entries, got {data!r}")
    if required is not None:
        missing, unknown = sorted(set(required) - set(data)), sorted(set(data) - set(required) - set(optional))
        if missing or unknown:
            raise ConfigError(
                f"{where}: expected the keys {sorted(required)}, optional {sorted(optional)}; "
                f"missing {missing}, unknown {unknown}"
            )
    return dict(data)


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """One mapping on top of another, to any depth; a key that is null above is taken away."""
    out = dict(below)
    for key, value in above.items():
        if value is None:
            out.pop(key, None)
        else:
            both = isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
            out[key] = overlaid(below[key], value) if both else value
    return out


def names(data: Any, where: str) -> tuple[str, ...]:
    """A list of different names."""
    if not isinstance(data, list) or not all(isinstance(n, str) and n for n in data) or len(set(data)) != len(data):
        raise ConfigError(f"{where}: expected a list of different names, got {data!r}")
    return tuple(data)


def text(data: Any, where: str) -> str:
    """A name that is not empty."""
    if not isinstance(data, str) or not data:
        raise ConfigError(f"{where}: expected a name, got {data!r}")
    return data


def number(data: Any, where: str) -> float:
    """A finite number."""
    return float(numbers(data, (), where))


def positive(data: Any, where: str) -> float:
    """A finite number > 0."""
    value = number(data, where)
    if not value > 0:
        raise ConfigError(f"{where}: expected a number > 0, got {data!r}")
    return value


def count(data: Any, where: str, least: int) -> int:
    """A whole number of at least `least`."""
    if isinstance(data, bool) or not isinstance(data, int) or data < least:
        raise ConfigError(f"{where}: expected a whole number >= {least}, got {data!r}")
    return data


def numbers(data: Any, shape: tuple[int, ...], where: str) -> Floats:
    """Finite numbers in nested lists of this shape."""
    flat = np.array(data, dtype=object)
    if flat.shape != shape or not all(type(v) in (int, float) and abs(v) <= sys.float_info.max for v in flat.ravel()):
        what = f"finite numbers of shape {shape}" if shape else "a finite number"
        raise ConfigError(f"{where}: expected {what}, got {data!r}")
    return flat.astype(np.float64)


def pairs(data: Any, length: int, where: str) -> tuple[Floats, Floats]:
    """`length` pairs [lower, upper] with lower < upper -> two (length,) arrays."""
    limits = numbers(data, (length, 2), where)
    if not np.all(limits[:, 0] < limits[:, 1]):
        raise ConfigError(f"{where}: expected pairs [lower, upper] with lower < upper, got {data!r}")
    return limits[:, 0].copy(), limits[:, 1].copy()
