"""Where things lie when a trial begins: drawn by its seed, as the protocol tells."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..core.errors import ConfigError
from .protocol import NAMED, ONE_OTHER, Protocol, Setting
from .things import THINGS

ATTEMPTS = 2000
FINGERS_M, GAP_M = 0.057, 0.017  # left between two things that are gripped, and between others
DISTRACTOR = "distractor"
Layout = dict[str, tuple[float, float, float]]


def draw_layout(protocol: Protocol, setting: Setting, seed: int) -> Layout:
    """Draw a start: of every kind a place for each thing, nothing close together.

    Args:
        protocol: what lies there, and where.
        setting: one of its settings.
        seed: the same seed gives the same layout.

    Returns:
        Thing -> (x, y, yaw) in m, m, rad, base frame of the arm.

    Raises:
        ConfigError: a thing without known size or place, or no draw kept the distances.
    """
    rng = np.random.default_rng(seed)
    groups = _groups(protocol, setting, rng)
    things = [thing for group in groups.values() for thing in group]
    for _ in range(ATTEMPTS):
        drawn = [_places(protocol, kind, len(group), rng) for kind, group in groups.items()]
        places = np.concatenate(drawn)
        if _apart(things, places):
            yaws = rng.uniform(-np.pi, np.pi, len(places)) * [THINGS[thing].turned for thing in things]
            return {
                thing: (float(x), float(y), float(yaw)) for thing, (x, y), yaw in zip(things, places, yaws, strict=True)
            }
    raise ConfigError(
        f"{protocol.name}: reset.places leaves no room for {things}: none of {ATTEMPTS} draws kept their distances"
    )


def things_of(protocol: Protocol) -> tuple[str, ...]:
    """Everything that may lie there in any trial, in alphabetical order."""
    found = {thing for setting in protocol.settings.values() for thing in setting.roles.values()}
    found |= {*protocol.distractors, *(o for o in protocol.objects if o != NAMED)}
    for wish in [o for o in found if o.startswith(ONE_OTHER)]:
        found.remove(wish)
        found |= {name for name, thing in THINGS.items() if thing.kind == wish.removeprefix(ONE_OTHER)}
    return tuple(sorted(found))


def _groups(protocol: Protocol, setting: Setting, rng: np.random.Generator) -> dict[str, list[str]]:
    """Kind -> what of it lies there, in an order that the seed alone decides."""
    named = list(setting.roles.values())
    things = named if NAMED in protocol.objects else [o for o in protocol.objects if not o.startswith(ONE_OTHER)]
    for wish in protocol.objects:
        if wish.startswith(ONE_OTHER):
            kind = wish.removeprefix(ONE_OTHER)
            others = [n for n, t in THINGS.items() if t.kind == kind and n not in things]
            if not others:
                raise ConfigError(f"{protocol.name}: objects: there is no other '{kind}' than those already there")
            things = [*things, str(rng.choice(others))]
    if unknown := sorted({*things, *protocol.distractors} - set(THINGS)):
        raise ConfigError(
            f"{protocol.name}: no size is known of {', '.join(unknown)}, so the simulator cannot lay it out"
        )
    groups: dict[str, list[str]] = {}
    for thing in sorted(things):
        groups.setdefault(THINGS[thing].kind, []).append(thing)
    if protocol.distractors:
        groups[DISTRACTOR] = [str(rng.choice(protocol.distractors))]
    return groups


def _places(protocol: Protocol, kind: str, count: int, rng: np.random.Generator) -> np.ndarray:
    """(count, 2) m, x and y."""
    place = protocol.places.get(kind)
    if place is None or len(place.y) < count:
        raise ConfigError(
            f"{protocol.name}: reset.places has {0 if place is None else len(place.y)} places for {count} of '{kind}'"
        )
    y = rng.permutation(place.y)[:count]
    return np.stack([np.full(count, place.x), y], axis=1) + rng.uniform(-place.spread, place.spread, (count, 2))


def _apart(things: Sequence[str], places: np.ndarray) -> bool:
    for i, first in enumerate(things):
        for j, second in enumerate(things[:i]):
            a, b = THINGS[first], THINGS[second]
            room = a.radius + b.radius + (FINGERS_M if a.gripped and b.gripped else GAP_M)
            if np.linalg.norm(places[i] - places[j]) < room:
                return False
    return True
