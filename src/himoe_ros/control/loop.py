"""The control loop: chunks -> one smooth target -> guard -> driver, one tick at a time, with time as an argument."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.action_guard import check_chunk, check_command, check_first_step, clip_to_workspace, require_finite
from ..core.chunk_buffer import ChunkBuffer, Target
from ..core.clock_watch import ClockWatch
from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment
from ..core.errors import DriverError, GuardError, HimoeError
from ..core.observation import ActionChunk, Floats
from ..core.safety import SafetyLimits, first_step
from ..core.watchdog import Watchdog
from .driver import Driver, Reading
from .motion import Motion
from .states import FOLLOWING, SENDING, Mode, States

CATCH_UP_S = 0.1  # time that late ticks have lost is caught up with over so long ...
MAX_LATE_S = 0.05  # ... up to so much
ARRIVED = 1e-4  # rad, of a posture to rest at
SAME_GRIP = 0.03  # of a gripper's stroke: nothing has moved it
FOLLOWED_RAD, FOLLOW_S = 0.1, 3.0  # so near there the robot itself must be, so long after its command


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
        self._clock = ClockWatch(safety.clock_tolerance_s)
        self._motion = Motion(embodiment, space)
        self._reach = first_step(safety, embodiment, space)
        self._states = States()
        self._seen: Floats | None = None  # (N,) where the robot was at the last command; None after a fault or a loss
        self._place = self._motion.command  # (N,) where a homing motion ends
        self._arrived = ""  # the reason to give there
        self._there_since: float | None = None  # when the command was there
        self._last_tick: float | None = None
        self._late = 0.0  # s, by which the motion is behind the clock
        self._waiting_stamp: float | None = None

    @property
    def mode(self) -> Mode:
        return self._states.mode

    @property
    def sending(self) -> bool:
        """True while commands are sent."""
        return self.mode in SENDING

    @property
    def command(self) -> Floats:
        """(N,) positions sent last, order of `Embodiment.joint_names`."""
        return self._motion.command.copy()

    def set_speed_scale(self, scale: float) -> None:
        """Use this share of every velocity limit, in (0, 1]; GuardError while anything is sent."""
        if not 0.0 < scale <= 1.0:
            raise GuardError(f"speed_scale must be > 0 and <= 1, got {scale}")
        if self.sending:
            raise GuardError(f"speed_scale may change only while disarmed, the controller is {self.mode.value}")
        self._motion.speed_scale = scale

    @property
    def reason(self) -> str:
        """Why it is in this mode, in words."""
        return self._states.reason

    def reconnect(self) -> None:
        """Reach the robot again where it was lost, so that it tells where it is; nothing is sent before `arm`."""
        if self.sending:
            return
        try:
            self._driver.read()
        except DriverError:
            self._seen = None
            self._driver.connect()

    def arm(self) -> None:
        """Make the robot ready and hold it where it is. Chunks from before are forgotten."""
        self._ready()
        self._states.go(Mode.ARMED, "armed")

    def home(self) -> None:
        """Move to the home posture with the gripper open, then disarm."""
        self._ready()
        home = [[*arm.bounds.rest, arm.gripper.open] for arm in self._embodiment.arms]
        self._move_to(np.concatenate(home), "going home", "at home")

    def park(self) -> None:
        """Move to the parking posture, grippers as they are, then disarm."""
        self._ready()
        park = [[*arm.park, grip] for arm, grip in zip(self._embodiment.arms, self._motion.grippers(), strict=True)]
        self._move_to(np.concatenate(park), "going to park", "parked")

    def disarm(self, reason: str) -> None:
        """Slow down, then stop sending; the robot keeps its place by itself."""
        self._buffer.clear()
        if self.mode in SENDING:
            self._states.go(Mode.STOPPING, reason)
        else:
            self._states.go(Mode.DISARMED, reason)

    def stop(self, reason: str) -> None:
        """Stop the robot at once: nothing is sent, and it refuses motion, before `arm` or `home`."""
        self._buffer.clear()
        self._states.go(Mode.DISARMED, reason)
        self._driver.stop()

    def examine(self, chunk: ActionChunk, now: float) -> ActionChunk:
        """A chunk in the order of the action space, if it may be followed from here; see `accept`."""
        if self.mode not in FOLLOWING:
            raise GuardError(f"chunk refused: the controller is {self.mode.value} ({self.reason}); call controller/arm")
        if self._clock.trouble:
            raise GuardError(f"chunk refused: {self._clock.trouble}")
        chunk = check_chunk(chunk, self._space)
        if now - chunk.stamp > self._safety.chunk_timeout_s:
            raise GuardError(
                f"chunk refused: its observation is {now - chunk.stamp:.2f} s old, "
                f"allowed {self._safety.chunk_timeout_s:g} s"
            )
        check_first_step(chunk, self._space, self._motion.slots(), self._reach, now)
        return chunk

    def accept(self, chunk: ActionChunk, now: float, steady: float) -> None:
        """Check a chunk whole and splice it in.

        Args:
            chunk: as it came.
            now: s, the clock of `chunk.stamp`.
            steady: s, a clock that never jumps.

        Raises:
            GuardError: the chunk is refused, and the plan stays as it was.
        """
        chunk = self.examine(chunk, now)
        values = chunk.values
        if self._embodiment.workspace is not None and self._space.names[0] in END_EFFECTOR:
            values = clip_to_workspace(values, self._space, self._embodiment.workspace)
        self._buffer.accept(ActionChunk(chunk.stamp, chunk.names, values, chunk.times), self._motion.slots(), now)
        self._watchdog.feed(steady)
        self._waiting_stamp = chunk.stamp
        self._states.go(Mode.RUNNING, "following chunks")

    def tick(self, now: float, steady: float) -> Tick:
        """Read the robot and, when armed, send the next command.

        Args:
            now: s, the clock of chunk stamps.
            steady: s, a clock that never jumps; its differences are the time step.
        """
        dt = self._advance(steady)
        if trouble := self._clock.look(now, steady):
            self._buffer.clear()
            if self.mode is Mode.RUNNING:
                self._hold(trouble)
        try:
            return self._act(self._driver.read(), now, steady, dt)
        except HimoeError as error:
            self._fault(str(error))
            return Tick(None, None, None)

    def _advance(self, steady: float) -> float:
        """s by which the motion goes on at this tick: a late tick makes no larger step.

        The time that is lost by it is caught up with little by little, or each late tick would shake the arm. After a
        longer pause the motion goes on from the last command, and rejoins the plan smoothly.
        """
        period = 1.0 / self._embodiment.control_rate_hz
        elapsed = period if self._last_tick is None else max(steady - self._last_tick, 0.0)
        self._last_tick, dt = steady, min(elapsed, period)
        self._late = min(self._late * (1.0 - dt / CATCH_UP_S) + elapsed - dt, MAX_LATE_S)
        return dt

    def _act(self, reading: Reading, now: float, steady: float, dt: float) -> Tick:
        if reading.fault:
            self._fault(reading.fault)
        if self.mode not in SENDING:
            return Tick(reading, None, None)
        require_finite(reading.positions, "joint positions of the robot")
        last = self._motion.command
        command = self._next(reading.positions, now, steady, dt)
        self._check(command, last, dt)
        self._driver.send(command)
        self._seen = reading.positions
        age = None
        if self.mode is Mode.RUNNING and self._waiting_stamp is not None:
            age, self._waiting_stamp = now - self._waiting_stamp, None
        return Tick(reading, command, age)

    def _fault(self, reason: str) -> None:
        self._seen = None
        self._buffer.clear()
        self._states.go(Mode.FAULTED, reason)

    def _ready(self) -> None:
        """Able to send: going on from the present motion where there is one, else from where the robot is."""
        if self.mode not in SENDING:
            self._driver.enable()
            reading = self._driver.read()
            if reading.fault:
                raise DriverError(f"the robot reports: {reading.fault}")
            self._motion.reset(reading.positions, self._grips(reading.positions))
        self._watchdog.reset()
        self._buffer.clear()

    def _grips(self, positions: Floats) -> list[float]:
        """Where grippers go: to their last place, or what they hold would fall; if moved since, where they are."""
        grips = []
        for arm, sent in zip(self._embodiment.arms, self._motion.grippers(), strict=True):
            gripper, at = arm.gripper, self._embodiment.joint_names.index(arm.gripper.joint)
            same = SAME_GRIP * abs(gripper.open - gripper.closed)
            moved = self._seen is None or abs(positions[at] - self._seen[at]) > same
            grips.append(float(positions[at]) if moved else sent)
        return grips

    def _move_to(self, place: Floats, reason: str, arrived: str) -> None:
        self._place, self._arrived, self._there_since = place, arrived, None
        self._states.go(Mode.HOMING, reason)

    def _next(self, positions: Floats, now: float, steady: float, dt: float) -> Floats:
        """(N,) positions to send at this tick, where the robot is at these."""
        if self.mode is Mode.HOMING:
            command = self._motion.go_to(self._place, self._safety.home_velocity_rad_s, dt)
            if self._motion.at_rest and np.all(np.abs(command - self._place) < ARRIVED):
                self._arrive(positions, steady)
            return command
        if self.mode is Mode.RUNNING and (target := self._target(now, steady)) is not None:
            return self._motion.follow(target, dt)
        command = self._motion.stop(dt)
        if self.mode is Mode.STOPPING and self._motion.at_rest:
            self._states.go(Mode.DISARMED, self.reason)
        return command

    def _arrive(self, positions: Floats, steady: float) -> None:
        """The command is where a homing motion ends, and that ends there once the robot is there, too."""
        grippers = {arm.gripper.joint for arm in self._embodiment.arms}
        away = dict(zip(self._embodiment.joint_names, np.abs(positions - self._place).tolist(), strict=True))
        joint = max((name for name in away if name not in grippers), key=away.__getitem__)
        self._there_since = steady if self._there_since is None else self._there_since
        if away[joint] <= FOLLOWED_RAD:
            self._states.go(Mode.DISARMED, self._arrived)
        elif steady - self._there_since > FOLLOW_S:
            raise DriverError(
                f"expected the robot {self._arrived}, {joint} is still {away[joint]:.2f} rad away: something holds it; "
                "free the arm, then send it there again"
            )

    def _target(self, now: float, steady: float) -> Target | None:
        """The plan's target at this tick; None, and holding, where there is none any more."""
        if self._watchdog.expired(steady):
            return self._hold("the plan is stale and no fresh one came")
        if (target := self._buffer.target(now)) is not None:
            faster = 1.0 + self._late / CATCH_UP_S
            return Target(target.values - self._late * target.rates, faster * target.rates)
        return self._hold("the plan has ended and no fresh one came")

    def _hold(self, reason: str) -> None:
        self._buffer.clear()
        self._states.go(Mode.HOLDING, reason)

    def _check(self, command: Floats, last: Floats, dt: float) -> None:
        workspace = self._embodiment.workspace
        tool_speed = np.inf if workspace is None else workspace.max_tool_speed
        start = 0
        for arm in self._embodiment.arms:
            part = slice(start, start + len(arm.joints) + 1)
            check_command(command[part], last[part], arm, tool_speed, dt)
            start = part.stop
