"""The control loop: buffer -> guard -> driver, one tick at a time, with time as an argument."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

import numpy as np

from ..core.action_guard import (
    approach,
    check_chunk,
    check_first_step,
    clip_to_workspace,
    limit_step,
    limit_tool_speed,
    require_finite,
)
from ..core.chunk_buffer import ChunkBuffer
from ..core.embodiment import ANGLES, END_EFFECTOR, ActionSpace, Arm, Embodiment
from ..core.errors import ConfigError, DriverError, GuardError, HimoeError
from ..core.observation import ActionChunk, Floats
from ..core.safety import SafetyLimits
from ..core.unified import pose_values
from ..core.watchdog import Watchdog
from .cartesian import CartesianTracker
from .driver import Driver, Reading

COMPLETION_S = 0.1  # for so long after its end a plan is carried through to its last step


class Mode(Enum):
    """What the controller is doing."""

    DISARMED = "disarmed"  # sends nothing
    HOMING = "homing"  # moves to the home posture
    HOLDING = "holding"  # armed; keeps its place
    RUNNING = "running"  # follows a chunk
    FAULTED = "faulted"  # sends nothing until armed again


@dataclass(frozen=True)
class Tick:
    """What one tick did.

    Attributes:
        reading: the robot before the command; None where it could not be read.
        command: (N,) positions sent, or None.
        chunk_age: s from the stamp of a chunk to its first command; None on all other ticks.
    """

    reading: Reading | None
    command: Floats | None
    chunk_age: float | None


class ControlLoop:
    """Executes chunks on one robot within its limits. Not thread-safe: the caller locks."""

    def __init__(self, driver: Driver, embodiment: Embodiment, space: ActionSpace, safety: SafetyLimits) -> None:
        self._driver = driver
        self._embodiment = embodiment
        self._space = space
        self._safety = safety
        self._buffer = ChunkBuffer(space, safety.blend_s, safety.sensors.max_future_s)
        self._watchdog = Watchdog(safety.chunk_timeout_s)
        self._cartesian = None
        if space.names[0] in END_EFFECTOR:
            if embodiment.workspace is None or embodiment.arms[0].chain is None:
                raise ConfigError(f"{embodiment.name}: end-effector control needs 'workspace' and 'kinematics'")
            self._cartesian = CartesianTracker(embodiment.arms[0], embodiment.arms[0].chain, embodiment.workspace)
        self._command = np.zeros(len(embodiment.joint_names))
        self._velocity = np.zeros_like(self._command)
        self._place = self._command  # where to be while holding ...
        self._goal: Floats | None = None  # ... unless there is one in the order of the action space,
        self._goal_until = np.inf  # s of the steady clock, to be reached by then
        self._last_tick: float | None = None
        self._waiting_stamp: float | None = None
        self.mode = Mode.DISARMED
        self.reason = "not armed yet"

    def arm(self) -> None:
        """Make the robot ready and hold it where it is. Chunks from before are forgotten."""
        self._ready("armed")

    def home(self) -> None:
        """Move to the home posture with the gripper open, then hold."""
        self._ready("going home")
        self.mode = Mode.HOMING

    def disarm(self, reason: str) -> None:
        """Stop sending; the robot keeps its place by itself."""
        self._buffer.clear()
        self.mode, self.reason = Mode.DISARMED, reason

    def stop(self, reason: str) -> None:
        """Stop the robot too: nothing moves again before `arm` or `home`."""
        self.disarm(reason)
        self._driver.stop()

    def accept(self, chunk: ActionChunk, now: float, steady: float) -> None:
        """Check a chunk whole and splice it in.

        Args:
            chunk: as it came.
            now: s, the clock of `chunk.stamp`.
            steady: s, a clock that never jumps.

        Raises:
            GuardError: the chunk is refused, and the plan stays as it was.
        """
        if self.mode not in (Mode.HOLDING, Mode.RUNNING):
            raise GuardError(f"chunk refused: the controller is {self.mode.value} ({self.reason}); call controller/arm")
        chunk = check_chunk(chunk, self._space)
        current = self._slots()
        check_first_step(chunk, self._space, current, self._first_step(), now)
        values = chunk.values
        if self._embodiment.workspace is not None and self._cartesian is not None:
            values = clip_to_workspace(values, self._space, self._embodiment.workspace)
        self._buffer.accept(ActionChunk(chunk.stamp, chunk.names, values, chunk.times), current, now)
        self._watchdog.feed(steady)
        self._waiting_stamp = chunk.stamp
        self.mode, self.reason = Mode.RUNNING, "following chunks"

    def tick(self, now: float, steady: float) -> Tick:
        """Read the robot and, when armed, send the next command.

        Args:
            now: s, the clock of chunk stamps.
            steady: s, a clock that never jumps; its differences are the time step.
        """
        period = 1.0 / self._safety.control_rate_hz
        # A late tick makes no larger step: the plan waits, and the robot is never asked to catch up.
        dt = period if self._last_tick is None else float(np.clip(steady - self._last_tick, 0.2 * period, period))
        self._last_tick = steady
        try:
            return self._act(self._driver.read(), now, steady, dt)
        except HimoeError as error:
            self._fault(str(error))
            return Tick(None, None, None)

    def _act(self, reading: Reading, now: float, steady: float, dt: float) -> Tick:
        if reading.fault:
            self._fault(reading.fault)
        if self.mode in (Mode.DISARMED, Mode.FAULTED):
            return Tick(reading, None, None)
        require_finite(reading.positions, "joint positions of the robot")
        command = self._limited(self._next(now, steady, dt), dt)
        require_finite(command, "command")
        self._driver.send(command)
        self._command = command
        age = None
        if self.mode is Mode.RUNNING and self._waiting_stamp is not None:
            age, self._waiting_stamp = now - self._waiting_stamp, None
        return Tick(reading, command, age)

    def _fault(self, reason: str) -> None:
        self._buffer.clear()
        self.mode, self.reason = Mode.FAULTED, reason

    def _ready(self, reason: str) -> None:
        """Armed and coming to rest: from its motion if it is armed already, else from where the robot is."""
        if self.mode in (Mode.DISARMED, Mode.FAULTED):
            self._driver.enable()
            reading = self._driver.read()
            if reading.fault:
                raise DriverError(f"the robot reports: {reading.fault}")
            require_finite(reading.positions, "joint positions of the robot")
            self._command = reading.positions.copy()
            self._velocity = np.zeros_like(self._command)
        self._watchdog.reset()
        self._hold_at(self._stopping_place(), reason)

    def _next(self, now: float, steady: float, dt: float) -> Floats:
        """(N,) positions wanted at this tick, before the limits."""
        if self.mode is Mode.HOMING:
            home = np.concatenate([[*arm.bounds.rest, arm.gripper.open] for arm in self._embodiment.arms])
            if np.all(np.abs(home - self._command) < 1e-3):
                self._hold_at(home, "at home")
            return self._approach(home, self._safety.home_velocity_rad_s, dt)
        if self.mode is Mode.RUNNING:
            if self._watchdog.expired(steady):
                self._hold_at(self._stopping_place(), "the plan is stale and no fresh one came")
            elif (slots := self._buffer.target(now)) is not None:
                self._goal = slots
            elif (final := self._buffer.completion(now, COMPLETION_S)) is not None:
                self._goal, self._goal_until = final, steady + COMPLETION_S
                self.mode, self.reason = Mode.HOLDING, "the plan has ended and no fresh one came"
            else:
                self._hold_at(self._stopping_place(), "the clock jumped out of the plan")
        elif self._goal is not None and steady > self._goal_until:
            self._hold_at(self._stopping_place(), self.reason)
        if self._goal is not None:
            return self._toward(self._goal, dt)
        return self._approach(self._place, np.inf, dt)

    def _hold_at(self, place: Floats, reason: str) -> None:
        """Come to rest at (N,) positions and stay."""
        self._buffer.clear()
        self._goal = None
        self._place = place
        if self._cartesian is not None:
            self._cartesian.rest()
        self.mode, self.reason = Mode.HOLDING, reason

    def _stopping_place(self) -> Floats:
        """(N,) where the joints come to rest when slowed down as fast as allowed from now on."""
        brake = np.concatenate([[*[a.max_acceleration] * len(a.joints), np.inf] for a in self._embodiment.arms])
        return self._command + self._velocity * np.abs(self._velocity) / (2 * brake)

    def _toward(self, goal: Floats, dt: float) -> Floats:
        """One tick toward (S,) values in the order of the action space."""
        slots = dict(zip(self._space.names, goal.tolist(), strict=True))
        if self._cartesian is not None:
            arm = self._embodiment.arms[0]
            joints = self._cartesian.follow(slots, self._command[: len(arm.joints)], dt)
            return np.array([*joints, arm.gripper.position(slots[arm.gripper.name])])
        wanted = [
            [*(slots[j] for j in arm.joints), arm.gripper.position(slots[arm.gripper.name])]
            for arm in self._embodiment.arms
        ]
        return self._approach(np.concatenate(wanted), np.inf, dt)

    def _approach(self, place: Floats, max_velocity: float, dt: float) -> Floats:
        """One tick toward (N,) positions to rest at."""
        step = place.copy()
        for arm, part in self._parts():
            limit = min(max_velocity, arm.max_velocity)
            step[part] = approach(place[part], self._command[part], arm, limit, dt)
        return step

    def _limited(self, target: Floats, dt: float) -> Floats:
        """(N,) positions that every limit allows: joints, tool speed, and the grippers' range."""
        command = np.empty_like(target)
        for arm, part in self._parts():
            last, velocity = self._command[part], self._velocity[part]
            step = limit_step(target[part], last, velocity, arm, dt)
            if arm.chain is not None and self._embodiment.workspace is not None:
                step = limit_tool_speed(step, last, velocity, arm, self._embodiment.workspace.max_tool_speed, dt)
            command[part] = step
            self._velocity[part] = (command[part] - last) / dt
            command[part.stop] = np.clip(target[part.stop], *sorted((arm.gripper.open, arm.gripper.closed)))
        return command

    def _parts(self) -> Iterator[tuple[Arm, slice]]:
        """Each arm with its joints' place in the (N,) vectors; its gripper follows right after."""
        start = 0
        for arm in self._embodiment.arms:
            yield arm, slice(start, start + len(arm.joints))
            start += len(arm.joints) + 1

    def _slots(self) -> Floats:
        """(N,) where the robot is being sent, in the order of the action space."""
        named = dict(zip(self._embodiment.joint_names, self._command.tolist(), strict=True))
        for arm in self._embodiment.arms:
            named[arm.gripper.name] = arm.gripper.opening(named[arm.gripper.joint])
        if self._cartesian is not None:
            arm = self._embodiment.arms[0]
            named |= pose_values(arm, arm.forward(self._command[: len(arm.joints)]))
        return np.array([named[n] for n in self._space.names])

    def _first_step(self) -> Floats:
        table = {n: self._safety.first_step_rad for arm in self._embodiment.arms for n in arm.joints}
        table |= {arm.gripper.name: np.inf for arm in self._embodiment.arms}
        table |= {n: self._safety.first_step_rad if n in ANGLES else self._safety.first_step_m for n in END_EFFECTOR}
        return np.array([table[n] for n in self._space.names])
