"""What the controller is doing, why, and what it may do next."""

from __future__ import annotations

from enum import Enum

from ..core.errors import HimoeError


class StateError(HimoeError):
    """A change of state that the table does not allow."""


class Mode(Enum):
    """What the controller is doing."""

    DISARMED = "disarmed"  # sends nothing
    ARMED = "armed"  # stands still, waits for a first chunk
    RUNNING = "running"  # follows chunks
    HOLDING = "holding"  # slowed down and keeps its place, waits for a fresh chunk
    HOMING = "homing"  # moves to a posture of its own configuration; ends disarmed
    STOPPING = "stopping"  # slows down; ends disarmed
    FAULTED = "faulted"  # sends nothing, and says why


# Only `arm` leads to ARMED, and only ARMED leads to following chunks.
NEXT = {
    Mode.DISARMED: {Mode.ARMED, Mode.HOMING, Mode.FAULTED},
    Mode.ARMED: {Mode.RUNNING, Mode.HOMING, Mode.STOPPING, Mode.DISARMED, Mode.FAULTED},
    Mode.RUNNING: {Mode.HOLDING, Mode.ARMED, Mode.HOMING, Mode.STOPPING, Mode.DISARMED, Mode.FAULTED},
    Mode.HOLDING: {Mode.RUNNING, Mode.ARMED, Mode.HOMING, Mode.STOPPING, Mode.DISARMED, Mode.FAULTED},
    Mode.HOMING: {Mode.ARMED, Mode.STOPPING, Mode.DISARMED, Mode.FAULTED},
    Mode.STOPPING: {Mode.ARMED, Mode.HOMING, Mode.DISARMED, Mode.FAULTED},
    Mode.FAULTED: {Mode.ARMED, Mode.HOMING, Mode.DISARMED},
}
SENDING = frozenset(Mode) - {Mode.DISARMED, Mode.FAULTED}
FOLLOWING = frozenset({Mode.ARMED, Mode.RUNNING, Mode.HOLDING})  # in which a chunk is welcome


class States:
    """The present mode and its reason."""

    def __init__(self) -> None:
        self.mode = Mode.DISARMED
        self.reason = "not armed yet"

    def go(self, mode: Mode, reason: str) -> None:
        """Change the mode, or only its reason; StateError where the table has no such change."""
        if mode is not self.mode and mode not in NEXT[self.mode]:
            raise StateError(f"the controller cannot go from {self.mode.value} to {mode.value} ({reason})")
        self.mode, self.reason = mode, reason
