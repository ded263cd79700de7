"""What an experiment varies, and what it holds still; read from `experiments/*.yaml`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.fingerprint import fingerprint
from ..core.reading import count, load_yaml, mapping, names, number, overlaid, positive, text
from ..resources import config
from ..trials.protocol import Protocol, load_protocol

SWEPT = "swept"  # in place of a number of episodes: that of the sweep


@dataclass(frozen=True)
class Demonstrations:
    """A data set, shown by the simulation's scripted expert; see `himoe sim record --help`.

    Attributes:
        pixels: width and height of the cameras' images.
        held_out: share of the episodes that nothing is trained on; the last ones of the data set.
    """

    protocol: str
    episodes: int
    seed: int
    switch: float
    push: float
    pixels: int
    held_out: float

    @cached_property
    def loaded(self) -> Protocol:
        """The protocol, read once."""
        return load_protocol(self.protocol, config("trials"))

    @property
    def name(self) -> str:
        """Of its folder: other demonstrations, and those of another protocol of this name, have another one."""
        return f"{self.protocol.rpartition('/')[2]}_{fingerprint([self, self.loaded.content])[:8]}"


@dataclass(frozen=True)
class Member:
    """Demonstrations of a mixture, in one action space.

    Attributes:
        data: name of the demonstrations.
        first, last: episodes; the last, which is not among them, may be None, which stands for the sweep's.
        weight: as in a mixture of config/training.
    """

    data: str
    action_space: str
    first: int
    last: int | None
    weight: float

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.data} {self.action_space}"


@dataclass(frozen=True)
class Trials:
    """How every policy is tried, in simulated time.

    Attributes:
        data: name of the demonstrations whose protocol is run.
        action_space: that is commanded.
        each: trials of every setting.
        seed: of the first scene.
        time_limit: s, after which a trial has failed; None: the protocol's.
    """

    data: str
    action_space: str
    each: int
    seed: int
    time_limit: float | None


@dataclass(frozen=True)
class Cell:
    """One policy of an experiment: what is trained once."""

    variant: str
    mixture: str
    demonstrations: int
    seed: int

    @property
    def arm(self) -> str:
        """What is compared."""
        return f"{self.variant}/{self.mixture}"

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.variant}/{self.mixture}, {self.demonstrations} demonstrations, seed {self.seed}"


@dataclass(frozen=True)
class Experiment:
    """See experiments/action_spaces.yaml for the keys.

    Attributes:
        claim: what the paper says, in words.
        size: over `himoe_small`, which every variant begins from.
        training: as in config/training, without model, mixture and seed.
        variants: name -> a preset of config/models, or what a file there would say, with one of these as its base.
        mixtures: name -> members.
        sweep: numbers of demonstrations.
        arms: `variant/mixture`, those that are run.
        compare: (a, b): is a better than b; (a, b, c, d): is a better than b by more than c than d.
    """

    name: str
    title: str
    claim: str
    data: Mapping[str, Demonstrations]
    size: Mapping[str, Any]
    training: Mapping[str, Any]
    variants: Mapping[str, str | Mapping[str, Any]]
    mixtures: Mapping[str, tuple[Member, ...]]
    sweep: tuple[int, ...]
    seeds: tuple[int, ...]
    trials: Trials
    arms: tuple[str, ...]
    compare: tuple[tuple[str, ...], ...]

    @property
    def tried(self) -> tuple[str, str]:
        """The robot and action space of the trials."""
        return self.data[self.trials.data].loaded.embodiment, self.trials.action_space

    def members(self, arm: str) -> tuple[Member, ...]:
        """Of an arm's mixture."""
        return self.mixtures[arm.split("/")[1]]

    def preset(self, variant: str) -> str:
        """Its name."""
        told = self.variants[variant]
        return told if isinstance(told, str) else variant

    def cells(self) -> list[Cell]:
        """Everything to train, seed by seed, so that what is there early is whole."""
        made = itertools.product(self.seeds, self.sweep, (arm.split("/") for arm in self.arms))
        return [Cell(variant, mixture, n, seed) for seed, n, (variant, mixture) in made]


