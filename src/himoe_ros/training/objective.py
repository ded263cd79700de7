"""What training minimises: the flow loss over valid slots and steps, the routers' regularisation, and grounding.

Shapes: B observations, K flow samples of each, T chunk steps, A = 24 slots, N things that may be seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..model.flow import flow_loss, interpolate
from ..model.himoe import HiMoEVLA
from ..model.inputs import ModelInputs
from ..model.regularisation import routing_losses
from .grounding import Grounding, GroundTruth
from .processes import Processes

LATEST, SPAN = 0.001, 0.999  # times lie in [LATEST, LATEST + SPAN]: never at the actions themselves
BETA = 1.5


@dataclass(frozen=True)
class Batch:
    """One batch.

    Attributes:
        inputs: what the model sees.
        actions: (B, T, A) normalised, relative where the action space says so.
        valid: (B, T) bool, False where the episode had ended.
        imitated: (B,) bool, False where the sentence is not the one that was acted on.
        truth: where things are; None without grounding.
    """

    inputs: ModelInputs
    actions: Tensor
    valid: Tensor
    imitated: Tensor
    truth: GroundTruth | None = None

    @property
    def weights(self) -> Tensor:
        """(B, T, A) 1 for what is learned from, else 0."""
        steps = self.valid & self.imitated[:, None]
        return steps[:, :, None] * self.inputs.data_mask[:, None, :]

    def rows(self, some: slice) -> Batch:
        """These observations alone."""
        return _each(self, lambda tensor: tensor[some])

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        return _each(self, lambda tensor: tensor.to(device, non_blocking=True))


def _each(part: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """A batch or a part of it, every tensor of which is changed."""
    if isinstance(part, Tensor):
        return change(part)
    if part is None:
        return None
    return replace(part, **{name: _each(value, change) for name, value in vars(part).items()})


def sample_times(count: int, generator: torch.Generator, sampler: str = "beta") -> Tensor:
    """(count,) times of the flow: Beta(1.5, 1) scaled to [0.001, 1], mostly near the noise.

    Args:
        sampler: `beta`, or `released`: as the authors' code draws, whose mean is 0.558 instead of 0.600.
    """
    u = torch.rand(count, generator=generator) ** (1.0 / BETA)
    if sampler == "released":  # Johnk's method without its rejection
        u = u / (u + torch.rand(count, generator=generator))
    return LATEST + SPAN * u


def tell_steps(t: Tensor, chunk_steps: int, most: int, generator: torch.Generator) -> Tensor:
    """(B,) times -> (B, T): of each chunk so many first steps are told, 0 .. `most`, whose time is 0 (2512.05964)."""
    told = torch.randint(most + 1, (len(t), 1), generator=generator)
    return torch.where(torch.arange(chunk_steps) < told, 0.0, t[:, None])


def learned_from(batch: Batch, t: Tensor) -> Tensor:
    """(B K, T, A) 1 for what is learned from at these times, (B K,) or (B K, T), else 0."""
    return batch.weights.repeat_interleave(len(t) // len(batch.actions), 0) * (t > 0).view(len(t), -1, 1)


class Objective(nn.Module):
    """The model and what is learned beside it, as one module, so that a parallel wrapper sees every parameter."""

    def __init__(self, model: HiMoEVLA, grounding: Grounding | None, processes: Processes | None = None) -> None:
        super().__init__()
        self.model = model
        self.grounding = grounding
        self._processes = processes or Processes()

    def forward(self, batch: Batch, noise: Tensor, t: Tensor) -> dict[str, Tensor]:
        """Losses by name.

        Args:
            noise: (B K, T, A) standard normal, K in a row for each observation.
            t: (B K,) times, or (B K, T): 0 for steps that are told, from which nothing is learned.

        Returns:
            "flow": mean squared error of the velocity over what is learned from; "as" and "hb": regularisation of the
            routers, weighted; with grounding "grounding": weighted.
        """
        times = len(noise) // len(batch.actions)
        context = self.model.encode(batch.inputs)
        actions, mask = (x.repeat_interleave(times, 0) for x in (batch.actions, batch.inputs.data_mask))
        x, wanted = interpolate(noise, actions, t)
        velocity, routing = self.model.denoise(batch.inputs, context, x, t)
        losses = {"flow": flow_loss(velocity, wanted, learned_from(batch, t))}
        # Tokens are compared with those of the whole batch, wherever they were computed.
        everywhere = {layer: self._processes.gathered(p) for layer, p in routing.items()}
        losses |= routing_losses(self.model.config, everywhere, self._processes.gathered(mask))
        if self.grounding is not None and batch.truth is not None:
            losses["grounding"] = self.grounding(context, batch.truth)
        return losses
