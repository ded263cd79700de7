"""A protocol: what is asked, how often, from which start, and what counts; read from `config/trials/*/*.yaml`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.observation import Floats
from ..core.reading import count, load_yaml, mapping, names, number, numbers, positive, text

WIDEST_M = 0.12  # farther from their places, things fall off the reach of the arm
NAMED, ONE_OTHER = "named", "one_other_"  # among the objects: those of the setting; one more of a kind, drawn


@dataclass(frozen=True)
class Setting:
    """One thing to ask for.

    Attributes:
        instruction: what the policy hears.
        roles: such as fruit -> apple, plate -> blue_plate; what stages speak of.
    """

    name: str
    instruction: str
    roles: Mapping[str, str]

    def said(self, wording: str) -> str:
        """The instruction in other words: every role in braces becomes the name of its thing."""
        try:
            return wording.format(**{role: thing.replace("_", " ") for role, thing in self.roles.items()})
        except (KeyError, IndexError, ValueError) as error:
            roles = ", ".join(f"{{{role}}}" for role in self.roles)
            raise ConfigError(f"wording '{wording}' may name {roles} in braces: {error!r}") from error


@dataclass(frozen=True)
class Place:
    """Where things of a kind are laid: at x, and at one of y each, in drawn order.

    Attributes:
        x: m.
        y: (K,) m.
        spread: m, drawn on top, along both axes and both ways.
    """

    x: float
    y: Floats
    spread: float


@dataclass(frozen=True)
class Protocol:
    """See config/trials/xarm7/fruit_to_plate.yaml for every key.

    Attributes:
        name: folder and file, such as `xarm7/fruit_to_plate`.
        stages: stage -> what counts, in order; the last is success.
        settings: by name, in order.
        wordings: other ways to say what a setting asks for, with its roles in braces.
        objects, distractors: what lies there; of the distractors one, drawn.
        recipe: of the reset, in words for a person.
        places: kind of thing -> Place.
        simulator: whose own world this is; "" for ours.
        content: a fingerprint of what the file says.
    """

    name: str
    title: str
    embodiment: str
    time_limit: float
    trials_per_setting: int
    stages: Mapping[str, str]
    settings: Mapping[str, Setting]
    wordings: tuple[str, ...]
    objects: tuple[str, ...]
    distractors: tuple[str, ...]
    recipe: str
    places: Mapping[str, Place]
    simulator: str
    content: str

    def widened(self, spread: float) -> Protocol:
        """The same with things laid up to `spread` m, >= 0, from their places; as it is for 0."""
        if spread == 0:
            return self
        if not 0 < spread <= WIDEST_M:
            raise ConfigError(f"spread_m must be from 0 to {WIDEST_M:g}, got {spread}")
        return replace(self, places={name: replace(place, spread=spread) for name, place in self.places.items()})

    def worded(self, wording: str) -> Protocol:
        """The same asked for in other words, such as `Lay the {fruit} on the {plate}`; as it is for ""."""
        if not wording:
            return self
        said = {n: replace(s, instruction=s.said(wording)) for n, s in self.settings.items()}
        return replace(self, settings=said)

    @property
    def trials(self) -> int:
        """Of a full session of one policy."""
        return len(self.settings) * self.trials_per_setting


def protocols(folder: Path) -> list[str]:
    """Names of all protocols in a folder."""
    return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.glob("*/*.yaml"))


def load_protocol(name: str, folder: Path) -> Protocol:
    """Read and check a protocol; an unknown name lists the known ones."""
    if name not in protocols(folder):
        raise ConfigError(f"'{name}' is no protocol in {folder}; there are: {', '.join(protocols(folder)) or 'none'}")
    path = folder / f"{name}.yaml"
    where = str(path)
    keys = ("title", "embodiment", "time_limit_s", "trials_per_setting", "stages", "settings", "objects", "reset")
    d = mapping(load_yaml(path), where, keys, ("distractors", "wordings", "simulator"))
    stages = {k: text(v, f"{where}: stages.{k}") for k, v in mapping(d["stages"], f"{where}: stages").items()}
    settings = {
        n: _setting(n, s, f"{where}: settings.{n}") for n, s in mapping(d["settings"], f"{where}: settings").items()
    }
    objects = names(d["objects"], f"{where}: objects")
    wordings = names(d["wordings"], f"{where}: wordings") if "wordings" in d else ()
    for setting in settings.values():
        unknown = sorted(set(setting.roles.values()) - set(objects))
        if unknown and NAMED not in objects:
            raise ConfigError(f"{where}: settings.{setting.name} names {unknown}; objects are {list(objects)}")
        for wording in wordings:
            setting.said(wording)
    reset = mapping(d["reset"], f"{where}: reset", ("recipe", "places"))
    places = mapping(reset["places"], f"{where}: reset.places")
    return Protocol(
        name=name,
        title=text(d["title"], f"{where}: title"),
        embodiment=text(d["embodiment"], f"{where}: embodiment"),
        time_limit=positive(d["time_limit_s"], f"{where}: time_limit_s"),
        trials_per_setting=count(d["trials_per_setting"], f"{where}: trials_per_setting", least=1),
        stages=stages,
        settings=settings,
        wordings=wordings,
        objects=objects,
        distractors=names(d["distractors"], f"{where}: distractors") if "distractors" in d else (),
        recipe=text(reset["recipe"], f"{where}: reset.recipe"),
        places={n: _place(p, f"{where}: reset.places.{n}") for n, p in places.items()},
        simulator=text(d["simulator"], f"{where}: simulator") if "simulator" in d else "",
        content=hashlib.sha256(json.dumps(d, sort_keys=True).encode()).hexdigest()[:12],
    )


def _setting(name: str, data: Any, where: str) -> Setting:
    d = {key: text(value, f"{where}.{key}") for key, value in mapping(data, where).items()}
    if "instruction" not in d or len(d) < 2:
        raise ConfigError(f"{where}: expected an instruction and at least one role, got {sorted(d)}")
    return Setting(name, d.pop("instruction"), d)


def _place(data: Any, where: str) -> Place:
    d = mapping(data, where, ("x_m", "y_m", "spread_m"))
    if not isinstance(d["y_m"], list):
        raise ConfigError(f"{where}.y_m: expected a list of numbers, got {d['y_m']!r}")
    y = numbers(d["y_m"], (len(d["y_m"]),), f"{where}.y_m")
    spread = number(d["spread_m"], f"{where}.spread_m")
    if spread < 0 or len(y) == 0:
        raise ConfigError(f"{where}: expected spread_m >= 0 and at least one y_m, got {data!r}")
    return Place(number(d["x_m"], f"{where}.x_m"), y, spread)


def only_thing(protocol: Protocol, setting: Setting, stages: Sequence[str], known: Collection[str]) -> str:
    """What a setting of one thing is about, for a judge of these stages and things.

    Raises:
        ConfigError: the protocol is of something else.
    """
    roles = list(setting.roles.values())
    if list(protocol.stages) != list(stages) or len(roles) != 1 or roles[0] not in known:
        raise ConfigError(
            f"{protocol.name}: expected the stages {list(stages)} of one of {', '.join(known)}, got "
            f"{list(protocol.stages)} of {roles}"
        )
    return roles[0]
