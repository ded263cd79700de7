"""What a HiMoE-VLA, or a variant of it, is made of: read from `config/models/*.yaml`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

from ..core.embodiment import SLOTS
from ..core.errors import ConfigError
from ..core.reading import load_yaml, mapping, overlaid


class LayerKind(Enum):
    """What stands in the feed-forward place of an action-expert layer (paper, Figure 2; ADA: AdaMoE)."""

    AS = "as"  # action-space mixture of experts
    HB = "hb"  # heterogeneity-balancing mixture of experts
    ADA = "ada"  # AdaMoE: selection by a router, weight by router and scale adapter
    DENSE = "dense"


@dataclass(frozen=True)
class VisionConfig:
    """SigLIP. `patch` is in px."""

    width: int
    mlp: int
    layers: int
    heads: int
    patch: int


@dataclass(frozen=True)
class LanguageConfig:
    """Gemma. The action expert has the same number of layers, KV heads, and head size."""

    vocab: int
    width: int
    mlp: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int


@dataclass(frozen=True)
class MoEConfig:
    """Routed experts of width `mlp`, `top_k` active a token, and `shared` ungated ones."""

    experts: int
    top_k: int
    mlp: int
    shared: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.top_k <= self.experts:
            raise ConfigError(f"top_k must be in 1..{self.experts} experts, got {self.top_k}")


@dataclass(frozen=True)
class AdaConfig(MoEConfig):
    """AdaMoE (arXiv 2510.14300): weight of a chosen expert = f(router, adapter).

    `weight` is "additive" (softmax(router) + a linear adapter, decoupled), "csmoe" (softmax of a linear map of the
    token and the router's softmax), or "router" (softmax(router) alone: the two are not decoupled).
    """

    weight: str = "additive"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.weight not in ("additive", "csmoe", "router"):
            raise ConfigError(f"weight must be additive, csmoe or router, got {self.weight!r}")


@dataclass(frozen=True)
class ExpertConfig:
    """The action expert.

    Attributes:
        mlp: width of dense layers.
        boundary: kinds of the layers from each end inward; the paper's is as, as, hb, hb, hb, hb.
        middle: kind of all layers between.
        conditioning: how action spaces are told apart beside the data mask: "mask" (nothing more),
            "separate_heads" (own projections for each, Table 6b) or "indicator" (a learned token added, GR00T-like).
        spaces: number of action spaces that separate heads or the indicator know.
    """

    width: int
    mlp: int
    heads: int
    boundary: tuple[LayerKind, ...]
    middle: LayerKind
    as_moe: MoEConfig | None = None
    hb_moe: MoEConfig | None = None
    ada_moe: AdaConfig | None = None
    conditioning: str = "mask"
    spaces: int = 1

    def __post_init__(self) -> None:
        if self.conditioning not in ("mask", "separate_heads", "indicator"):
            raise ConfigError(f"conditioning must be mask, separate_heads or indicator, got {self.conditioning!r}")
        for kind in {*self.boundary, self.middle} - {LayerKind.DENSE}:
            if self.moe(kind) is None:
                raise ConfigError(f"layers of kind '{kind.value}' need '{kind.value}_moe'")

    def moe(self, kind: LayerKind) -> MoEConfig | None:
        """The experts of a kind of layer."""
        return {LayerKind.AS: self.as_moe, LayerKind.HB: self.hb_moe, LayerKind.ADA: self.ada_moe}.get(kind)


@dataclass(frozen=True)
class RegularisationConfig:
    """Weights of the router losses in the total loss, which kinds of layers they act on, and whose definition.

    Attributes:
        definition: "released" (what the published checkpoints were trained with) or "paper" (Eq. 4-7).
        as_weight, hb_weight: lambda_AS and lambda_HB; the balance loss of AdaMoE counts as HB.
        as_on, hb_on: kinds of layers.
    """

    definition: str = "released"
    as_weight: float = 0.002
    hb_weight: float = 0.001
    as_on: tuple[LayerKind, ...] = (LayerKind.AS,)
    hb_on: tuple[LayerKind, ...] = (LayerKind.HB,)

    def __post_init__(self) -> None:
        if self.definition not in ("released", "paper"):
            raise ConfigError(f"definition must be released or paper, got {self.definition!r}")


@dataclass(frozen=True)
class HiMoEConfig:
    """A whole model.

    Attributes:
        image_size: px.
        chunk_steps: actions a chunk.
        flow_steps: Euler steps.
        temperature: scale of the noise that a plan begins as, 0 to 1: 1 as in training and as the paper samples; 0 for
            one plan, the same for the same observation.
        committed_steps: first actions of a chunk that the model has learned to be told, at most (training-time
            real-time chunking, arXiv 2512.05964).
    """

    name: str
    image_size: int
    max_text_tokens: int
    chunk_steps: int
    flow_steps: int
    vision: VisionConfig
    language: LanguageConfig
    expert: ExpertConfig
    regularisation: RegularisationConfig = RegularisationConfig()
    action_dim: int = SLOTS
    committed_steps: int = 0
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 1.0:
            raise ConfigError(f"{self.name}: temperature must be >= 0 and <= 1, got {self.temperature}")
        if not 0 <= self.committed_steps < self.chunk_steps:
            raise ConfigError(
                f"{self.name}: committed_steps must be >= 0 and < chunk_steps {self.chunk_steps}, "
                f"got {self.committed_steps}"
            )
        if self.image_size % self.vision.patch:
            raise ConfigError(f"{self.name}: image_size {self.image_size} must be a multiple of {self.vision.patch}")

    def layer_kind(self, i: int) -> LayerKind:
        """Kind of expert layer i."""
        from_end = min(i, self.language.layers - 1 - i)
        boundary = self.expert.boundary
        return boundary[from_end] if from_end < len(boundary) else self.expert.middle


def load_model_config(name: str, folder: Path) -> HiMoEConfig:
    """Read `<folder>/<name>.yaml`; an unknown name lists the known ones."""
    return parse_model_config({"name": name, **load_preset(name, folder)}, f"{folder / name}.yaml")


def parse_model_config(data: Mapping[str, Any], where: str) -> HiMoEConfig:
    """Build a HiMoEConfig; a missing or unknown key is named with its place."""
    d = mapping(data, where)
    expert = mapping(d.get("expert"), f"{where}: expert")
    for key, cls in (("as_moe", MoEConfig), ("hb_moe", MoEConfig), ("ada_moe", AdaConfig)):
        if key in expert:
            expert[key] = _build(cls, expert[key], f"{where}: expert.{key}")
    expert["boundary"] = _kinds(expert.get("boundary"), f"{where}: expert.boundary")
    (expert["middle"],) = _kinds([expert.get("middle")], f"{where}: expert.middle")
    regularisation = dict(d.get("regularisation", {}))
    for key in {"as_on", "hb_on"} & set(regularisation):
        regularisation[key] = _kinds(regularisation[key], f"{where}: regularisation.{key}")
    parts = {
        "vision": _build(VisionConfig, d.get("vision"), f"{where}: vision"),
        "language": _build(LanguageConfig, d.get("language"), f"{where}: language"),
        "expert": _build(ExpertConfig, expert, f"{where}: expert"),
        "regularisation": _build(RegularisationConfig, regularisation, f"{where}: regularisation"),
    }
    return _build(HiMoEConfig, {**d, **parts}, where)


def preset_tokenizer(name: str, folder: Path) -> Path:
    """The tokenizer's file of a preset, `<folder>/<name>.tokenizer.json` or that of its base.

    Raises:
        ConfigError: it has none.
    """
    preset: str | None = name
    while preset:
        path = folder / f"{preset}.tokenizer.json"
        if path.is_file():
            return path
        preset = mapping(load_yaml(folder / f"{preset}.yaml"), str(folder / preset)).get("base")
    raise ConfigError(f"preset '{name}' has no tokenizer of its own in {folder}; give a policy folder")


def load_preset(name: str, folder: Path) -> dict[str, Any]:
    """What a preset says: its file on top of the one it names as its `base`; a key set to null there is taken away."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise ConfigError(f"'{name}' is no model in {folder}; there are: {', '.join(known)}")
    own = mapping(load_yaml(path), str(path))
    base = own.pop("base", None)
    return own if base is None else overlaid(load_preset(base, folder), own)


def _kinds(data: Any, where: str) -> tuple[LayerKind, ...]:
    known = {kind.value: kind for kind in LayerKind}
    if not isinstance(data, list) or not set(data) <= set(known):
        raise ConfigError(f"{where}: expected kinds of layers among {sorted(known)}, got {data!r}")
    return tuple(known[value] for value in data)


def _build(cls: type, data: Any, where: str) -> Any:
    known = {f.name for f in fields(cls)}
    data = dict(data) if isinstance(data, Mapping) else {}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown keys {unknown}; known are {sorted(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}") from error
