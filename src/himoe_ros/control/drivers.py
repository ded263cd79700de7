"""The driver that an embodiment names."""

from __future__ import annotations

from ..core.embodiment import Embodiment
from ..core.errors import ConfigError
from .driver import Driver


def make_driver(embodiment: Embodiment, address: str) -> Driver:
    """The driver an embodiment names; imported only here, so a machine needs one vendor's SDK alone."""
    if embodiment.driver == "xarm7":
        from .xarm7 import XArm7Driver  # noqa: PLC0415

        return XArm7Driver(address, embodiment)
    raise ConfigError(f"embodiment '{embodiment.name}' names driver '{embodiment.driver}'; there is: xarm7")
