"""A robot's body in the roughest useful form: capsules on its links, and what they must keep away from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .errors import ConfigError
from .observation import Floats
from .reading import mapping, number, numbers, positive, text

BASE = "base"  # the link that no joint moves


@dataclass(frozen=True)
class Capsule:
    """All points within `radius` of a segment, fixed to a link.

    Attributes:
        link: the joint that moves it, or BASE.
        start, end: (3,) m, in the frame of that joint (modified DH), or of the base.
        radius: m, > 0.
    """

    link: str
    start: Floats
    end: Floats
    radius: float


@dataclass(frozen=True)
class CollisionModel:
    """What a plan is checked against before it starts.

    Attributes:
        capsules: of all links.
        min_distance: m, between links that are neither neighbours nor in `ignored`.
        ignored: pairs of links that may come close.
        table: m, height of the table over the base.
        table_clearance: m, that every link but the last keeps from it.
        hand_clearance: m, the same for the last link; below 0 where it may touch.
        overshoot: m, by which a target may lie outside the workspace, and is moved to its edge.
    """

    capsules: tuple[Capsule, ...]
    min_distance: float
    ignored: frozenset[frozenset[str]]
    table: float
    table_clearance: float
    hand_clearance: float
    overshoot: float


def parse_collision(data: Any, joints: Sequence[str], where: str) -> CollisionModel:
    """Build a CollisionModel from parsed YAML; see config/embodiments/xarm7.yaml for every key."""
    keys = (
        "min_distance_m",
        "table_z_m",
        "table_clearance_m",
        "hand_clearance_m",
        "overshoot_m",
        "ignored",
        "capsules",
    )
    d = mapping(data, where, keys)
    links = (BASE, *joints)

    def link(name: Any, at: str) -> str:
        if name not in links:
            raise ConfigError(f"{at}: expected one of {list(links)}, got {name!r}")
        return text(name, at)

    for key in ("ignored", "capsules"):
        if not isinstance(d[key], list):
            raise ConfigError(f"{where}.{key}: expected a list, got {d[key]!r}")
    capsules = []
    for i, entry in enumerate(d["capsules"]):
        at = f"{where}.capsules[{i}]"
        c = mapping(entry, at, ("link", "from_m", "to_m", "radius_m"))
        start, end = (numbers(c[key], (3,), f"{at}.{key}") for key in ("from_m", "to_m"))
        if np.array_equal(start, end):
            raise ConfigError(f"{at}: from_m and to_m must differ, both are {start.tolist()}")
        capsules.append(Capsule(link(c["link"], f"{at}.link"), start, end, positive(c["radius_m"], f"{at}.radius_m")))
    pairs = [frozenset(link(n, f"{where}.ignored[{i}]") for n in pair) for i, pair in enumerate(d["ignored"])]
    if any(len(pair) != 2 for pair in pairs):
        raise ConfigError(f"{where}.ignored: expected pairs of two links, got {d['ignored']!r}")
    return CollisionModel(
        capsules=tuple(capsules),
        min_distance=positive(d["min_distance_m"], f"{where}.min_distance_m"),
        ignored=frozenset(pairs),
        table=number(d["table_z_m"], f"{where}.table_z_m"),
        table_clearance=number(d["table_clearance_m"], f"{where}.table_clearance_m"),
        hand_clearance=number(d["hand_clearance_m"], f"{where}.hand_clearance_m"),
        overshoot=positive(d["overshoot_m"], f"{where}.overshoot_m"),
    )
