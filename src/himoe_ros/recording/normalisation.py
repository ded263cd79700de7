"""Normalisation statistics of a dataset, in the form in which a policy folder keeps them (its stats.json)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.embodiment import ActionSpace, Embodiment
from ..core.observation import Floats
from ..core.unified import difference
from .bag import write_whole

if TYPE_CHECKING:
    from .export import Terms


def write_normalisation(
    meta: Path, embodiment: Embodiment, vectors: Mapping[str, Sequence[Floats]], training: int, terms: Terms
) -> None:
    """Write `meta/normalisation/<action space>.json` for each action space.

    Args:
        meta: of the dataset.
        vectors: `observation.state` and `action` -> (T, 24) of each episode.
        training: episodes, the first ones, that statistics are of.
        terms: of the export.
    """
    (meta / "normalisation").mkdir(exist_ok=True)
    states, actions = vectors["observation.state"][:training], vectors["action"][:training]
    for space in embodiment.action_spaces.values():
        stride = max(1.0, terms.rate_hz / space.rate_hz)
        steps = [relative_actions(space, s, a, terms.chunk_steps, stride) for s, a in zip(states, actions, strict=True)]
        told = {
            "embodiment": embodiment.name,
            "action_space": space.name,
            "state": moments(np.vstack(states), space),
            "action": moments(np.vstack(steps), space),
        }
        write_whole(meta / "normalisation" / f"{space.name}.json", json.dumps(told, indent=1))


def relative_actions(
    space: ActionSpace, states: Floats, actions: Floats, chunk_steps: int, stride: float = 1.0
) -> Floats:
    """What a policy of this action space has to predict: every step of every chunk that the episode holds.

    Args:
        states: (T, 24) observed.
        actions: (T, 24) absolute, one period after each.
        chunk_steps: of a chunk; those past the episode's end do not count.
        stride: rows from one step to the next, >= 1.

    Returns:
        (K, 24): slots that the space calls delta are relative to the state at the chunk's beginning.
    """
    return np.vstack([_step(space, states, actions, ahead) for ahead in step_rows(chunk_steps, stride)])


def chunk_statistics(
    space: ActionSpace, vectors: Sequence[tuple[Floats, Floats]], chunk_steps: int, stride: float
) -> dict[str, Floats]:
    """As `moments` of `relative_actions`, for each step of a chunk on its own: (chunk_steps, 24) each.

    Args:
        vectors: states and actions of each episode, at least one of which is as long as a chunk.
    """
    told: list[dict[str, list[float]]] = []
    for ahead in step_rows(chunk_steps, stride):  # one after the other: all together they may not fit into memory
        rows = np.vstack([_step(space, states, actions, ahead) for states, actions in vectors])
        told.append(moments(rows, space) if len(rows) else told[-1])  # of those that an episode is long enough for
    return {name: np.array([t[name] for t in told]) for name in told[0]}


def _step(space: ActionSpace, states: Floats, actions: Floats, ahead: int) -> Floats:
    """(K, 24) actions so many rows ahead, of every chunk of an episode that holds them."""
    begin, target = states[: max(len(states) - ahead, 0)], actions[ahead:]
    delta = np.zeros(states.shape[1], dtype=bool)
    delta[space.slots[space.delta]] = True
    return np.where(delta, difference(space, target, begin), target)


def step_rows(chunk_steps: int, stride: float) -> np.ndarray:
    """(chunk_steps,) rows of a dataset, from the one observed, that hold the action of each step of a chunk."""
    return np.round(np.arange(1, chunk_steps + 1) * stride).astype(int) - 1


def moments(rows: Floats, space: ActionSpace) -> dict[str, list[float]]:
    """Mean, standard deviation and exact 1 % and 99 % quantiles of (K, 24); zeros where the space has no slot."""
    told = {
        "mean": rows.mean(0),
        "std": rows.std(0),
        "q01": np.quantile(rows, 0.01, axis=0),
        "q99": np.quantile(rows, 0.99, axis=0),
    }
    return {name: np.where(space.mask > 0, values, 0.0).tolist() for name, values in told.items()}
