"""What a box received: every request that moves, enables or sets something, with its time and answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .xarm_protocol import Function, Status

QUESTIONS = frozenset(
    (
        Function.GET_VERSION,
        Function.GET_SERIAL,
        Function.GET_REPORT_TORQUE_OR_CURRENT,
        Function.GET_APPROXIMATE_MOTION,
        Function.GET_STATE,
        Function.GET_COMMAND_COUNT,
        Function.GET_ERROR,
        Function.GET_TCP_POSE,
        Function.GET_TCP_POSE_AXIS_ANGLE,
        Function.GET_JOINTS,
        Function.GET_IK,
        Function.GET_FK,
        Function.GET_JOINT_TORQUES,
        Function.IS_JOINT_LIMIT,
        Function.IS_TCP_LIMIT,
        Function.GET_REDUCED_MODE,
        Function.GET_REDUCED_STATE,
        Function.TOOL_ERROR,
        Function.TOOL_READ_16,
        Function.GET_COMMON_PARAMETER,
        Function.GET_COMMON_INFO,
    )
)
_RS485_READ = 0x03  # function code inside a frame for the gripper


@dataclass(frozen=True)
class Received:
    """One request, as it came.

    Attributes:
        time: s, on the box's clock: steady, and the same for every process of a machine.
        function: see `Function`.
        payload: what followed it.
        status: what it was answered with.
    """

    time: float
    function: int
    payload: bytes
    status: int

    @property
    def accepted(self) -> bool:
        """Whether the box did what it asked."""
        return not self.status & (Status.INVALID | Status.ERROR | Status.NOT_READY)

    @property
    def joints(self) -> NDArray[np.float64] | None:
        """(7,) rad, the target of a servo command in joints; None for other requests."""
        if self.function != Function.SERVO_JOINT or len(self.payload) < 28:
            return None
        return np.frombuffer(self.payload[:28], "<f4").astype(np.float64)

    @property
    def asks(self) -> bool:
        """Whether it only asks the gripper something, which looks like any other request to it."""
        return self.function == Function.TOOL_RS485 and len(self.payload) > 2 and self.payload[2] == _RS485_READ

    @property
    def words(self) -> str:
        """Its name and, unless it is a servo command, its first bytes, such as `SET_STATE 4`."""
        name = Function(self.function).name if self.function in list(Function) else f"FUNCTION_{self.function}"
        values = "" if self.joints is not None else " ".join(str(b) for b in self.payload[:12])
        return f"{name} {values}".strip()