def load_experiment(path: Path, quick: bool) -> Experiment:
    """Read and check an experiment, over the file of this folder that it names as its `base`.

    Args:
        quick: with what its key `quick` says laid over it: the machinery in minutes, which tells nothing.
    """
    where = str(path)
    required = ("title", "claim", "data", "size", "training", "variants", "mixtures", "sweep", "seeds", "trials")
    own = mapping(load_yaml(path), where)
    d = overlaid(load_yaml(path.parent / own.pop("base")), own) if "base" in own else own
    d = mapping(d, where, (*required, "compare", "quick"), ("arms",))
    over = d.pop("quick")
    if quick:
        d = overlaid(d, mapping(over, f"{where}: quick"))
    data = {n: _demonstrations(v, f"{where}: data.{n}") for n, v in mapping(d["data"], f"{where}: data").items()}
    mixtures = {
        n: tuple(_member(m, data, f"{where}: mixtures.{n}[{i}]") for i, m in enumerate(_list(v, f"{where}: mixtures")))
        for n, v in mapping(d["mixtures"], f"{where}: mixtures").items()
    }
    variants = mapping(d["variants"], f"{where}: variants")
    known = [f"{v}/{m}" for v in variants for m in mixtures]
    arms = names(d["arms"], f"{where}: arms") if "arms" in d else tuple(known)
    compare = tuple(names(pair, f"{where}: compare") for pair in _list(d["compare"], f"{where}: compare"))
    for arm in (*arms, *itertools.chain(*compare)):
        if arm not in known or arm not in arms:
            raise ConfigError(f"{where}: '{arm}' is no variant/mixture that is run; there are {', '.join(arms)}")
    if bad := [one for one in compare if len(one) not in (2, 4)]:
        raise ConfigError(f"{where}: compare: expected two arms, or four, got {bad}")
    experiment = Experiment(
        name=path.stem,
        title=text(d["title"], f"{where}: title"),
        claim=text(d["claim"], f"{where}: claim"),
        data=data,
        size=mapping(d["size"], f"{where}: size"),
        training=mapping(d["training"], f"{where}: training"),
        variants=variants,
        mixtures=mixtures,
        sweep=_numbers(d["sweep"], f"{where}: sweep", least=1),
        seeds=_numbers(d["seeds"], f"{where}: seeds", least=0),
        trials=_trials(d["trials"], data, f"{where}: trials"),
        arms=arms,
        compare=compare,
    )
    _require_enough(experiment, where)
    return experiment


def _require_enough(experiment: Experiment, where: str) -> None:
    """Every member finds its episodes, and every mixture is tried in an action space that it has."""
    tried = experiment.trials.data, experiment.trials.action_space
    for name, members in experiment.mixtures.items():
        if tried not in [(m.data, m.action_space) for m in members]:
            raise ConfigError(f"{where}: mixtures.{name} has no {tried[0]} in {tried[1]}, in which it is tried")
        robot = experiment.tried
        alike = [m.data for m in members if (experiment.data[m.data].loaded.embodiment, m.action_space) == robot]
        if len(alike) > 1:  # they share statistics: losses of two mixtures would have two units
            raise ConfigError(
                f"{where}: mixtures.{name} is tried in {' '.join(robot)}: expected one member of that, got {alike}"
            )
        for member in members:
            there = experiment.data[member.data].episodes
            last = max(experiment.sweep) if member.last is None else member.last
            if not member.first < last <= there:
                raise ConfigError(
                    f"{where}: mixtures.{name}: expected episodes from {member.first} to {last} of {member.data}, "
                    f"which has {there}"
                )


def _numbers(data: Any, where: str, least: int) -> tuple[int, ...]:
    told = tuple(count(n, where, least=least) for n in _list(data, where))
    if len(set(told)) != len(told):
        raise ConfigError(f"{where}: expected different numbers, got {data}")
    return told


def _list(data: Any, where: str) -> list[Any]:
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{where}: expected a list, got {data!r}")
    return data


def _demonstrations(data: Any, where: str) -> Demonstrations:
    d = mapping(data, where, ("protocol", "episodes", "pixels", "held_out"), ("seed", "switch", "push"))
    return Demonstrations(
        text(d["protocol"], f"{where}.protocol"),
        count(d["episodes"], f"{where}.episodes", least=1),
        count(d.get("seed", 0), f"{where}.seed", least=0),
        number(d.get("switch", 0.0), f"{where}.switch"),
        number(d.get("push", 0.0), f"{where}.push"),
        count(d["pixels"], f"{where}.pixels", least=16),
        positive(d["held_out"], f"{where}.held_out"),
    )


def _member(data: Any, demonstrations: Mapping[str, Demonstrations], where: str) -> Member:
    d = mapping(data, where, ("data", "action_space", "episodes"), ("weight",))
    first, last = d["episodes"] if isinstance(d["episodes"], list) and len(d["episodes"]) == 2 else (None, None)
    return Member(
        _known(d["data"], demonstrations, f"{where}.data"),
        text(d["action_space"], f"{where}.action_space"),
        count(first, f"{where}.episodes", least=0),
        None if last == SWEPT else count(last, f"{where}.episodes", least=1),
        positive(d.get("weight", 1.0), f"{where}.weight"),
    )


def _trials(data: Any, demonstrations: Mapping[str, Demonstrations], where: str) -> Trials:
    d = mapping(data, where, ("data", "action_space", "each", "seed"), ("time_limit_s",))
    return Trials(
        _known(d["data"], demonstrations, f"{where}.data"),
        text(d["action_space"], f"{where}.action_space"),
        count(d["each"], f"{where}.each", least=1),
        count(d["seed"], f"{where}.seed", least=0),
        positive(d["time_limit_s"], f"{where}.time_limit_s") if "time_limit_s" in d else None,
    )


def _known(name: Any, demonstrations: Mapping[str, Demonstrations], where: str) -> str:
    if name not in demonstrations:
        raise ConfigError(f"{where}: expected one of {', '.join(demonstrations)}, got {name!r}")
    return str(name)
