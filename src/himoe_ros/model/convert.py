"""The released pickle (`pytorch_model.pth`) -> configuration and weights of a policy folder.

The pickle is only ever read as tensors, so that a file from a stranger cannot run code here.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..core.errors import ConfigError
from .checkpoint import released_parts, require_released
from .config import HiMoEConfig, LayerKind
from .folder import save_config
from .himoe import HiMoEVLA
from .weights import CODES, SHARD_BYTES, Entry, write_weights

PICKLE = "pytorch_model.pth"
WRAPPERS = ("state_dict", "model")


def convert_weights(pickled: Path, config: HiMoEConfig, folder: Path, shard_bytes: int = SHARD_BYTES) -> None:
    """Write `config.json` and `model.safetensors` from a released checkpoint.

    Values and dtypes stay as they are. Tensors go from the mapped pickle to the file one by one, the experts of a
    layer behind each other, so that hardly any memory is used.

    Raises:
        ConfigError: the file cannot be read as tensors, or does not fit the configuration; every mismatch is listed.
    """
    known = {LayerKind.AS, LayerKind.HB, LayerKind.DENSE}
    if {config.layer_kind(i) for i in range(config.language.layers)} - known:
        raise ConfigError(f"no checkpoint of '{config.name}' was released; choose a preset such as himoe_4b")
    tensors = read_released(pickled)
    with torch.device("meta"):
        model = HiMoEVLA(config)
    require_released(model, tensors, str(pickled))
    parts = released_parts(model)
    read = {part.name: tensors[part.name] for pieces in parts.values() for part in pieces}
    odd = [f"{name}: {tensor.dtype}" for name, tensor in read.items() if tensor.dtype not in CODES]
    if odd:
        raise ConfigError(f"{pickled}: expected tensors of {', '.join(CODES.values())}, got {', '.join(odd)}")
    entries = [
        _entry(name, tuple(parameter.shape), [read[part.name] for part in parts[name]])
        for name, parameter in model.named_parameters()
    ]
    write_weights(folder, entries, shard_bytes)
    save_config(config, folder)


def read_released(path: Path) -> dict[str, Tensor]:
    """Name -> tensor of a released checkpoint, mapped: a tensor is read from disk when it is used.

    Raises:
        ConfigError: the file is missing, no zip written by torch.save, truncated, or asks for more than tensors.
    """
    if not path.is_file():
        raise ConfigError(f"{path} is missing; give the folder of a released checkpoint, or its {PICKLE}")
    try:
        data = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        reason = next((line for line in str(error).splitlines() if "GLOBAL" in line), str(error).splitlines()[0])
        raise ConfigError(
            f"{path} is refused: expected nothing but tensors, it asks for more, and none of its code was run "
            f"({reason.strip()}); get it from the authors again"
        ) from error
    except Exception as error:  # torch's reader of a broken file may raise anything
        raise ConfigError(
            f"{path} must be a whole file written by torch.save in its zip format (PyTorch 1.6 or newer), got "
            f"{path.stat().st_size} bytes that are not ({str(error).splitlines()[0]}); "
            "download it again, or save an old one anew with a current torch.save"
        ) from error
    for key in WRAPPERS:
        if isinstance(data, Mapping) and isinstance(data.get(key), Mapping):
            data = data[key]
    if not isinstance(data, Mapping) or not data:
        raise ConfigError(f"{path}: expected names and tensors, got {type(data).__name__}")
    wrong = sorted(str(key) for key, value in data.items() if not isinstance(value, Tensor))
    if wrong:
        raise ConfigError(f"{path}: expected names and tensors, got something else under {', '.join(wrong)}")
    return dict(data)


def _entry(name: str, shape: tuple[int, ...], parts: list[Tensor]) -> Entry:
    """Experts of different dtypes are stored in the widest, which loses nothing."""
    dtype = parts[0].dtype
    for part in parts:
        dtype = torch.promote_types(dtype, part.dtype)
    return Entry(name, shape, dtype, lambda: (part.to(dtype) for part in parts))
