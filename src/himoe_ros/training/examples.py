"""A mixture of datasets as batches: what the live policy would see, and what was done from there on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment, load_embodiment
from ..core.errors import ConfigError, TrainingError
from ..core.observation import Floats
from ..model.config import HiMoEConfig
from ..model.inputs import ModelInputs
from ..policy.processing import model_actions, model_state, resize_with_pad, scale_pixels
from ..policy.statistics import Normalizer, Statistics
from ..policy.tokenizer import InstructionTokenizer
from ..recording.data_robots import data_robot
from ..recording.lerobot import WORLD
from ..recording.lerobot_reader import LeRobotData
from ..recording.normalisation import chunk_statistics, moments
from ..recording.samples import Layout, Samples, load_layout, own_layout
from .augmentation import recoloured, reframed
from .config import Member, TrainingConfig
from .grounding import GroundTruth
from .meanings import Meaning
from .objective import Batch
from .pictures import kept_pictures
from .processes import Processes

ON_TABLE_M = -1.0  # what lies farther back waits on the simulator's shelf


@dataclass
class Source:
    """One dataset of the mixture, ready to be read.

    Attributes:
        member: as configured.
        data, samples: numbers and pictures.
        training, held_out: numbers of samples.
        pictures: camera -> (frames, S, S, 3) uint8, where they are kept.
    """

    member: Member
    embodiment: Embodiment
    space: ActionSpace
    data: LeRobotData
    samples: Samples
    pictures: Mapping[str, np.ndarray]
    training: np.ndarray
    held_out: np.ndarray
    _world: dict[int, Floats] = field(default_factory=dict)

    @property
    def key(self) -> tuple[str, str]:
        """For whom its statistics hold."""
        return self.embodiment.name, self.space.name

    def tool(self, state: Floats) -> Floats:
        """(3,) m, of the tool that picks things up, out of a (24,) state: the last arm's."""
        if self.embodiment.tells_tool and self.space.names[0] in END_EFFECTOR:
            return state[:3]
        arm = self.embodiment.arms[-1]
        return arm.forward(state[arm.first_slot : arm.first_slot + len(arm.joints)])[:3, 3]

    def world(self, index: int, names: Sequence[str]) -> Floats:
        """(N, 3) m, true places of N things, always the same ones; NaN for what is not there."""
        episode, frame = self.data.place(index)
        if WORLD not in self.data.features:
            return np.full((len(names), 3), np.nan)
        if episode not in self._world:
            columns = self.data.columns(episode, [WORLD])[WORLD]
            at = {label: i for i, label in enumerate(self.data.features[WORLD]["names"])}
            places = np.full((len(columns), len(names), 3), np.nan)
            for n, name in enumerate(names):
                if f"{name}.x" in at:
                    places[:, n] = columns[:, [at[f"{name}.{axis}"] for axis in "xyz"]]
            places[places[..., 0] < ON_TABLE_M] = np.nan
            self._world[episode] = places
        return self._world[episode][frame]


def open_sources(config: TrainingConfig, model: HiMoEConfig, embodiments: Path, layouts: Path) -> list[Source]:
    """Open every member of the mixture.

    Raises:
        RecordingError: a dataset cannot be read.
        ConfigError: it does not fit the embodiment or the action space.
        TrainingError: it has no sample to train on.
    """
    return [_opened(member, config, model, embodiments, layouts) for member in config.members]


def _opened(member: Member, config: TrainingConfig, model: HiMoEConfig, embodiments: Path, layouts: Path) -> Source:
    embodiment, space, layout = _described(member, embodiments, layouts)
    data = LeRobotData(member.dataset)
    if not member.layout and data.robot != embodiment.name:
        raise ConfigError(
            f"{member.dataset} was recorded on {data.robot}, the mixture says {embodiment.name}; mend the mixture"
        )
    samples = Samples(data, layout, space, model.chunk_steps, space.rate_hz)
    kept = {c: kept_pictures(data, f, model.image_size) for c, f in layout.cameras.items()} if config.cache else {}
    first, last = (int(n) for n in data.splits.get("train", f"0:{len(data.episodes)}").split(":"))
    episode = np.array([data.place(i)[0] for i in range(len(data))])
    learned = (episode >= first) & (episode < last)
    held_out = np.flatnonzero(~learned)
    if member.episodes is not None:
        if not first <= member.episodes[0] < member.episodes[1] <= last:
            raise TrainingError(
                "{}: the mixture wants episodes {} to {}, its split trains on {} to {}".format(
                    member.dataset, *member.episodes, first, last
                )
            )
        learned &= (episode >= member.episodes[0]) & (episode < member.episodes[1])
    training = np.flatnonzero(learned)
    if not len(training):
        raise TrainingError(f"{member.dataset} has no sample to train on; its split says episodes {first} to {last}")
    return Source(member, embodiment, space, data, samples, kept, training, held_out)


