"""What a run is judged by on the way: samples that it is not trained on."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..model.flow import flow_loss, interpolate
from .grounding import MEANT, Grounding, GroundTruth
from .objective import Batch, Objective, sample_times


@torch.no_grad()
def held_out(objective: Objective, batch: Batch, std: Tensor, seed: int, at_once: int) -> dict[str, float]:
    """Figures of one batch.

    Args:
        objective: whose parameters are judged, on their device.
        batch: of B samples.
        std: (B, T, A), by which normalised actions are multiplied.
        seed: of noise and times.
        at_once: samples that there is memory for.

    Returns:
        "held_out_flow": the loss; "held_out_slot_N": mean distance of plans from what was done, in m, rad or
        opening; "busiest_expert_N" of a layer: the largest share of tokens that one expert is the first choice of;
        with grounding "meant_right" and, for sentences that nobody acted on, "meant_right_counterfactual": share of
        samples in which both the thing and the place that the sentence means are told nearest to the true ones.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch.actions.shape, generator=generator)
    t = sample_times(len(noise), generator)
    x, wanted = interpolate(noise, batch.actions, t)
    slices = [slice(at, at + at_once) for at in range(0, len(noise), at_once)]
    parts = [_looked_at(objective, batch.rows(some), noise[some], x[some], t[some]) for some in slices]
    velocity, plans, routing, places = zip(*parts, strict=True)
    weights = batch.weights
    told = {"held_out_flow": float(flow_loss(torch.cat(velocity), wanted, weights))}
    error = (torch.cat(plans) - batch.actions).abs() * std * weights
    mean = error.sum((0, 1)) / weights.sum((0, 1)).clamp_min(1e-9)
    told |= {f"held_out_slot_{i}": float(mean[i]) for i in range(len(mean)) if weights[..., i].any()}
    told |= busiest({layer: torch.cat([part[layer] for part in routing]) for layer in routing[0]})
    if batch.truth is not None and places[0] is not None:
        told |= understood(torch.cat(places), batch.truth, batch.imitated)
    return told


def _looked_at(
    objective: Objective, batch: Batch, noise: Tensor, x: Tensor, t: Tensor
) -> tuple[Tensor, Tensor, Mapping[int, Tensor], Tensor | None]:
    """On the CPU, what the model says of b samples: (b, T, A) velocities and plans, routing by layer, places."""
    model, device = objective.model, next(objective.parameters()).device
    batch, noise = batch.to(device), noise.to(device)
    context = model.encode(batch.inputs)
    velocity, routing = model.denoise(batch.inputs, context, x.to(device), t.to(device))
    plans = model.sample_actions(batch.inputs, noise)
    told = objective.grounding is not None and batch.truth is not None
    places = objective.grounding.places(context).cpu() if told else None
    return velocity.float().cpu(), plans.float().cpu(), {layer: p.cpu() for layer, p in routing.items()}, places


def busiest(routing: Mapping[int, Tensor]) -> dict[str, float]:
    """Layer -> share of the expert that most tokens choose first; 1 / E where all are used alike."""
    return {
        f"busiest_expert_{layer}": float(p.flatten(0, 1).argmax(-1).bincount(minlength=p.shape[-1]).max())
        / p.shape[0]
        / p.shape[1]
        for layer, p in routing.items()
    }


def understood(told: Tensor, truth: GroundTruth, imitated: Tensor) -> dict[str, float]:
    """Whether what is told of the things that a sentence means is nearest to these.

    Args:
        told: (B, N + 2, 6), of `Grounding.places`.
        truth: where things are.
        imitated: (B,) bool, False for sentences that nobody acted on.
    """
    places = Grounding.metres(told[:, -MEANT:, :3])
    distance = torch.cdist(places.float(), truth.places).masked_fill(~truth.present[:, None], float("inf"))
    right = (distance.argmin(-1) == truth.meant).all(-1)
    known = truth.present.any(-1)
    shares = {"meant_right": known & imitated, "meant_right_counterfactual": known & ~imitated}
    return {name: float(right[some].float().mean()) for name, some in shares.items() if some.any()}
