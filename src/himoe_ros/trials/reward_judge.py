"""The judge of simulators that judge by themselves: what they reward is what counts."""

from __future__ import annotations

from .protocol import Protocol
from .truth import Truth
from .verdict import Verdict

REWARDED = ["touch", "lift", "reach", "transfer"]  # stages: gym-aloha's rewards 1, 2, 3 and 4


class RewardJudge:
    """Watches a trial and remembers the highest reward."""

    def __init__(self, protocol: Protocol) -> None:
        """
        Args:
            protocol: whose stages are REWARDED.
        """
        self._verdict = Verdict(dict.fromkeys(protocol.stages, False))

    @property
    def verdict(self) -> Verdict:
        """The verdict after the last observation."""
        return self._verdict

    def observe(self, truth: Truth) -> Verdict:
        """Take in one moment; without a reward nothing is reached."""
        reward = truth.reward or 0.0
        reached = {
            stage: before or reward >= level
            for level, (stage, before) in enumerate(self._verdict.stages.items(), start=1)
        }
        self._verdict = Verdict(reached)
        return self._verdict