def _described(member: Member, embodiments: Path, layouts: Path) -> tuple[Embodiment, ActionSpace, Layout]:
    """A member's robot, what is learned of it, and how its dataset is read."""
    if member.layout and (only_data := data_robot(layouts / member.layout, member.embodiment)):
        robot, layout = only_data
        return robot, robot.action_space(member.action_space), layout
    robot = load_embodiment(member.embodiment, embodiments)
    space = robot.action_space(member.action_space)
    return robot, space, load_layout(layouts / member.layout, robot, space) if member.layout else own_layout(robot)


def statistics(sources: Sequence[Source], model: HiMoEConfig, floor: tuple[float, float]) -> dict[tuple, Statistics]:
    """For each embodiment and action space, of all its training episodes together, actions step by step.

    Args:
        sources: of the mixture.
        model: its chunk.
        floor: least standard deviations of relative actions: of lengths and joints, and of angles of the tool.
    """
    told: dict[tuple[str, str], Statistics] = {}
    for number, key in enumerate(dict.fromkeys(s.key for s in sources)):
        mine = [s for s in sources if s.key == key]
        episodes = [(s, e) for s in mine for e in sorted({s.data.place(int(i))[0] for i in s.training})]
        vectors = [s.samples.vectors(e) for s, e in episodes]
        space, stride = mine[0].space, mine[0].samples.stride
        action = chunk_statistics(space, [(v.begins, v.actions) for v in vectors], model.chunk_steps, stride)
        least = np.zeros(24)
        least[space.slots] = [floor[1] if a else floor[0] for a in space.angular]
        least[space.slots[~space.delta]] = 0.0
        action["std"] = np.maximum(action["std"], least)
        state = {k: np.array(v) for k, v in moments(np.vstack([v.states for v in vectors]), space).items()}
        told[key] = Statistics(*key, Normalizer(**state), Normalizer(**action), number)
    return told


