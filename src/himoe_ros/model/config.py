"""Sizes of a HiMoE-VLA, read from `config/models/*.yaml`."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from pathlib import Path
from typing import Any

import yaml

from ..core.embodiment import SLOTS
from ..core.errors import ConfigError


class LayerKind(Enum):
    """What stands in the feed-forward place of an action-expert layer (paper, Figure 2)."""

    AS = "action-space mixture of experts"
    HB = "heterogeneity-balancing mixture of experts"
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


@dataclass(frozen=True)
class ExpertConfig:
    """The action expert. The two boundaries count layers from each end, AS outermost."""

    width: int
    mlp: int
    heads: int
    as_boundary: int
    hb_boundary: int
    as_moe: MoEConfig
    hb_moe: MoEConfig


@dataclass(frozen=True)
class HiMoEConfig:
    """A whole model. `image_size` in px; `chunk_steps` actions a chunk; `flow_steps` Euler steps."""

    name: str
    image_size: int
    max_text_tokens: int
    chunk_steps: int
    flow_steps: int
    vision: VisionConfig
    language: LanguageConfig
    expert: ExpertConfig
    action_dim: int = SLOTS

    def __post_init__(self) -> None:
        for moe in (self.expert.as_moe, self.expert.hb_moe):
            if not 1 <= moe.top_k <= moe.experts:
                raise ConfigError(f"{self.name}: top_k must be in 1..{moe.experts} experts, got {moe.top_k}")
        if self.image_size % self.vision.patch:
            raise ConfigError(f"{self.name}: image_size {self.image_size} must be a multiple of {self.vision.patch}")

    def layer_kind(self, i: int) -> LayerKind:
        """Kind of expert layer i: AS at the ends, HB beside it, dense in the middle."""
        from_end = min(i, self.language.layers - 1 - i)
        if from_end < self.expert.as_boundary:
            return LayerKind.AS
        if from_end < self.expert.as_boundary + self.expert.hb_boundary:
            return LayerKind.HB
        return LayerKind.DENSE


def load_model_config(name: str, folder: Path) -> HiMoEConfig:
    """Read `<folder>/<name>.yaml`; an unknown name lists the known ones."""
    path = folder / f"{name}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise ConfigError(f"'{name}' is no model in {folder}; there are: {', '.join(known)}")
    return parse_model_config(yaml.safe_load(path.read_text()), str(path))


def parse_model_config(data: dict[str, Any], where: str) -> HiMoEConfig:
    """Build a HiMoEConfig; a missing or unknown key is named with its place."""
    expert = dict(data.get("expert", {}))
    for key in ("as_moe", "hb_moe"):
        expert[key] = _build(MoEConfig, expert.get(key, {}), f"{where}: expert.{key}")
    parts = {
        "vision": _build(VisionConfig, data.get("vision", {}), f"{where}: vision"),
        "language": _build(LanguageConfig, data.get("language", {}), f"{where}: language"),
        "expert": _build(ExpertConfig, expert, f"{where}: expert"),
    }
    return _build(HiMoEConfig, {**data, **parts}, where)


def _build(cls: type, data: dict[str, Any], where: str) -> Any:
    known = {f.name for f in fields(cls)}
    unknown = sorted(set(data) - known)
    if unknown:
        raise ConfigError(f"{where}: unknown keys {unknown}; known are {sorted(known)}")
    try:
        return cls(**data)
    except TypeError as error:
        raise ConfigError(f"{where}: {error}") from error
