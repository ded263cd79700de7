"""A model where it runs: on a CPU as it comes, on a GPU from graphs that were captured once."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ..model.captured import CapturedSampler, shape_of
from ..model.chunking import Guidance
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs
from ..model.packed import multiplies_bfloat16
from .stopwatch import Stopwatch

T = TypeVar("T", ModelInputs, Guidance)


class Sampler:
    """Inputs and noise on the CPU -> actions on the CPU."""

    def __init__(self, model: HiMoEVLA, device: str, expert_weights: str = "") -> None:
        """
        Args:
            model: trained or not; it is moved, and laid out for that device; in float32 where that has no bfloat16.
            device: `cpu`, or a GPU; see chosen_device.
            expert_weights: see HiMoEVLA.arrange.
        """
        if not multiplies_bfloat16(device):
            model = model.float()
        self.model = model.to(device).eval().arrange(expert_weights)
        self._device = torch.device(device)
        self._graphs: dict[tuple, CapturedSampler] = {}

    @property
    def words(self) -> int:
        """To how many words sentences are padded, so that one graph serves all of them; 0 for as many as there are."""
        return 0 if self._device.type == "cpu" else self.model.config.max_text_tokens

    def __call__(self, inputs: ModelInputs, noise: Tensor, guidance: Guidance | None, watch: Stopwatch) -> Tensor:
        """See HiMoEVLA.sample_actions; parts of the work are told to the watch once they are done."""
        if self._device.type == "cpu":
            return self.model.sample_actions(inputs, noise, guidance, watch.mark)

        def mark(part: str) -> None:
            torch.cuda.synchronize(self._device)
            watch.mark(part)

        if guidance is not None:
            there = self._there(inputs), noise.to(self._device), self._there(guidance)
            return self.model.sample_actions(*there, mark).cpu()
        shape = shape_of(inputs)
        if shape not in self._graphs:
            self._graphs[shape] = CapturedSampler(self.model, self._there(inputs), noise.to(self._device))
        return self._graphs[shape](inputs, noise, mark).cpu()

    def _there(self, values: T) -> T:
        """On the model's device."""
        tensors = {name: t for name, t in vars(values).items() if t is not None}
        return replace(values, **{name: t.to(self._device) for name, t in tensors.items()})