class Examples(torch.utils.data.Dataset):
    """One example for a key of member, sample and seed."""

    def __init__(
        self,
        config: TrainingConfig,
        model: HiMoEConfig,
        sources: Sequence[Source],
        told: Mapping[tuple, Statistics],
        tokenizer: InstructionTokenizer,
        sentences: Mapping[str, Meaning],
        things: Sequence[str] = (),
    ) -> None:
        """
        Args:
            told: statistics by `Source.key`.
            sentences, things: of the protocols, for grounding; none without it.
        """
        self._config, self._model, self._sources = config, model, sources
        self._statistics, self._tokenizer, self._sentences = told, tokenizer, sentences
        self._things = things
        self._views = max(len(s.embodiment.cameras) for s in sources)

    def __getitem__(self, key: tuple[int, int, int]) -> dict[str, np.ndarray]:
        member, index, seed = key
        source, rng = self._sources[member], np.random.default_rng(seed)
        sample = source.samples.without_pictures(index)
        mine, change = self._statistics[source.key], self._config.augmentation
        if not (np.isfinite(sample.state).all() and np.isfinite(sample.actions).all()):
            raise TrainingError(
                f"{source.member.dataset}: frame {index} holds values that are not finite; leave it out"
            )
        state, known = model_state(sample.state, sample.known, mine.state), sample.known.astype(np.float32)
        state += np.float32(change.state_noise) * rng.standard_normal(24).astype(np.float32) * known
        if rng.random() < change.drop_state:
            state, known = np.zeros_like(state), np.zeros_like(known)
        images, seen = self._pictures(source, index, rng)
        sentence, imitated = self._sentence(sample.instruction, rng)
        told = {
            "images": images,
            "view_mask": seen,
            "tokens": np.array(self._tokenizer(sentence)),
            "state": state,
            "known": known,
            "mask": sample.mask.astype(np.float32),
            "actions": model_actions(source.space, sample.actions, sample.state, mine.action),
            "valid": sample.valid,
            "imitated": np.array(imitated),
            "space": np.array(mine.space),
        }
        if self._config.grounding:
            places = source.world(index, self._things)
            meaning = self._sentences.get(sentence)
            told |= {
                "places": np.nan_to_num(places).astype(np.float32),
                "present": np.isfinite(places).all(-1) & (meaning is not None),
                "tool": source.tool(sample.state).astype(np.float32),
                "meant": np.array(meaning.meant if meaning else (0, 0)),
            }
        return told

    def _pictures(self, source: Source, index: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """(V, S, S, 3) uint8 in the order of the embodiment's cameras, and (V,) which of them are seen."""
        size, cameras = self._model.image_size, [c.name for c in source.embodiment.cameras]
        images = np.zeros((self._views, size, size, 3), np.uint8)
        seen = np.zeros(self._views, bool)
        kept = {name: rows[index] for name, rows in source.pictures.items()} or {
            name: resize_with_pad(image, size) for name, image in source.samples.pictures(index).items()
        }
        for v, name in enumerate(cameras):
            if name in kept:  # a dataset may lack some of them
                images[v], seen[v] = kept[name], True
        change = self._config.augmentation
        if seen.sum() > 1 and rng.random() < change.drop_view:
            lost = int(rng.choice(np.flatnonzero(seen)))
            images[lost], seen[lost] = 0, False
        for v in np.flatnonzero(seen):
            if not source.embodiment.cameras[v].on_wrist and (change.crop or change.rotate):
                images[v] = reframed(images[v], rng, change.crop, change.rotate)
            if change.colour:
                images[v] = recoloured(images[v], rng, change.colour)
        return images, seen

    def _sentence(self, instruction: str, rng: np.random.Generator) -> tuple[str, bool]:
        """What is heard, and whether that is what was done."""
        terms, meaning = self._config.grounding, self._sentences.get(instruction)
        if terms is None or meaning is None:
            return instruction, True
        imitated = rng.random() >= terms.counterfactual
        return str(rng.choice(meaning.same if imitated else meaning.others)), imitated


def drawn(sources: Sequence[Source], seed: int, step: int, batch: int) -> list[tuple[int, int, int]]:
    """Keys of one batch: members by their weights, samples of each at random; a step alone decides which."""
    rng = np.random.default_rng([seed, step])
    weights = np.array([s.member.weight for s in sources])
    members = rng.choice(len(sources), batch, p=weights / weights.sum())
    return [(int(m), int(rng.choice(sources[m].training)), int(rng.integers(1 << 62))) for m in members]


class Steps(torch.utils.data.Sampler):
    """This process's part of the batches of all steps from one on."""

    def __init__(self, sources: Sequence[Source], config: TrainingConfig, first: int, processes: Processes) -> None:
        self._sources, self._config, self._first, self._processes = sources, config, first, processes

    def __iter__(self) -> Iterator[list[tuple[int, int, int]]]:
        batch = self._config.batch
        for step in range(self._first, self._config.steps):
            yield drawn(self._sources, self._config.seed, step, batch)[self._processes.mine(batch)]


def collate(examples: Sequence[Mapping[str, np.ndarray]], words: int = 0) -> Batch:
    """Examples -> one batch, sentences padded to the longest, or to so many words."""
    words = max(words, *(len(e["tokens"]) for e in examples))
    tokens = torch.zeros(len(examples), words, dtype=torch.int64)
    heard = torch.zeros(len(examples), words, dtype=torch.bool)
    for i, e in enumerate(examples):
        tokens[i, : len(e["tokens"])], heard[i, : len(e["tokens"])] = torch.from_numpy(e["tokens"]), True

    def stacked(name: str) -> Tensor:
        return torch.from_numpy(np.stack([e[name] for e in examples]))

    view_mask, mask, known = stacked("view_mask"), stacked("mask"), stacked("known")
    inputs = ModelInputs(
        images=scale_pixels(stacked("images")),
        view_mask=None if bool(view_mask.all()) else view_mask,
        tokens=tokens,
        token_mask=None if bool(heard.all()) else heard,
        state=stacked("state"),
        data_mask=mask,
        space=stacked("space"),
        state_mask=None if torch.equal(known, mask) else known,
    )
    truth = None
    if "places" in examples[0]:
        truth = GroundTruth(stacked("places"), stacked("present"), stacked("tool"), stacked("meant"))
    return Batch(inputs, stacked("actions"), stacked("valid"), stacked("imitated"), truth)
