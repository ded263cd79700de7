"""A policy folder: `config.json`, `model.safetensors`, `stats.json`, `tokenizer.json`, `card.md`.

Here are the folder itself and the two files that make the model; the others belong to `policy/`.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from enum import Enum
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from ..core.errors import ConfigError
from ..core.reading import load_json, mapping
from .config import HiMoEConfig, parse_model_config
from .himoe import HiMoEVLA
from .weights import SHARD_BYTES, Entry, require_fit, stored_weights, write_weights

CONFIG = "config.json"
STATISTICS = "stats.json"
TOKENIZER = "tokenizer.json"
CARD = "card.md"
ALL = (CONFIG, "model*.safetensors", "model.safetensors.index.json", STATISTICS, TOKENIZER, CARD)


def find_folder(name: str | Path, files: Collection[str] = ALL) -> Path:
    """A folder on this machine, or, for `org/name`, the copy of what Hugging Face has under that name.

    Args:
        files: names or patterns of those to download.

    Raises:
        ConfigError: there is neither, or no hub can be reached.
    """
    folder = Path(name)
    if folder.is_dir():
        return folder
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", str(name)):
        raise ConfigError(f"'{name}' is no folder; give a policy folder, or a Hugging Face name like org/name")
    from huggingface_hub import snapshot_download  # noqa: PLC0415 - folders on this machine do not need it

    try:
        return Path(snapshot_download(str(name), allow_patterns=list(files)))
    except Exception as error:  # or of the hub's HTTP library, which differs from version to version
        raise ConfigError(
            f"'{name}' is no folder here, and could not be downloaded from Hugging Face: {_first_line(error)}. "
            "Check the name and the network, or copy the policy folder to this machine and give its path"
        ) from error


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Fill a folder that appears under its name only when it is complete.

    Yields:
        `<out>.partial`, empty. It is renamed to `out` at the end, or deleted after an error.

    Raises:
        ConfigError: `out` exists, or cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise ConfigError(f"{out} exists; remove it or choose another name")
    partial = out.with_name(out.name + ".partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)  # of a run that was killed
        partial.mkdir(parents=True)
        yield partial
        partial.rename(out)
    except OSError as error:
        raise ConfigError(f"{out} could not be written: {error}") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def save_config(config: HiMoEConfig, folder: Path) -> None:
    """Write `config.json`: everything that `parse_model_config` reads."""
    (folder / CONFIG).write_text(json.dumps(_plain(config), indent=1))


def load_config(folder: Path) -> HiMoEConfig:
    """Read a folder's `config.json`."""
    path = folder / CONFIG
    if not path.is_file():
        raise ConfigError(
            f"{folder} is no policy folder, it lacks {CONFIG}; `himoe model convert` makes one of a released checkpoint"
        )
    return parse_model_config(mapping(load_json(path), str(path)), str(path))


def save_model(model: HiMoEVLA, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write configuration and weights, in the parameters' own dtypes, into a folder that has none yet."""
    if (folder / CONFIG).exists():
        raise ConfigError(f"{folder} already holds a model; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    entries = [Entry(name, tuple(p.shape), p.dtype, lambda p=p: (p,)) for name, p in model.named_parameters()]
    write_weights(folder, entries, shard_bytes)
    save_config(model.config, folder)


def load_model(folder: Path, dtype: torch.dtype | None = None) -> HiMoEVLA:
    """Build the model of a policy folder, on the CPU, in evaluation mode.

    The weights are copied, not left in the file: a robot must not wait for a disk in the middle of a
    motion, nor fall with a file that is replaced. Beside them, at most one tensor is in memory.

    Args:
        dtype: of all parameters; None for that of the largest stored one (a release may keep small ones wider).

    Raises:
        ConfigError: a file is missing or broken, or names or shapes do not fit `config.json`.
    """
    config = load_config(folder)
    stored = stored_weights(folder)
    with parameters_on_meta():
        model = HiMoEVLA(config)
    require_fit(
        f"the weights in {folder} do not fit its {CONFIG}",
        {name: parameter.shape for name, parameter in model.named_parameters()},
        {name: tensor.shape for name, tensor in stored.items()},
    )
    dtype = dtype or max(stored.values(), key=lambda tensor: prod(tensor.shape)).dtype
    weights = {name: tensor.read().to(dtype, copy=True) for name, tensor in stored.items()}
    model.load_state_dict(weights, assign=True)
    return model.eval()


@contextmanager
def parameters_on_meta() -> Iterator[None]:
    """Modules built inside have parameters without memory; their buffers, which no file holds, are real."""
    handle = register_module_parameter_registration_hook(
        lambda _module, _name, parameter: nn.Parameter(parameter.to("meta"), parameter.requires_grad)
    )
    try:
        yield
    finally:
        handle.remove()


def _plain(value: Any) -> Any:
    """Dataclasses, enumerations and tuples as JSON has them; what is None is left out."""
    if is_dataclass(value):
        named = ((f.name, getattr(value, f.name)) for f in fields(value))
        return {name: _plain(v) for name, v in named if v is not None}
    if isinstance(value, Enum):
        return value.value
    return [_plain(v) for v in value] if isinstance(value, tuple) else value


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
