"""Trials in simulated time on several cores: `himoe sim trials`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from ..core.embodiment import load_embodiment
from ..core.execution import Execution
from ..core.safety import load_safety
from ..policy.statistics import Statistics
from ..resources import config, statistics_file
from ..trials.protocol import Protocol, load_protocol
from .pool import pooled
from .trials import REPLAN_S, Outcome, Rollouts, require_in_time, scenes


@dataclass(frozen=True)
class Wanted:
    """What to try.

    Attributes:
        protocol: name of a file of config/trials.
        policy: its folder.
        action_space: that it commands.
        spread: m, of things from their places; 0: the protocol's.
        time_limit: s; 0: the protocol's.
        pixels: of the cameras' square images.
        latency: s, of every plan.
        replan: s, between two plans, as far as the way of execution leaves that open.
        execution: how plans follow one another.
    """

    protocol: str
    policy: Path
    action_space: str
    spread: float
    time_limit: float
    pixels: int
    latency: float
    replan: float = REPLAN_S
    execution: Execution = Execution.ASYNCHRONOUS

    def load(self) -> Protocol:
        """The protocol as it is tried."""
        told = load_protocol(self.protocol, config("trials")).widened(self.spread)
        return replace(told, time_limit=self.time_limit or told.time_limit)


class PolicyTrials:
    """Trials of one policy in this process: setting and scene -> outcome."""

    def __init__(self, wanted: Wanted) -> None:
        """
        Raises:
            ConfigError: the policy is for another robot or action space, or has not been trained.
        """
        from ..policy.local import load_policy  # noqa: PLC0415 - torch is slow to import

        self.protocol = wanted.load()
        embodiment = load_embodiment(self.protocol.embodiment, config("embodiments"))
        space, safety = embodiment.action_space(wanted.action_space), load_safety(config("safety.yaml"))
        self._policy = load_policy(wanted.policy, embodiment, space)
        terms = wanted.pixels, wanted.latency, wanted.replan, wanted.execution
        self._rollouts = Rollouts(self.protocol, embodiment, space, safety, *terms)

    def __call__(self, setting: str, scene: int) -> Outcome:
        """See Rollouts.run."""
        return self._rollouts.run(self._policy, setting, scene)

    def close(self) -> None:
        """Free the drawing context."""
        self._rollouts.close()


def _alone(wanted: Wanted) -> PolicyTrials:
    """For a process that is one of several."""
    import torch  # noqa: PLC0415 - the parent has no need of it

    torch.set_num_threads(1)
    return PolicyTrials(wanted)


def tried(wanted: Wanted, each: int, seed: int, workers: int) -> Iterator[Outcome]:
    """Run `each` trials of every setting, in scenes that the seed decides; outcomes in their order.

    Raises:
        ConfigError: the policy is for another robot or action space, or has not been trained, or its plans would be
            too late to be followed.
    """
    require_in_time(wanted.latency, load_safety(config("safety.yaml")))
    protocol = wanted.load()
    embodiment = load_embodiment(protocol.embodiment, config("embodiments"))
    Statistics.load(statistics_file(wanted.policy)).require(embodiment, embodiment.action_space(wanted.action_space))
    yield from pooled(partial(_alone, wanted), scenes(protocol, each, seed), workers)
