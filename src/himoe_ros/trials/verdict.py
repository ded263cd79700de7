"""What a judge says of a trial, and what every judge means by resting and upright."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

RESTING_SPEED_M_S, RESTING_S = 0.02, 0.5
UPRIGHT = 0.94  # cosine of 20 degrees


@dataclass(frozen=True)
class Verdict:
    """What has happened so far. Everything but `wrong_target` stays once it is true.

    Attributes:
        stages: stage -> reached, in the order of the protocol.
        wrong_object: something else was lifted; its name, or "".
        wrong_target: the named thing, once lifted, now rests in the same way with another of the target's kind.
    """

    stages: Mapping[str, bool] = field(default_factory=dict)
    wrong_object: str = ""
    wrong_target: str = ""

    @property
    def success(self) -> bool:
        """The last stage is reached."""
        return bool(self.stages) and list(self.stages.values())[-1]
