"""The judge that knows a protocol."""

from __future__ import annotations

from typing import Protocol as Interface

from .fold_judge import FOLD, FoldJudge
from .judge import Judge
from .protocol import Protocol, Setting
from .reward_judge import REWARDED, RewardJudge
from .scoop_judge import SCOOP, ScoopJudge
from .truth import Truth
from .verdict import Verdict


class AnyJudge(Interface):
    """Watches a trial and remembers what it saw."""

    @property
    def verdict(self) -> Verdict:
        """The verdict after the last observation."""

    def observe(self, truth: Truth) -> Verdict:
        """Take in one moment, in order of time."""


def judge_of(protocol: Protocol, setting: Setting) -> AnyJudge:
    """A judge of one trial.

    Raises:
        ConfigError: no judge knows the protocol's stages or things.
    """
    if list(protocol.stages) == REWARDED:
        return RewardJudge(protocol)
    if list(protocol.stages) == FOLD:
        return FoldJudge(protocol, setting)
    return (ScoopJudge if list(protocol.stages) == SCOOP else Judge)(protocol, setting)
