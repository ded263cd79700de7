"""`himoe bench rounding`: how far plans move when routed experts are kept in eight bits, on a trained policy's way."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..core.committed import Committed
from ..core.embodiment import END_EFFECTOR, ActionSpace, load_embodiment
from ..core.observation import ActionChunk, Floats, Observation
from ..core.safety import load_safety
from ..model.eight_bit import LARGEST
from ..policy.local import LocalPolicy, load_policy
from ..resources import config, policy_place, require_trained_space
from ..rollout.trials import Rollouts, scenes
from ..trials.protocol import load_protocol

KEPT = "as they are"
PIXELS = 224  # of the cameras' square images


@dataclass(frozen=True)
class RoundingRow:
    """One way to keep the experts.

    Attributes:
        experts: KEPT, int8 or float8.
        plans: that were compared.
        seconds: median of a plan.
        median, largest: unit -> difference from the plan of the weights as they are, over all steps.
    """

    experts: str
    plans: int
    seconds: float
    median: dict[str, float]
    largest: dict[str, float]


class Beside:
    """Plans as the first policy does; the others plan from the same observation and noise, and are compared."""

    def __init__(self, policies: dict[str, LocalPolicy]) -> None:
        self._policies = policies
        self._seed = 0
        self.took: dict[str, list[float]] = {name: [] for name in policies}
        self.apart: dict[str, list[Floats]] = {name: [] for name in policies}  # (T, N) each

    def reseed(self, seed: int) -> None:
        self._seed = seed

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        self._seed += 1
        plans = {}
        for name, policy in self._policies.items():
            policy.reseed(self._seed)
            begin = time.perf_counter()
            plans[name] = policy.act(observation, committed)
            self.took[name].append(time.perf_counter() - begin)
            self.apart[name].append(np.abs(plans[name].values - plans[KEPT].values))
        return plans[KEPT]


def bench_rounding(policy: str, protocol: str, trials: int) -> list[RoundingRow]:
    """Along so many trials of every setting of the protocol, in simulated time.

    Raises:
        ConfigError: the policy has not been trained, or is for another robot than the protocol.
    """
    told = load_protocol(protocol, config("trials"))
    embodiment = load_embodiment(told.embodiment, config("embodiments"))
    space, folder = embodiment.action_space(require_trained_space(policy)), policy_place(policy)
    ways = {KEPT: "", **{kind: kind for kind in LARGEST}}
    beside = Beside({name: load_policy(folder, embodiment, space, "cpu", kind) for name, kind in ways.items()})
    rollouts = Rollouts(told, embodiment, space, load_safety(config("safety.yaml")), PIXELS)
    try:
        for setting, scene in scenes(told, trials, 0):
            rollouts.run(beside, setting, scene)
    finally:
        rollouts.close()
    return [
        RoundingRow(
            name,
            len(plans),
            float(np.median(beside.took[name])),
            dict(_of_units(space, np.median(plans, axis=(0, 1)))),
            dict(_of_units(space, np.max(plans, axis=(0, 1)))),
        )
        for name, plans in beside.apart.items()
    ]


def _of_units(space: ActionSpace, values: Floats) -> Iterator[tuple[str, float]]:
    """(N,) of the slots -> unit and the largest of its slots."""
    own = ["gripper" if n.endswith("gripper") else "m" if n in END_EFFECTOR[:3] else "rad" for n in space.names]
    for unit in dict.fromkeys(own):
        yield unit, float(max(value for value, u in zip(values, own, strict=True) if u == unit))
