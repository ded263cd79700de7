"""In which order trials are run: balanced, shuffled by a seed, the same scenes for every policy, policies hidden."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .protocol import Protocol


@dataclass(frozen=True)
class Planned:
    """One trial to run.

    Attributes:
        index: place in the session, 0, 1, ...
        setting: its name in the protocol.
        repetition: of that setting.
        label: A, B, ...: which policy, without telling which.
        scene: seed of the start; the same for every policy of a setting's repetition.
    """

    index: int
    setting: str
    repetition: int
    label: str
    scene: int


def plan(protocol: Protocol, policies: int, seed: int, repetitions: int | None = None) -> list[Planned]:
    """The trials of a session: after each round every setting has been tried once more by every policy.

    Args:
        protocol: whose settings are run.
        policies: how many take part, up to 26.
        seed: the same seed gives the same plan.
        repetitions: of each setting; the protocol's without it.
    """
    if not 1 <= policies <= 26:
        raise ValueError(f"expected 1 to 26 policies, got {policies}")
    rng = np.random.default_rng(seed)
    labels = [chr(ord("A") + i) for i in range(policies)]
    planned: list[Planned] = []
    for repetition in range(protocol.trials_per_setting if repetitions is None else repetitions):
        for setting in rng.permutation(list(protocol.settings)):
            scene = int(rng.integers(1 << 31))
            for label in rng.permutation(labels):
                planned.append(Planned(len(planned), str(setting), repetition, str(label), scene))
    return planned


def hide(policies: Sequence[str], salt: int) -> dict[str, str]:
    """Label -> policy, drawn; kept out of sight until the report."""
    order = np.random.default_rng([salt, 1]).permutation(len(policies))
    return {chr(ord("A") + i): policies[k] for i, k in enumerate(order)}
