"""How a policy is trained; read from `config/training/*.yaml`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.errors import ConfigError
from ..core.reading import count, load_yaml, mapping, names, number, numbers, positive, text

PARTS = ("vision", "language", "expert", "projections")
SAMPLERS, PRECISIONS = ("beta", "released"), ("float32", "bfloat16")


@dataclass(frozen=True)
class Member:
    """A dataset of the mixture.

    Attributes:
        dataset: folder, of `himoe export` or of LeRobot.
        embodiment, action_space: in which it is learned.
        weight: share of the samples that come from it, as a ratio to the other weights.
        layout: file of config/datasets that describes it; "" for one of `himoe export`.
        episodes: the first to train on, and the first after these; None for all that are to be trained on.
    """

    dataset: Path
    embodiment: str
    action_space: str
    weight: float
    layout: str
    episodes: tuple[int, int] | None


@dataclass(frozen=True)
class Augmentation:
    """What is changed at random in each sample.

    Attributes:
        colour: largest change of brightness, contrast and saturation, as a share.
        crop: share of the side of a picture that is cut away at random; of views that are not on a wrist.
        rotate: rad, largest turn of a picture; of views that are not on a wrist.
        state_noise: standard deviation, in those of the state.
        drop_state, drop_view: share of samples without the state's values, or without one of several views.
    """

    colour: float = 0.0
    crop: float = 0.0
    rotate: float = 0.0
    state_noise: float = 0.0
    drop_state: float = 0.0
    drop_view: float = 0.0


@dataclass(frozen=True)
class GroundingTerms:
    """See training/grounding.py.

    Attributes:
        weight: of the loss.
        counterfactual: share of samples with another sentence of the protocol, which nobody acted on.
        protocols: whose sentences the datasets hold; they tell which thing is meant.
    """

    weight: float
    counterfactual: float
    protocols: tuple[str, ...]


@dataclass(frozen=True)
class Rehearsals:
    """Trials in simulation on the way; see training/rehearsal.py.

    Attributes:
        every: steps.
        protocols: such as xarm7/fruit_to_plate.
        trials: of each setting.
    """

    every: int
    protocols: tuple[str, ...]
    trials: int


@dataclass(frozen=True)
class Tuning:
    """See training/tuning.py for the parts and what is done with them.

    Attributes:
        freeze: parts that stay as they are.
        reinitialise: whether experts and routers begin anew.
        lora_parts: parts whose weights get updates of low rank, and stay as they are otherwise.
        lora_rank, lora_alpha: of these updates.
        upcycle: policy folder of a dense model that an AdaMoE begins as; "" for none.
        upcycle_noise: see model/moe.py.
    """

    freeze: tuple[str, ...] = ()
    reinitialise: bool = False
    lora_parts: tuple[str, ...] = ()
    lora_rank: int = 1
    lora_alpha: float = 1.0
    upcycle: str = ""
    upcycle_noise: float = 0.0


@dataclass(frozen=True)
class TrainingConfig:
    """See config/training/xarm7_small.yaml and docs/training.md for the keys."""

    model: str
    tuning: Tuning
    members: tuple[Member, ...]
    steps: int
    batch: int
    accumulate: int
    flow_samples: int
    time_sampler: str
    learning_rate: float
    floor: float
    warm_up: int
    weight_decay: float
    betas: tuple[float, float]
    clip: float
    ema: float
    precision: str
    compile: bool
    checkpointing: bool
    sharded: bool
    std_floor: tuple[float, float]
    augmentation: Augmentation
    grounding: GroundingTerms | None
    rehearsals: Rehearsals | None
    seed: int
    save_every: int
    check_every: int
    workers: int
    cache: bool


def load_training(path: Path) -> TrainingConfig:
    """Read and check a training configuration.

    Raises:
        ConfigError: a key is missing, unknown or of a wrong value; the message names it.
    """
    where = str(path)
    required = ("model", "mixture", "steps", "batch", "learning_rate")
    optional = (
        *("accumulate", "flow_samples", "time_sampler", "floor", "warm_up", "weight_decay", "betas", "clip", "ema"),
        *("tuning", "precision", "compile", "checkpointing", "sharded", "std_floor", "augmentation", "grounding"),
        *("rehearsals", "seed", "save_every", "check_every", "workers", "cache"),
    )
    d = mapping(load_yaml(path), where, required, optional)
    if not isinstance(d["mixture"], list) or not d["mixture"]:
        raise ConfigError(f"{where}: mixture: expected a list of datasets, got {d['mixture']!r}")
    config = TrainingConfig(
        model=text(d["model"], f"{where}: model"),
        tuning=_tuning(d.get("tuning"), f"{where}: tuning"),
        members=tuple(_member(m, f"{where}: mixture[{i}]") for i, m in enumerate(d["mixture"])),
        steps=count(d["steps"], f"{where}: steps", least=1),
        batch=count(d["batch"], f"{where}: batch", least=1),
        accumulate=count(d.get("accumulate", 1), f"{where}: accumulate", least=1),
        flow_samples=count(d.get("flow_samples", 1), f"{where}: flow_samples", least=1),
        time_sampler=_choice(d.get("time_sampler", "beta"), SAMPLERS, f"{where}: time_sampler"),
        learning_rate=positive(d["learning_rate"], f"{where}: learning_rate"),
        floor=_share(d.get("floor", 0.1), f"{where}: floor"),
        warm_up=count(d.get("warm_up", 0), f"{where}: warm_up", least=0),
        weight_decay=number(d.get("weight_decay", 0.0), f"{where}: weight_decay"),
        betas=tuple(numbers(d.get("betas", [0.9, 0.95]), (2,), f"{where}: betas").tolist()),
        clip=positive(d.get("clip", 1.0), f"{where}: clip"),
        ema=_share(d.get("ema", 0.0), f"{where}: ema"),
        precision=_choice(d.get("precision", "bfloat16"), PRECISIONS, f"{where}: precision"),
        compile=_flag(d.get("compile", False), f"{where}: compile"),
        checkpointing=_flag(d.get("checkpointing", False), f"{where}: checkpointing"),
        sharded=_flag(d.get("sharded", False), f"{where}: sharded"),
        std_floor=tuple(numbers(d.get("std_floor", [0.0, 0.0]), (2,), f"{where}: std_floor").tolist()),
        augmentation=_augmentation(d.get("augmentation"), f"{where}: augmentation"),
        grounding=_grounding(d.get("grounding"), f"{where}: grounding"),
        rehearsals=_rehearsals(d.get("rehearsals"), f"{where}: rehearsals"),
        seed=count(d.get("seed", 0), f"{where}: seed", least=0),
        save_every=count(d.get("save_every", 500), f"{where}: save_every", least=1),
        check_every=count(d.get("check_every", 500), f"{where}: check_every", least=1),
        workers=count(d.get("workers", 0), f"{where}: workers", least=0),
        cache=_flag(d.get("cache", False), f"{where}: cache"),
    )
    if config.batch % config.accumulate:
        raise ConfigError(f"{where}: batch {config.batch} must be a multiple of accumulate {config.accumulate}")
    return config


def _member(data: Any, where: str) -> Member:
    d = mapping(data, where, ("dataset", "embodiment", "action_space"), ("weight", "layout", "episodes"))
    return Member(
        Path(text(d["dataset"], f"{where}.dataset")),
        text(d["embodiment"], f"{where}.embodiment"),
        text(d["action_space"], f"{where}.action_space"),
        positive(d.get("weight", 1.0), f"{where}.weight"),
        d.get("layout", ""),
        _episodes(d["episodes"], f"{where}.episodes") if "episodes" in d else None,
    )


def _episodes(data: Any, where: str) -> tuple[int, int]:
    if not isinstance(data, list) or len(data) != 2:
        raise ConfigError(f"{where}: expected two episodes, the first and the one after the last, got {data!r}")
    first = count(data[0], where, least=0)
    return first, count(data[1], where, least=first + 1)


def _tuning(data: Any, where: str) -> Tuning:
    if data is None:
        return Tuning()
    d = mapping(data, where, (), ("freeze", "reinitialise", "lora", "upcycle"))
    told: dict[str, Any] = {
        "freeze": _parts(d.get("freeze", []), f"{where}.freeze"),
        "reinitialise": _flag(d.get("reinitialise", False), f"{where}.reinitialise"),
    }
    if "lora" in d:
        lora = mapping(d["lora"], f"{where}.lora", ("parts", "rank"), ("alpha",))
        told["lora_parts"] = _parts(lora["parts"], f"{where}.lora.parts")
        told["lora_rank"] = count(lora["rank"], f"{where}.lora.rank", least=1)
        told["lora_alpha"] = positive(lora.get("alpha", lora["rank"]), f"{where}.lora.alpha")
    if "upcycle" in d:
        upcycle = mapping(d["upcycle"], f"{where}.upcycle", ("policy",), ("noise",))
        told["upcycle"] = text(upcycle["policy"], f"{where}.upcycle.policy")
        told["upcycle_noise"] = _share(upcycle.get("noise", 0.0), f"{where}.upcycle.noise")
    tuning = Tuning(**told)
    both = sorted(set(tuning.freeze) & set(tuning.lora_parts))
    if both:
        raise ConfigError(f"{where}: {both} are both frozen and updated by lora; name each part once")
    if set(tuning.freeze) == set(PARTS):
        raise ConfigError(f"{where}.freeze: every part is frozen; leave out what is to be trained")
    return tuning


def _parts(data: Any, where: str) -> tuple[str, ...]:
    for part in names(data, where):
        _choice(part, PARTS, where)
    return tuple(data)


def _flag(data: Any, where: str) -> bool:
    if not isinstance(data, bool):
        raise ConfigError(f"{where}: expected true or false, got {data!r}")
    return data


def _augmentation(data: Any, where: str) -> Augmentation:
    if data is None:
        return Augmentation()
    keys = ("colour", "crop", "rotate", "state_noise", "drop_state", "drop_view")
    told = Augmentation(**{k: _share(v, f"{where}.{k}") for k, v in mapping(data, where, (), keys).items()})
    if told.crop == 1.0:
        raise ConfigError(f"{where}.crop: expected less than 1, or nothing of a picture is left")
    return told


def _grounding(data: Any, where: str) -> GroundingTerms | None:
    if data is None:
        return None
    d = mapping(data, where, ("weight", "counterfactual", "protocols"))
    return GroundingTerms(
        positive(d["weight"], f"{where}.weight"),
        _share(d["counterfactual"], f"{where}.counterfactual"),
        _protocols(d["protocols"], f"{where}.protocols"),
    )


def _rehearsals(data: Any, where: str) -> Rehearsals | None:
    if data is None:
        return None
    d = mapping(data, where, ("every", "protocols"), ("trials",))
    return Rehearsals(
        count(d["every"], f"{where}.every", least=1),
        _protocols(d["protocols"], f"{where}.protocols"),
        count(d.get("trials", 1), f"{where}.trials", least=1),
    )


def _protocols(data: Any, where: str) -> tuple[str, ...]:
    if not isinstance(data, list) or not data:
        raise ConfigError(f"{where}: expected names of protocols, got {data!r}")
    return tuple(text(name, where) for name in data)


def _choice(data: Any, choices: tuple[str, ...], where: str) -> str:
    if data not in choices:
        raise ConfigError(f"{where}: expected one of {', '.join(choices)}, got {data!r}")
    return str(data)


def _share(data: Any, where: str) -> float:
    value = number(data, where)
    if not 0.0 <= value <= 1.0:
        raise ConfigError(f"{where}: expected a number from 0 to 1, got {data!r}")
    return value
