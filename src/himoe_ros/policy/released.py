"""A released checkpoint (pickle, statistics, tokenizer) -> a policy folder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ..core.embodiment import SLOTS, ActionSpace, Embodiment
from ..core.errors import ConfigError
from ..core.observation import Floats
from ..core.reading import load_json, mapping, numbers
from ..core.unified import scatter
from ..model.config import HiMoEConfig
from ..model.convert import PICKLE, convert_weights
from ..model.folder import CARD, STATISTICS, TOKENIZER, new_folder
from ..model.weights import SHARD_BYTES
from .statistics import Normalizer, Statistics
from .tokenizer import InstructionTokenizer

NO_TOKENIZER = (
    f"{TOKENIZER} is missing: it is that of PaliGemma, on Hugging Face google/paligemma-3b-pt-224 (its licence must "
    "be accepted there); put it into this folder."
)
NO_STATISTICS = (
    f"{STATISTICS} is missing: no embodiment and action space were named, so the weights can be trained on but drive "
    "no robot; convert again with both."
)


def convert_released(
    source: Path,
    out: Path,
    config: HiMoEConfig,
    target: tuple[Embodiment, ActionSpace] | None,
    shard_bytes: int = SHARD_BYTES,
) -> tuple[str, ...]:
    """Make a policy folder. It appears as `out` only when it is complete.

    Args:
        source: a folder with `pytorch_model.pth`, and `meta/stats.json` and `tokenizer.json` where it has them, or
            the path of its pickle.
        target: whose statistics `meta/stats.json` holds; None for a base model that drives no robot.

    Returns:
        What the folder still lacks, a sentence each.

    Raises:
        ConfigError: something is missing, broken, dangerous, or does not fit; `out` is then not there.
    """
    folder, pickled = (source, source / PICKLE) if source.is_dir() else (source.parent, source)
    lacks = []
    with new_folder(out) as partial:
        if target is None:
            lacks.append(NO_STATISTICS)
        else:
            released_statistics(folder / "meta" / "stats.json", *target).save(partial / STATISTICS)
        if (folder / TOKENIZER).is_file():
            InstructionTokenizer.load(folder / TOKENIZER, config.max_text_tokens)
            shutil.copyfile(folder / TOKENIZER, partial / TOKENIZER)
        else:
            lacks.append(NO_TOKENIZER)
        convert_weights(pickled, config, partial, shard_bytes)
        (partial / CARD).write_text(_card(out.name, pickled, config, target, lacks))
    return tuple(lacks)


def released_statistics(path: Path, embodiment: Embodiment, space: ActionSpace) -> Statistics:
    """Read the release's `meta/stats.json`.

    Its rows have at most 24 values. They are either in slot order from slot 0, with the zeros at the end left out,
    or have one value for each slot of the action space.

    Raises:
        ConfigError: the file or a key is missing, or the rows fit the action space in neither way.
    """
    if not path.is_file():
        raise ConfigError(
            f"{path} is missing; it holds the statistics of the data set that the policy was trained on: copy it there"
        )
    data = mapping(load_json(path), str(path))
    return Statistics(
        embodiment.name,
        space.name,
        _normalizer(data, ("observation.state", "state"), space, path),
        _normalizer(data, ("action", "actions"), space, path),
    )


def _normalizer(data: dict[str, Any], keys: tuple[str, str], space: ActionSpace, path: Path) -> Normalizer:
    key = next((k for k in keys if k in data), None)
    if key is None:
        raise ConfigError(f"{path}: expected '{keys[0]}' or '{keys[1]}', got {sorted(data)}")
    rows = mapping(data[key], f"{path}: {key}")
    row = {name: _row(rows.get(name), space, f"{path}: {key}.{name}") for name in ("mean", "std", "q01", "q99")}
    if not (np.all(row["std"] >= 0) and np.all(row["q01"] <= row["q99"])):
        raise ConfigError(f"{path}: {key}: expected std >= 0 and q01 <= q99 for every value")
    return Normalizer(**row)


def _row(data: Any, space: ActionSpace, where: str) -> Floats:
    length = len(data) if isinstance(data, list) else 0
    if not 1 <= length <= SLOTS:
        raise ConfigError(f"{where}: expected 1 to {SLOTS} numbers, got {data!r}")
    values = numbers(data, (length,), where)
    if length > space.slots.max():
        return np.pad(values, (0, SLOTS - length))
    if length == len(space.names):
        return scatter(space, values)
    raise ConfigError(
        f"{where}: expected {len(space.names)} numbers, one for each of {', '.join(space.names)}, or more than "
        f"{space.slots.max()}, in slot order, got {length}; name the action space that these statistics are of"
    )


def _card(
    name: str, pickled: Path, config: HiMoEConfig, target: tuple[Embodiment, ActionSpace] | None, lacks: list[str]
) -> str:
    robot = "none" if target is None else f"{target[0].name}, action space {target[1].name}"
    return "\n".join(
        [
            f"# {name}",
            "",
            f"HiMoE-VLA (arXiv 2512.05693), architecture `{config.name}`, converted by himoe_ros from "
            f"`{pickled.name}` ({pickled.stat().st_size} bytes). Values and dtypes are those of the release; the "
            "weights are its authors', under their licence.",
            "",
            f"- Robot: {robot}",
            f"- Chunk: {config.chunk_steps} actions, {config.flow_steps} flow steps",
            *(f"- {sentence}" for sentence in lacks),
            "",
        ]
    )
