"""The judge that knows a protocol."""

from __future__ import annotations

from .judge import Judge
from .protocol import Protocol, Setting
from .reward_judge import REWARDED, RewardJudge
from .scoop_judge import SCOOP, ScoopJudge


def judge_of(protocol: Protocol, setting: Setting) -> Judge | ScoopJudge | RewardJudge:
    """A judge of one trial.

    Raises:
        ConfigError: no judge knows the protocol's stages or things.
    """
    if list(protocol.stages) == REWARDED:
        return RewardJudge(protocol)
    return (ScoopJudge if list(protocol.stages) == SCOOP else Judge)(protocol, setting)
