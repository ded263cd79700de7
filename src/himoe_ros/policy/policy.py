"""What every policy is to the rest of the house."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from ..core.committed import Committed
from ..core.embodiment import ActionSpace
from ..core.observation import ActionChunk, Observation


class Policy(Protocol):
    """Answers an observation with a plan."""

    @property
    def space(self) -> ActionSpace:
        """The action space of its chunks."""

    @property
    def description(self) -> str:
        """One line for people: which weights these are."""

    @property
    def took(self) -> Mapping[str, float]:
        """Part -> s of the last plan, in their order; empty before the first."""

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        """Plan from this observation.

        Args:
            observation: that the plan begins with.
            committed: what the plan should agree with, where the robot goes on moving meanwhile.

        Raises:
            ObservationError: it is not what the policy was made for.
            InferenceError: the model could not answer; the next try may succeed.
        """

    def warm_up(self) -> None:
        """Run once on made-up input, so that the first real answer is as fast as the others."""
