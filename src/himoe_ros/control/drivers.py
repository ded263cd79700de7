"""The driver and the check of plans that an embodiment asks for: each needs a package that others do not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ConfigError
from .driver import Driver

if TYPE_CHECKING:
    from .collision import CollisionGuard


def make_driver(embodiment: Embodiment, address: str) -> Driver:
    """The driver an embodiment names; imported only here, so a machine needs one vendor's SDK alone."""
    if embodiment.driver == "xarm7":
        from .xarm7 import XArm7Driver  # noqa: PLC0415

        return XArm7Driver(address, embodiment)
    if embodiment.driver == "aloha":
        from .aloha import AlohaDriver  # noqa: PLC0415

        return AlohaDriver(address, embodiment)
    raise ConfigError(f"embodiment '{embodiment.name}' names driver '{embodiment.driver}'; there are: xarm7, aloha")


def make_collision_guard(embodiment: Embodiment, space: ActionSpace) -> CollisionGuard | None:
    """The check of plans, where the embodiment file describes the robot's body; it alone needs MuJoCo."""
    if embodiment.collision is None:
        return None
    from .collision import CollisionGuard  # noqa: PLC0415

    return CollisionGuard(embodiment, space)
