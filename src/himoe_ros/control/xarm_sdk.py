"""The vendor's SDK, imported in one place; only a machine that drives an xArm needs it."""

from __future__ import annotations

import contextlib
import io
import logging

from ..core.errors import DriverError

try:
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its version
        from xarm.core.config.x_code import ControllerError, ControllerWarn, GripperError
        from xarm.core.config.x_config import XCONF
        from xarm.core.utils.log import logger
        from xarm.version import __version__ as SDK_VERSION
        from xarm.wrapper import XArmAPI
except ImportError as error:
    raise DriverError("the xArm driver needs the vendor's SDK: pip install xarm-python-sdk==1.18.4") from error

# What goes wrong reaches the user as a DriverError; the SDK would tell it again and again.
logger.setLevel(logging.CRITICAL)

__all__ = ["SDK_VERSION", "XCONF", "ControllerError", "ControllerWarn", "GripperError", "XArmAPI"]
