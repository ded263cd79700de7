"""What a policy is given and what it answers, as frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class RobotState:
    """Proprioception at one instant.

    Attributes:
        joints: joint name -> position, rad (m for prismatic joints).
        eef: (4, 4) pose of the tool point in the arm's base frame, m; None for robots driven in joints only.
    """

    joints: Mapping[str, float]
    eef: Floats | None = None


@dataclass(frozen=True)
class Observation:
    """Everything the policy sees at one instant.

    Attributes:
        stamp: s, the clock of the message headers; the time of the reference camera's image.
        images: camera name -> (H, W, 3) uint8 RGB.
        state: proprioception nearest to `stamp`.
        instruction: the task in words.
    """

    stamp: float
    images: Mapping[str, Image]
    state: RobotState
    instruction: str


@dataclass(frozen=True)
class ActionChunk:
    """A short plan: absolute targets for named slots at increasing times.

    Attributes:
        stamp: s, the stamp of the observation the plan was made from.
        names: N slot names, each once.
        values: (T, N) m, rad, or gripper opening in [0, 1]; absolute.
        times: (T,) s after `stamp`, the first > 0, strictly increasing.
    """

    stamp: float
    names: tuple[str, ...]
    values: Floats
    times: Floats
