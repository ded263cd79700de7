"""Faults that a real box, its cable or its surroundings can have, by name, for tests and `sim/fault`.

stall 0.19      requests wait for so many s, then are answered in order; reports go on
silence 5       nothing at all leaves the box for so many s, as behind a pulled cable
drop            every connection is closed
refuse 2        every connection is closed, and none is accepted for so many s
garble 3        the next so many reports are cut short or scrambled
error 31        a controller error; 10 to 17 and the like stay whatever the client clears
warning 14      a controller warning
gripper 11      an error of the gripper
estop           the emergency button is pressed: motors off, stopped, error 1 until it is released
release         ... and released; the error stays until it is cleared
stick 4         a joint stays where it is, whatever it is told
unstick         ... and no longer
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..core.errors import SimulationError
from .xarm_box import XArmBox
from .xarm_server import XArmServer

LASTING = frozenset((*range(10, 18), 26, 28, 30, 33, 38, 39, 41, 42, 110, 111))  # need a restart of the box


def inject(text: str, box: XArmBox, server: XArmServer) -> None:
    """Make one fault happen.

    Args:
        text: a name and its number, as in the table above.
        box: what it happens to.
        server: its network side.

    Raises:
        SimulationError: no such fault, or a wrong number.
    """
    faults: dict[str, Callable[..., None]] = {
        "stall": server.stall,
        "silence": server.silence,
        "drop": server.drop,
        "refuse": server.refuse,
        "garble": lambda count: server.garble(int(count)),
        "error": lambda code: box.trip(int(code), lasting=int(code) in LASTING),
        "warning": lambda code: box.warn(int(code)),
        "gripper": lambda code: box.break_gripper(int(code)),
        "estop": box.press_emergency_stop,
        "release": box.release_emergency_stop,
        "stick": lambda joint: box.stick(int(joint)),
        "unstick": box.unstick,
    }
    name, *numbers = text.split()
    if name not in faults:
        raise SimulationError(f"'{name}' is no fault of the simulated box; there are: {', '.join(faults)}")
    needed = 0 if name in ("drop", "estop", "release", "unstick") else 1
    try:
        values = [float(n) for n in numbers]
    except ValueError as error:
        raise SimulationError(f"fault '{name}' takes a number, got '{text}'") from error
    if len(values) != needed or not all(math.isfinite(v) and v >= 0 for v in values):
        raise SimulationError(f"fault '{name}' takes {needed} number(s) >= 0, got '{text}'")
    faults[name](*values)
