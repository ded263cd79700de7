"""The judge that knows a protocol."""

from __future__ import annotations

from .judge import Judge
from .protocol import Protocol, Setting
from .scoop_judge import SCOOP, ScoopJudge


def judge_of(protocol: Protocol, setting: Setting) -> Judge | ScoopJudge:
    """A judge of one trial.

    Raises:
        ConfigError: no judge knows the protocol's stages or things.
    """
    return (ScoopJudge if list(protocol.stages) == SCOOP else Judge)(protocol, setting)
