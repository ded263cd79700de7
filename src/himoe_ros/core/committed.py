"""The plan that a robot follows while the next one is made, as the next one's maker is told of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .embodiment import ActionSpace
from .observation import ActionChunk, Floats


@dataclass(frozen=True)
class Committed:
    """What a new plan should agree with: real-time chunking, arXiv 2506.07339.

    Attributes:
        plan: that is being followed, in the order of the action space.
        until: s, the clock of `plan.stamp`, before its end: by then the new plan is expected. Until then the old one
            is carried out, whatever the new one says.
    """

    plan: ActionChunk
    until: float

    def steps(self, space: ActionSpace, times: Floats) -> Floats:
        """(T, N) targets of the plan at (T,) s, the clock of its stamp."""
        return resampled(self.plan, space, times)

    def weights(self, times: Floats) -> Floats:
        """(T,) how firmly a new plan is bound at these times, s: 1 for what is carried out, 0 after the plan's end.

        Between the two it falls as Eq. 5 of the paper says, there counted in steps.
        """
        end = self.plan.stamp + float(self.plan.times[-1])
        left = np.clip((end - times) / (end - self.until), 0.0, 1.0)
        return np.asarray(left * np.expm1(left) / np.expm1(1.0))


def resampled(plan: ActionChunk, space: ActionSpace, times: Floats) -> Floats:
    """(T, N) targets of a plan at (T,) s, the clock of its stamp: between its steps on straight lines, beyond them as
    its first and last one."""
    values = plan.values.copy()
    values[:, space.angular] = np.unwrap(values[:, space.angular], axis=0)
    at = plan.stamp + plan.times
    return np.stack([np.interp(times, at, column) for column in values.T], axis=1)
