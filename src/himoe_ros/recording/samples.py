"""What a policy is trained on: a dataset as samples in the unified vector, at random and each decoded once.

A dataset of `himoe export` needs no description: its vectors are unified already. Others are described by a file of
config/datasets: which of their columns fill which slots, and which camera is which view.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.embodiment import SLOTS, ActionSpace, Embodiment
from ..core.errors import ConfigError
from ..core.observation import Floats, Image
from ..core.reading import load_yaml, mapping, text
from .lerobot_reader import LeRobotData
from .normalisation import step_rows

UNUSED = "unused"  # name of columns that are no slots
KEPT_EPISODES = 4096  # of numbers alone: some hundred MB


@dataclass(frozen=True)
class Columns:
    """Of a feature of so many: slot -> column."""

    width: int
    slots: Mapping[int, int]


@dataclass(frozen=True)
class Layout:
    """Where the parts of a sample lie in a dataset.

    Attributes:
        state, action: feature, and its columns.
        cameras: camera of the embodiment -> feature.
        moves: an action's slots that the space calls delta tell how far the robot goes in a period, not where to; and
            the state may lack slots, which are not known then.
    """

    state: tuple[str, Columns]
    action: tuple[str, Columns]
    cameras: Mapping[str, str]
    moves: bool = False


class Vectors(NamedTuple):
    """Numbers of one episode, (T, 24) each, in the slots of the action space.

    Attributes:
        states: as a policy sees them.
        begins, actions: where each action begins, and ends a period later. They lie on the way that moves add up to
            where a dataset tells moves, which may be another one than that of the states.
    """

    states: Floats
    begins: Floats
    actions: Floats


@dataclass(frozen=True)
class Sample:
    """One observation, and what was done from there on.

    Attributes:
        images: camera -> (H, W, 3) uint8 RGB.
        state: (24,) m, rad, opening; 0 where `known` is.
        known: (24,) 1 where the state tells of a slot.
        mask: (24,) 1 where the action space has a slot.
        actions: (T, 24) absolute targets, one period apart, the first one period after the observation.
        valid: (T,) False where the episode has ended before.
        instruction: in words.
    """

    images: Mapping[str, Image]
    state: Floats
    known: Floats
    mask: Floats
    actions: Floats
    valid: np.ndarray
    instruction: str


class Samples:
    """A dataset in one action space; sample i is frame i of the dataset.

    Attributes:
        stride: frames from one step of a chunk to the next, >= 1.
    """

    def __init__(
        self, data: LeRobotData, layout: Layout, space: ActionSpace, chunk_steps: int, rate_hz: float | None = None
    ) -> None:
        """
        Args:
            data: the dataset.
            layout: of its columns.
            space: of the samples.
            chunk_steps: T.
            rate_hz: of a chunk's steps; that of the space without it, or of the dataset where that is lower.

        Raises:
            ConfigError: the dataset lacks slots that the space has, or its cameras, or is slower than asked for.
        """
        for kind, (feature, columns) in (("state", layout.state), ("action", layout.action)):
            missing = sorted(set(space.slots.tolist()) - set(columns.slots))
            if missing and not (layout.moves and kind == "state"):
                raise ConfigError(f"{data.root}: no column of {kind} '{feature}' fills slots {missing} of {space.name}")
        if absent := sorted(set(layout.cameras.values()) - set(data.cameras)):
            raise ConfigError(f"{data.root} has no cameras {absent}; there are {list(data.cameras)}")
        self._data, self._layout, self._space = data, layout, space
        self.stride = data.fps / (rate_hz or min(space.rate_hz, data.fps))
        if self.stride < 1.0:
            raise ConfigError(f"{data.root} has {data.fps:g} frames a second, a chunk of {rate_hz:g} Hz needs as many")
        for feature, columns in (layout.state, layout.action):
            width = data.features.get(feature, {"shape": [0]})["shape"][0]
            if width != columns.width:
                raise ConfigError(
                    f"{data.root}: '{feature}' has {width} columns, {columns.width} are described; "
                    "name each of them, or call it unused"
                )
        self._steps = chunk_steps
        self._delta = np.zeros(SLOTS)
        self._delta[space.slots[space.delta]] = 1.0
        self._known = np.array([float(slot in layout.state[1].slots) for slot in range(SLOTS)]) * space.mask
        self._kept: OrderedDict[int, Vectors] = OrderedDict()

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> Sample:
        return replace(self.without_pictures(index), images=self.pictures(index))

    def pictures(self, index: int) -> dict[str, Image]:
        """Camera -> (H, W, 3) uint8 RGB of one sample."""
        episode, frame = self._data.place(index)
        return {name: self._data.picture(f, episode, frame) for name, f in self._layout.cameras.items()}

    def without_pictures(self, index: int) -> Sample:
        """A sample for whose images something else cares."""
        if not 0 <= index < len(self):
            raise IndexError(f"expected a sample from 0 to {len(self) - 1}, got {index}")
        episode, frame = self._data.place(index)
        states, begins, actions = self.vectors(episode)
        # Steps are a period of the chunk apart, whatever the dataset's rate: by time, not by index.
        wanted = frame + step_rows(self._steps, self.stride)
        last = len(actions) - 1
        return Sample(
            images={},
            state=states[frame],
            known=self._known,
            mask=self._space.mask,
            actions=actions[np.minimum(wanted, last)] + self._delta * (states[frame] - begins[frame]),
            valid=wanted <= last,
            instruction=self._data.episodes[episode].task,
        )

    def vectors(self, episode: int) -> Vectors:
        """Numbers of one episode."""
        if episode not in self._kept:
            (state, _), (action, _) = self._layout.state, self._layout.action
            columns = self._data.columns(episode, sorted({state, action}))
            states, actions = self._placed(columns, self._layout.state), self._placed(columns, self._layout.action)
            begins = states
            if self._layout.moves:
                actions = np.where(self._delta > 0, np.cumsum(actions, axis=0), actions)
                begins = np.vstack([np.zeros(SLOTS), actions[:-1]])
            self._kept[episode] = Vectors(states, begins, actions)
            if len(self._kept) > KEPT_EPISODES:
                self._kept.popitem(last=False)
        return self._kept[episode]

    def _placed(self, columns: Mapping[str, Floats], part: tuple[str, Columns]) -> Floats:
        rows, slots = columns[part[0]], self._space.slots
        placed = np.zeros((len(rows), SLOTS))
        known = [int(slot) for slot in slots if int(slot) in part[1].slots]
        placed[:, known] = rows[:, [part[1].slots[slot] for slot in known]]
        return placed


def shuffled(length: int, seed: int, epoch: int) -> np.ndarray:
    """(length,) every sample once, across episodes; the same for the same seed and epoch."""
    return np.random.default_rng([seed, epoch]).permutation(length)


def own_layout(embodiment: Embodiment) -> Layout:
    """Of what `himoe export` writes."""
    slots = Columns(SLOTS, {slot: slot for slot in range(SLOTS)})
    cameras = {c.name: f"observation.images.{c.name}" for c in embodiment.cameras}
    return Layout(("observation.state", slots), ("action", slots), cameras)


def load_layout(path: Path, embodiment: Embodiment, space: ActionSpace) -> Layout:
    """Read a file of config/datasets: its columns are named in the order of the dataset, by slot names of the space.

    Raises:
        ConfigError: names that the action space does not have.
    """
    d = mapping(load_yaml(path), str(path), ("embodiment", "action_space", "state", "action", "cameras"))
    if (d["embodiment"], d["action_space"]) != (embodiment.name, space.name):
        raise ConfigError(
            f"{path} is for {d['embodiment']}/{d['action_space']}, expected {embodiment.name}/{space.name}"
        )
    cameras = mapping(d["cameras"], f"{path}: cameras")
    if unknown := sorted(set(cameras) - {c.name for c in embodiment.cameras}):
        raise ConfigError(f"{path}: {embodiment.name} has no cameras {unknown}")
    state, action = (read_columns(d[part], space, f"{path}: {part}") for part in ("state", "action"))
    return Layout(state, action, {name: text(f, f"{path}: cameras.{name}") for name, f in cameras.items()})


def read_columns(data: Any, space: ActionSpace, where: str) -> tuple[str, Columns]:
    """A feature, and which of its columns are which slots of the space: {feature: ..., columns: [...]}."""
    d = mapping(data, where, ("feature", "columns"))
    slots = dict(zip(space.names, space.slots.tolist(), strict=True))
    told = d["columns"]
    used = [n for n in told if n != UNUSED] if isinstance(told, list) else []
    if not isinstance(told, list) or set(used) - set(slots) or len(set(used)) != len(used):
        raise ConfigError(
            f"{where}.columns: expected a list of different names out of {list(slots)} or '{UNUSED}', got {told!r}"
        )
    placed = {slots[n]: i for i, n in enumerate(told) if n != UNUSED}
    return text(d["feature"], f"{where}.feature"), Columns(len(d["columns"]), placed)
