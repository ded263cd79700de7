"""A HiMoE-VLA in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from ..core.committed import Committed
from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import InferenceError
from ..core.observation import ActionChunk, Floats, Observation, RobotState
from ..core.unified import encode_state, scatter
from ..model.chunking import Guidance
from ..model.config import load_model_config, preset_tokenizer
from ..model.folder import STATISTICS, TOKENIZER, find_folder, load_config, load_model
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs, check_values
from .processing import (
    action_chunk,
    model_actions,
    model_image,
    model_state,
    require_cameras,
    robot_targets,
    step_times,
)
from .sampler import Sampler
from .statistics import Statistics, statistics_from_limits
from .stopwatch import Stopwatch
from .tokenizer import InstructionTokenizer


class LocalPolicy:
    """Processing around a model: Observation -> ActionChunk."""

    def __init__(
        self,
        model: HiMoEVLA,
        tokenizer: InstructionTokenizer,
        statistics: Statistics,
        embodiment: Embodiment,
        space: ActionSpace,
        description: str,
        device: str = "cpu",
        expert_weights: str = "",
    ) -> None:
        statistics.require(embodiment, space)
        self._sampler = Sampler(model, device, expert_weights)
        self._model = self._sampler.model
        self._tokenizer = tokenizer
        self._statistics = statistics
        self._numbers = model.config.expert.conditioning != "mask"
        self._embodiment = embodiment
        self.space = space
        self.description = f"{description}, experts in {expert_weights}" if expert_weights else description
        self.took: Mapping[str, float] = {}
        self._noise = torch.Generator()
        self.reseed(0)

    def reseed(self, seed: int) -> None:
        """From now on the noise that plans begin as goes on from this seed."""
        self._noise.manual_seed(seed)

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        """See Policy.act. Views the embodiment does not have are left out, not filled in."""
        (chunk,) = self.act_together([observation], [committed])
        return chunk

    def act_together(
        self, observations: Sequence[Observation], committed: Sequence[Committed | None] = ()
    ) -> list[ActionChunk]:
        """Plan from several observations of robots of one kind at once; raises as Policy.act.

        Args:
            committed: one for each observation, or none at all.
        """
        config, watch = self._model.config, Stopwatch(time.monotonic)
        states = [encode_state(self._embodiment, self.space, o.state) for o in observations]
        words = [self._tokenizer(o.instruction) for o in observations]
        length = max(self._sampler.words, *map(len, words))
        told = torch.tensor([[*w, *[0] * (length - len(w))] for w in words])
        heard = torch.tensor([[i < len(w) for i in range(length)] for w in words])
        normalised = [model_state(state, self.space.mask, self._statistics.state) for state in states]
        inputs = ModelInputs(
            images=torch.from_numpy(np.stack([self._views(o) for o in observations])),
            view_mask=None,
            tokens=told,
            token_mask=None if bool(heard.all()) and not self._sampler.words else heard,
            state=torch.from_numpy(np.stack(normalised)),
            data_mask=torch.from_numpy(self.space.mask.astype(np.float32)).expand(len(states), -1),
            space=torch.full((len(states),), self._statistics.space) if self._numbers else None,
        )
        check_values(inputs, config)
        shape = len(states), config.chunk_steps, config.action_dim
        noise = config.temperature * torch.randn(shape, generator=self._noise)
        guidance = self._guidance(observations, states, committed) if any(committed) else None
        watch.mark("inputs")
        actions = self._sample(inputs, noise, guidance, watch).numpy()
        plans = [
            action_chunk(self.space, robot_targets(self.space, a, state, self._statistics.action), o.stamp)
            for a, state, o in zip(actions, states, observations, strict=True)
        ]
        watch.mark("targets")
        self.took = watch.took
        return plans

    def _guidance(
        self, observations: Sequence[Observation], states: Sequence[Floats], committed: Sequence[Committed | None]
    ) -> Guidance:
        """What the robots do meanwhile, as the model tells actions; of those that do nothing in particular, nothing."""
        config, space = self._model.config, self.space
        actions = np.zeros((len(states), config.chunk_steps, config.action_dim), np.float32)
        weights = np.zeros(actions.shape[:2], np.float32)
        for i, (observation, state, one) in enumerate(zip(observations, states, committed, strict=True)):
            if one is not None:
                times = observation.stamp + step_times(space, config.chunk_steps)
                targets = np.stack([scatter(space, row) for row in one.steps(space, times)])
                actions[i] = model_actions(space, targets, state, self._statistics.action)
                weights[i] = one.weights(times)
        return Guidance(torch.from_numpy(actions), torch.from_numpy(weights))

    def _views(self, observation: Observation) -> np.ndarray:
        """(V, 3, S, S), in the order of the embodiment's cameras."""
        require_cameras(self._embodiment, observation)
        size = self._model.config.image_size
        return np.stack([model_image(observation.images[c.name], size) for c in self._embodiment.cameras])

    def _sample(
        self, inputs: ModelInputs, noise: torch.Tensor, guidance: Guidance | None, watch: Stopwatch
    ) -> torch.Tensor:
        try:
            return self._sampler(inputs, noise, guidance, watch)
        except (RuntimeError, MemoryError) as error:  # torch tells of lost memory and devices so
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise InferenceError(
                f"expected a plan from {self.description}, its inference failed ({reason}); "
                "free memory or choose a smaller policy"
            ) from error

    @property
    def image_size(self) -> int:
        """px, of the square pictures that the model sees."""
        return self._model.config.image_size

    def warm_up(self) -> None:
        """See Policy.warm_up."""
        size = self.image_size
        images = {c.name: np.zeros((size, size, 3), np.uint8) for c in self._embodiment.cameras}
        joints = dict.fromkeys(self._embodiment.joint_names, 0.0)
        for _ in range(2):
            self.act(Observation(0.0, images, RobotState(joints, np.eye(4)), "warm up"))


def untrained_policy(
    preset: str,
    models: Path,
    embodiment: Embodiment,
    space: ActionSpace,
    seed: int = 0,
    device: str = "cpu",
    expert_weights: str = "",
) -> LocalPolicy:
    """A policy with random weights, of a preset in config/models: moves, but knows nothing.

    Args:
        preset: name of `<models>/<preset>.yaml`; it, or its base, has a `.tokenizer.json` beside it.
    """
    config = load_model_config(preset, models)
    vocabulary = preset_tokenizer(preset, models)
    return LocalPolicy(
        HiMoEVLA(config).initialise(seed).bfloat16(),  # in which a trained one is kept
        InstructionTokenizer.load(vocabulary, config.max_text_tokens),
        statistics_from_limits(embodiment, space),
        embodiment,
        space,
        f"{preset}, UNTRAINED: random weights, seed {seed}",
        device,
        expert_weights,
    )


def load_policy(
    name_or_folder: str | Path,
    embodiment: Embodiment,
    space: ActionSpace,
    device: str = "cpu",
    expert_weights: str = "",
) -> LocalPolicy:
    """A trained policy, from a policy folder or from Hugging Face (`org/name`); see Sampler for its dtype.

    Raises:
        ConfigError: a file is missing or broken, or the policy is for another robot or action space.
    """
    folder = find_folder(name_or_folder)
    # The small files first: whatever they say is said before gigabytes are read.
    statistics = Statistics.load(folder / STATISTICS)
    statistics.require(embodiment, space)
    tokenizer = InstructionTokenizer.load(folder / TOKENIZER, load_config(folder).max_text_tokens)
    model = load_model(folder)
    description = f"{model.config.name} from {name_or_folder}"
    return LocalPolicy(model, tokenizer, statistics, embodiment, space, description, device, expert_weights)
