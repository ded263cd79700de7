"""Weights on disk: safetensors, in one file or in shards with an index, as Hugging Face lays them out.

Written and read tensor by tensor, so that neither needs more memory than one tensor beside the model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.errors import ConfigError
from ..core.reading import load_json, mapping

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
CODES = {dtype: code for code, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Entry:
    """A tensor to write.

    Attributes:
        dtype: one of DTYPES.
        parts: gives its values in row-major order, whole or cut along the first axis; called once, when
            the tensor's turn has come.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    parts: Callable[[], Iterable[Tensor]]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * self.dtype.itemsize


@dataclass(frozen=True)
class Stored:
    """A tensor in a safetensors file."""

    path: Path
    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    def read(self) -> Tensor:
        """Map the tensor. The mapping ends with the tensor, so that pages already copied do not pile up."""
        with safe_open(self.path, "pt") as file:
            return file.get_tensor(self.name)


def write_weights(folder: Path, entries: Iterable[Entry], shard_bytes: int = SHARD_BYTES) -> None:
    """Write one file, or shards of at most `shard_bytes` (or one tensor) and their index."""
    shards = _shards(entries, shard_bytes)
    if len(shards) == 1:
        _write_file(folder / WEIGHTS, shards[0])
        return
    places = {}
    for i, shard in enumerate(shards, start=1):
        name = f"model-{i:05d}-of-{len(shards):05d}.safetensors"
        _write_file(folder / name, shard)
        places |= {entry.name: name for entry in shard}
    size = sum(entry.size for shard in shards for entry in shard)
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / INDEX).write_text(json.dumps(index, indent=1))


def stored_weights(folder: Path) -> dict[str, Stored]:
    """Name -> tensor, of every safetensors file of a model.

    Raises:
        ConfigError: a file is missing, truncated, or holds something else; it is named.
    """
    stored: dict[str, Stored] = {}
    for path in _files(folder):
        for tensor in _contents(path):
            if tensor.name in stored:
                raise ConfigError(f"'{tensor.name}' is in {stored[tensor.name].path} and in {path}; expected it once")
            stored[tensor.name] = tensor
    return stored


def require_fit(what: str, wanted: Mapping[str, Sequence[int]], have: Mapping[str, Sequence[int]]) -> None:
    """Compare names and shapes.

    Raises:
        ConfigError: every missing or unknown name, and every other shape, on a line of its own.
    """
    missing = [f"missing {name}" for name in sorted(set(wanted) - set(have))]
    unknown = [f"unknown {name}" for name in sorted(set(have) - set(wanted))]
    shapes = [
        f"{name}: expected {tuple(wanted[name])}, got {tuple(have[name])}"
        for name in sorted(set(wanted) & set(have))
        if tuple(wanted[name]) != tuple(have[name])
    ]
    if missing or unknown or shapes:
        raise ConfigError(
            f"{what}: {len(missing)} tensors missing, {len(unknown)} unknown, {len(shapes)} of another shape; "
            + "give the configuration these weights were trained with\n  "
            + "\n  ".join([*missing, *unknown, *shapes])
        )


def _shards(entries: Iterable[Entry], limit: int) -> list[list[Entry]]:
    shards: list[list[Entry]] = [[]]
    size = 0
    for entry in entries:
        if shards[-1] and size + entry.size > limit:
            shards.append([])
            size = 0
        shards[-1].append(entry)
        size += entry.size
    return shards


def _write_file(path: Path, entries: Sequence[Entry]) -> None:
    """8 bytes of header length, the header as JSON, then the values (the safetensors format)."""
    # Wide types first, so that every tensor lies at a multiple of its item size.
    entries = sorted(entries, key=lambda entry: -entry.dtype.itemsize)
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    start = 0
    for entry in entries:
        end = start + entry.size
        header[entry.name] = {"dtype": CODES[entry.dtype], "shape": entry.shape, "data_offsets": (start, end)}
        start = end
    told = json.dumps(header).encode()
    told += b" " * (-len(told) % 8)
    with path.open("wb") as file:
        file.write(len(told).to_bytes(8, "little") + told)
        for entry in entries:
            for part in entry.parts():
                file.write(part.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def _files(folder: Path) -> list[Path]:
    whole, index = folder / WEIGHTS, folder / INDEX
    if whole.is_file():
        return [whole]
    if not index.is_file():
        raise ConfigError(f"{folder} has no weights: expected {WEIGHTS}, or {INDEX} and the files it names")
    places = mapping(mapping(load_json(index), str(index)).get("weight_map"), f"{index}: weight_map")
    wrong = sorted({repr(p) for p in places.values() if not isinstance(p, str) or Path(p).name != p})
    if wrong:
        raise ConfigError(f"{index}: expected names of files beside it, got {', '.join(wrong)}")
    files = [folder / name for name in sorted(set(places.values()))]
    missing = [path.name for path in files if not path.is_file()]
    if missing:
        raise ConfigError(f"{folder} lacks {', '.join(missing)}, named in {INDEX}; copy or convert it again")
    return files


def _contents(path: Path) -> list[Stored]:
    try:
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            codes = {name: part.get_dtype() for name, part in slices.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (OSError, SafetensorError) as error:
        raise ConfigError(
            f"{path} must be a complete safetensors file: {error} ({path.stat().st_size} bytes); "
            "copy or convert it again"
        ) from error
    odd = sorted(name for name, code in codes.items() if code not in DTYPES)
    if odd:
        raise ConfigError(f"{path}: expected tensors of {', '.join(DTYPES)}, got {codes[odd[0]]} for {', '.join(odd)}")
    return [Stored(path, name, shapes[name], DTYPES[codes[name]]) for name in shapes]
