"""Real-time chunking: plans that agree with what the robot does while they are made.

Shapes: B batch, T chunk steps, A = 24 slots.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .action_expert import Suffix
from .flow import flow_times
from .inputs import ModelInputs

if TYPE_CHECKING:
    from .himoe import HiMoEVLA

PREFIX, FLOW = "prefix", "flow steps"  # parts of a plan's time
STRONGEST = 5.0  # beta of arXiv 2506.07339: with five flow steps one of them goes the whole way to what is wanted


@dataclass(frozen=True)
class Guidance:
    """What a chunk should agree with.

    Attributes:
        actions: (B, T, A) normalised.
        weights: (B, T) from 0, free, to 1, carried out whatever the chunk says.
    """

    actions: Tensor
    weights: Tensor

    @property
    def told(self) -> Tensor:
        """(B, T) bool, the steps that are certain."""
        return self.weights >= 1.0


def guidance_strength(t: float) -> float:
    """How strongly the velocity is bent at a time of the flow, 1 noise .. 0 actions (Eq. 2 and 4, tau = 1 - t)."""
    if t >= 1.0:
        return STRONGEST
    return min(STRONGEST, (t**2 + (1 - t) ** 2) / ((1 - t) * t))


def sample_guided(
    model: HiMoEVLA, inputs: ModelInputs, noise: Tensor, guidance: Guidance, mark: Callable[[str], None]
) -> Tensor:
    """As HiMoEVLA.sample_actions, for a model that was not trained to be told a chunk's first steps.

    At every flow step the actions that the velocity leads to are compared with those wanted, and the noisy actions
    are moved by what makes them agree: the error, back through the model (Eq. 1 to 3, "pseudoinverse guidance").
    """
    step = 1.0 / model.config.flow_steps
    weight = guidance.weights[..., None] * inputs.data_mask[:, None]
    with torch.inference_mode(False), torch.no_grad():
        context, state = model.encode(inputs), model.embed_state(inputs)
        mark(PREFIX)
        expert = model.differentiable
        spaces = expert.route(inputs.data_mask)
        x = noise.clone()
        for t in flow_times(model.config.flow_steps):
            time = model.embed_times(torch.full((1,), t, device=x.device))
            with torch.enable_grad():
                x.requires_grad_(True)
                tokens = model.embed_actions(x, time, inputs.space)
                suffix = Suffix(context, x.shape[1])
                hidden, _ = expert(torch.cat([state, tokens], dim=1), spaces, suffix)
                velocity = model.velocity(hidden[:, 1:], inputs.space)
                leads_to = x - t * velocity
            error = weight * (guidance.actions - leads_to)
            (pull,) = torch.autograd.grad(leads_to, x, error)
            x = (x - step * (velocity - guidance_strength(t) * pull)).detach()
        mark(FLOW)
    return x
