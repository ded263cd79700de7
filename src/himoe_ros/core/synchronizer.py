"""Stamped streams -> one Observation: age, skew, order, frozen pictures.

Buffers are sorted by stamp, so the order of arrival does not matter: late messages take their
place, and the result equals a sorted replay. Time is an argument everywhere (s, the clock of
the message headers), so the live node and the offline converter run this same code.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from .errors import ObservationError
from .observation import Floats, Image, Observation, RobotState

T = TypeVar("T")

MATCHED_BETTER_S = 0.02  # more than cameras' clocks make of one moment


@dataclass(frozen=True)
class SyncLimits:
    """When sensor data may become an observation.

    Attributes:
        max_age_s: of the oldest part of an observation when it is asked for.
        max_skew_s: between the reference image and any other stream.
        max_future_s: how far a stamp may lie ahead of the clock.
        frozen_after: identical images in a row that mean a frozen camera.
    """

    max_age_s: float
    max_skew_s: float
    max_future_s: float
    frozen_after: int


@dataclass
class Stream(Generic[T]):
    """Stamped values of one topic over the last `horizon` seconds."""

    name: str
    horizon: float = 1.0
    stamps: list[float] = field(default_factory=list)
    values: dict[float, T] = field(default_factory=dict)

    def push(self, stamp: float, value: T, now: float, max_future: float) -> None:
        """Insert in order; a zero, future, duplicate or outdated stamp is refused by name."""
        if not stamp > 0.0:
            raise ObservationError(f"{self.name}: header.stamp must be set, got {stamp}")
        if stamp > now + max_future:
            raise ObservationError(f"{self.name}: stamp lies {stamp - now:.3f} s in the future; check clocks")
        if stamp in self.values:
            raise ObservationError(f"{self.name}: two messages carry the stamp {stamp:.6f}; one is dropped")
        if self.stamps and stamp < self.stamps[-1] - self.horizon:
            raise ObservationError(f"{self.name}: stamp is {self.stamps[-1] - stamp:.3f} s behind the newest")
        insort(self.stamps, stamp)
        self.values[stamp] = value
        while self.stamps[0] < self.stamps[-1] - self.horizon:
            del self.values[self.stamps.pop(0)]

    def nearest(self, stamp: float) -> tuple[float, T]:
        """The (stamp, value) closest to `stamp`, the earlier of two equally close; not for an empty stream."""
        i = bisect_left(self.stamps, stamp)
        around = self.stamps[max(i - 1, 0) : i + 1]
        best = min(around, key=lambda s: abs(s - stamp))
        return best, self.values[best]

    def clear(self) -> None:
        self.stamps.clear()
        self.values.clear()


class Synchronizer:
    """Collects cameras, joints and tool pose; answers with the newest complete observation."""

    def __init__(self, cameras: Sequence[str], needs_eef: bool, limits: SyncLimits) -> None:
        """
        Args:
            cameras: camera names; the first is the reference, whose stamp an observation carries.
            needs_eef: True where the action space reads the tool pose.
            limits: from config/safety.yaml.
        """
        self.limits = limits
        self.images: dict[str, Stream[Image]] = {name: Stream(f"camera '{name}'") for name in cameras}
        self.joints: Stream[dict[str, float]] = Stream("joint_states")
        self.eef: Stream[Floats] = Stream("eef_pose")
        self.needs_eef = needs_eef
        self._same: dict[str, int] = dict.fromkeys(cameras, 0)
        self._now = 0.0

    def push_image(self, camera: str, stamp: float, image: Image, now: float) -> None:
        """Add a (H, W, 3) uint8 RGB image. A size other than the stream's first is refused."""
        self._follow_clock(now)
        stream = self.images[camera]
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ObservationError(f"{stream.name}: expected (H, W, 3) uint8, got {image.shape} {image.dtype}")
        last = stream.values[stream.stamps[-1]] if stream.stamps else None
        if last is not None and last.shape != image.shape:
            raise ObservationError(f"{stream.name}: image size changed from {last.shape[:2]} to {image.shape[:2]}")
        newest = not stream.stamps or stamp > stream.stamps[-1]
        still = image.view()
        still.setflags(write=False)
        stream.push(stamp, still, now, self.limits.max_future_s)
        if newest:
            same = last is not None and np.array_equal(last, image)
            self._same[camera] = self._same[camera] + 1 if same else 0

    def push_joints(self, stamp: float, positions: dict[str, float], now: float) -> None:
        """Add joint positions by name, rad or m (see unified.named_positions)."""
        self._follow_clock(now)
        self.joints.push(stamp, dict(positions), now, self.limits.max_future_s)

    def push_eef(self, stamp: float, pose: Floats, now: float) -> None:
        """Add a (4, 4) tool pose in the base frame, m."""
        self._follow_clock(now)
        self.eef.push(stamp, pose.copy(), now, self.limits.max_future_s)

    def observation(self, now: float, instruction: str) -> Observation:
        """The newest moment at which every stream has a value close enough.

        Raises:
            ObservationError: says which stream is missing, old, skewed or frozen.
        """
        self._follow_clock(now)
        streams = self._streams()
        silent = [s.name for s in streams if not s.stamps]
        if silent:
            raise ObservationError(f"nothing received yet from: {', '.join(silent)}")
        reference, *others = streams
        frozen = [name for name, count in self._same.items() if count + 1 >= self.limits.frozen_after]
        if frozen:
            raise ObservationError(f"camera frozen: {', '.join(frozen)} sent {self.limits.frozen_after} equal images")
        stamp = self._latest_common(reference, others, now)
        oldest, late = min((stream.nearest(stamp)[0], stream.name) for stream in streams)
        if now - oldest > self.limits.max_age_s:
            raise ObservationError(f"{late} is {now - oldest:.3f} s old, allowed {self.limits.max_age_s} s")
        images = {name: stream.nearest(stamp)[1] for name, stream in self.images.items()}
        eef = self.eef.nearest(stamp)[1] if self.needs_eef else None
        return Observation(stamp, images, RobotState(self.joints.nearest(stamp)[1], eef), instruction)

    def ages(self, now: float) -> dict[str, float]:
        """s since the newest stamp of each stream; inf where nothing came."""
        return {s.name: now - s.stamps[-1] if s.stamps else math.inf for s in self._streams()}

    def clear(self) -> None:
        """Forget everything, as after a jump of the clock."""
        for stream in self._streams():
            stream.clear()
        self._same = dict.fromkeys(self._same, 0)

    def _streams(self) -> list[Stream[Any]]:
        """Those that an observation needs, the reference image first."""
        return [*self.images.values(), self.joints, *([self.eef] if self.needs_eef else [])]

    def _latest_common(self, reference: Stream[Any], others: Sequence[Stream[Any]], now: float) -> float:
        """Newest reference stamp to which every other stream has a neighbour within the skew limit.

        The one before it is taken where its images match much better: then those of the newest one are still on
        their way. So what is seen at a moment does not depend on how fast each image travelled.
        """
        worst: tuple[float, str] = (0.0, "")
        newest: tuple[float, float] | None = None  # stamp, and how far the other images are from it
        for stamp in reversed(reference.stamps):
            worst = max((abs(stream.nearest(stamp)[0] - stamp), stream.name) for stream in others)
            fits = worst[0] <= self.limits.max_skew_s
            apart = max(abs(stream.nearest(stamp)[0] - stamp) for stream in self.images.values())
            if newest is None and fits:
                newest = (stamp, apart)
            elif newest is not None:
                oldest = min(stream.nearest(stamp)[0] for stream in (reference, *others))
                better = fits and apart < newest[1] - MATCHED_BETTER_S and now - oldest <= self.limits.max_age_s
                return stamp if better else newest[0]
        if newest is not None:
            return newest[0]
        raise ObservationError(
            f"{worst[1]} is {worst[0]:.3f} s away from {reference.name}, allowed {self.limits.max_skew_s} s"
        )

    def _follow_clock(self, now: float) -> None:
        if now < self._now - self.limits.max_future_s:
            self.clear()
            self._now = now
        self._now = max(self._now, now)
