"""Which device a model runs on."""

from __future__ import annotations

import torch

from ..core.errors import ConfigError


def chosen_device(name: str) -> str:
    """`cpu`, or `cuda` with a number or without; "" for a GPU where there is one.

    Raises:
        ConfigError: there is no such device here.
    """
    if not name:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not name.startswith("cuda"):
        raise ConfigError(f"device must be cpu or cuda, got '{name}'")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device '{name}' is asked for, and torch {torch.__version__} sees no GPU here; use cpu")
    return name
