"""What the simulated box received, and the invariants of the fault table that must hold of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from sensor_msgs.msg import JointState

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.messages import seconds
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ARM = XARM7.arms[0]
PERIOD = 1.0 / XARM7.control_rate_hz
ROUNDING = 2e-6  # rad, of float32 on the wire
TICK_JITTER = 5e-4  # rad in a tick
STILL = 1e-5  # rad between two commands; a tick at the slowest speed that matters is larger
ARMING, ARMED = "MOTION_ENABLE 8 1", "SET_STATE 0"  # the first and the last request of the driver's `enable`
STOPPING = ("FAULT drop", "FAULT refuse", "FAULT error", "FAULT estop", "SET_STATE 4")


@dataclass(frozen=True)
class Entry:
    """One request that the box received, or a fault that was injected, on the machine's steady clock.

    Attributes:
        time: s.
        words: such as `SERVO_JOINT`, `SET_STATE 4`, `FAULT estop`.
        joints: (7,) rad of a servo command, else None.
        accepted: whether the box obeyed.
    """

    time: float
    words: str
    joints: np.ndarray | None
    accepted: bool


@dataclass
class BoxLog:
    """Everything the box received, in order, and what must hold of it."""

    entries: list[Entry] = field(default_factory=list)
    lost: int = 0  # entries that never arrived
    _number: float | None = None

    def add(self, message: JointState) -> None:
        (number,) = message.velocity
        if self._number is not None and number > self._number + 1:
            self.lost += int(number - self._number) - 1
        self._number = number
        joints = np.array(message.position) if len(message.position) else None
        self.entries.append(
            Entry(seconds(message.header.stamp), message.header.frame_id, joints, bool(message.effort[0]))
        )

    def commands(self, since: float = 0.0) -> list[Entry]:
        """Servo commands received after `since`."""
        return [e for e in self.entries if e.joints is not None and e.time > since]

    def last(self, words: str) -> Entry | None:
        return next((e for e in reversed(self.entries) if e.words == words), None)

    def travelled(self, since: float) -> float:
        """rad, the longest way any joint was sent after `since`."""
        targets = np.array([e.joints for e in self.commands(since)])
        return float(np.abs(np.diff(targets, axis=0)).sum(axis=0).max()) if len(targets) > 1 else 0.0

    def moved_last(self) -> float:
        """s, the last command that was not the same place as the one before."""
        moves = [b.time for a, b in pairwise(self.commands()) if np.abs(a.joints - b.joints).max() > STILL]
        return moves[-1] if moves else 0.0

    def check_slowing(self, since: float) -> None:
        """No joint gets faster."""
        places = np.array([e.joints for e in self.commands(since)])
        steps = np.abs(np.diff(places, axis=0))
        faster = steps - (1.2 * steps[:3].max(axis=0, initial=0.0) + TICK_JITTER)  # ticks are not equally long
        assert (faster <= 0).all(), f"{faster.max():.5f} rad faster than when it began to slow down"

    def check_limits(self) -> None:
        """I1: every command is finite and within the embodiment's limits."""
        for e in self.commands():
            assert np.isfinite(e.joints).all(), e
            assert (e.joints >= ARM.bounds.lower - ROUNDING).all() and (
                e.joints <= ARM.bounds.upper + ROUNDING
            ).all(), e

    def check_steps(self) -> None:
        """I2: no step beyond v_max dt, and over no window of time more than v_max allows plus one period."""
        for stretch in self._stretches():
            times = np.array([e.time for e in stretch])
            places = np.array([e.joints for e in stretch]).reshape(-1, 7)
            steps = np.abs(np.diff(places, axis=0)).max(axis=1, initial=0.0)
            worst = int(np.argmax(steps)) if len(steps) else 0
            assert steps.max(initial=0.0) <= ARM.max_velocity * PERIOD + ROUNDING, (
                f"a step of {steps[worst]:.4f} rad, {times[worst + 1] - times[worst]:.4f} s after the one before"
            )
            for width in (2, 5, 10, 20, 50):
                ways = np.abs(places[width:] - places[:-width]).max(axis=1, initial=0.0)
                allowed = ARM.max_velocity * (times[width:] - times[:-width] + PERIOD) + ROUNDING
                assert (ways <= allowed).all(), f"{(ways - allowed).max():.4f} rad too far within {width} commands"

    def check_rate(self) -> None:
        """No burst: in 100 ms no more commands than periods, and a few for jitter; a repeated one counts once."""
        for stretch in self._stretches():
            times = [a.time for a, b in pairwise(stretch) if not np.array_equal(a.joints, b.joints)]
            most = round(0.1 / PERIOD) + 3
            spans = [later - first for first, later in zip(times, times[most:], strict=False)]
            assert min(spans, default=1.0) > 0.1, f"{most + 1} commands within {1e3 * min(spans):.0f} ms"

    def check_rest(self, since: float, until: float) -> None:
        """I3: between a stop and the next arming nothing moves: no servo command, and none of another kind.

        A command may be on its way when the stop happens; the box refuses it, and it is one at most.
        """
        moves = [e for e in self.entries if since < e.time < until and _moves(e)]
        around = [
            f"{e.time - since:+.3f} {e.words}" for e in self.entries if since - 2.0 < e.time < until and not _moves(e)
        ]
        told = f"{len(moves)} moves from {since:.3f} on, the first are {moves[:3]}; what else came: {around[:40]}"
        assert not [e for e in moves if e.accepted], told
        assert len(moves) <= 1 and all(e.time < since + 2 * PERIOD for e in moves), told

    def check_stops(self) -> None:
        """I3 of everything so far: from each fault that stops the robot to the end of the next arming.

        A stop that was repeated on a connection since given up may come in the middle of an arming; the box
        is stopped until its end anyway. What makes it ready is always the end of a whole arming.
        """
        armed = [e.time for e in self.entries if e.words == ARMED]
        for e in self.entries:
            if e.words.startswith(STOPPING):
                self.check_rest(e.time, next((t for t in armed if t > e.time), self.entries[-1].time))
        begun, before = False, ""
        for e in self.entries:
            if e.words == ARMED:  # once more right after the first, where its answer was lost
                near = [
                    f"{o.time - e.time:+.3f} {o.words}"
                    for o in self.entries
                    if abs(o.time - e.time) < 5 and not _moves(o)
                ]
                assert begun or before == ARMED, f"{e.time:.3f}: {ARMED} without {ARMING} before it: {near}"
            if e.words in (ARMING, ARMED):
                begun = e.words == ARMING
            if e.words in (ARMING, ARMED) or e.words.startswith(STOPPING):
                before = e.words

    def _stretches(self) -> Iterator[list[Entry]]:
        """Commands between one arming and the next."""
        stretch: list[Entry] = []
        for e in self.entries:
            if e.words == ARMING:
                yield stretch
                stretch = []
            elif e.joints is not None:
                stretch.append(e)
        yield stretch


def _moves(entry: Entry) -> bool:
    return entry.words.split(" ")[0].split("_")[0] in ("SERVO", "MOVE")
