"""Stands in for torchvision, which the CPU build of torch has none of; only what lerobot imports."""

from . import transforms  # noqa: F401

__version__ = "0.0.0"
