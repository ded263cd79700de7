"""Which parts of a model are trained, and how they begin: frozen, updated at low rank, anew, or from a dense model.

Parts: `vision` (SigLIP and its projector), `language` (Gemma), `expert` (the action expert's layers), `projections`
(states, actions and times in, velocities out).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.nn.utils import parametrize

from ..core.errors import TrainingError
from ..model.experts import DenseMLP, Experts
from ..model.folder import parameters_on_meta
from ..model.himoe import HiMoEVLA
from ..model.moe import ActionSpaceMoE, AdaMoE, HeterogeneityBalancingMoE, upcycle
from .config import Tuning

MIXTURES = (ActionSpaceMoE, HeterogeneityBalancingMoE, AdaMoE)
PREFIXES = {"prefix.language_model": "language", "prefix": "vision", "expert": "expert"}  # else `projections`


def part_of(name: str) -> str:
    """The part that a parameter or module belongs to."""
    return next((part for prefix, part in PREFIXES.items() if f"{name}.".startswith(f"{prefix}.")), "projections")


def tune(model: HiMoEVLA, tuning: Tuning, seed: int, precision: torch.dtype) -> None:
    """Prepare a model in place. What is trained is float32; what is frozen has the precision of the products.

    Args:
        tuning: of the training configuration.
        seed: of whatever begins at random.
        precision: of the run.
    """
    if tuning.reinitialise:  # whole experts and their routers ("init" of the paper's Table 6a)
        model.initialise(seed, MIXTURES)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(part_of(name) not in (*tuning.freeze, *tuning.lora_parts))
    generator = torch.Generator().manual_seed(seed)
    for name, module in list(model.named_modules()):
        if part_of(name) in tuning.lora_parts:
            for weight in _matrices(module):
                update = LowRank(getattr(module, weight), tuning.lora_rank, tuning.lora_alpha, generator)
                parametrize.register_parametrization(module, weight, update, unsafe=True)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(torch.float32 if parameter.requires_grad else precision)


class LowRank(nn.Module):
    """W + alpha / rank * up down (LoRA, arXiv 2106.09685), for a matrix or a stack of them; 0 at first."""

    def __init__(self, weight: Tensor, rank: int, alpha: float, generator: torch.Generator) -> None:
        super().__init__()
        *stack, outputs, inputs = weight.shape
        self.down = nn.Parameter(torch.randn(*stack, rank, inputs, generator=generator) / inputs**0.5)
        self.up = nn.Parameter(torch.zeros(*stack, outputs, rank))
        self.scale = alpha / rank

    def forward(self, weight: Tensor) -> Tensor:
        return weight + (self.scale * (self.up @ self.down)).to(weight.dtype)


@torch.no_grad()
def merged(model: HiMoEVLA, dtype: torch.dtype) -> HiMoEVLA:
    """A model in another dtype, of which low-rank updates are part of the weights: a plain one again, on the CPU.

    It is a copy of what would go: gathered weights of a sharded model are let go.
    """
    gathered = any(isinstance(module, FSDPModule) for module in model.modules())

    def weight(name: str) -> Tensor:
        place, _, own = name.rpartition(".")
        return getattr(model.get_submodule(place), own).detach().to("cpu", dtype, copy=gathered)

    with parameters_on_meta():
        plain = HiMoEVLA(model.config)
    plain.load_state_dict({name: weight(name) for name in plain.state_dict()}, assign=True)
    return plain


@torch.no_grad()
def upcycled(model: HiMoEVLA, dense: HiMoEVLA, noise: float, seed: int) -> HiMoEVLA:
    """An AdaMoE that begins as a trained dense model: every expert is a copy of the layer's feed-forward part.

    Args:
        model: whose weights are filled in place.
        dense: of the same widths, without experts in those layers.
        noise: see `upcycle`.

    Raises:
        TrainingError: the two do not fit.
    """
    generator = torch.Generator().manual_seed(seed)
    theirs = dict(dense.named_parameters())
    mixed = {f"expert.layers.{i}.mlp." for i, layer in enumerate(model.expert.layers) if isinstance(layer.mlp, AdaMoE)}
    if not mixed:
        raise TrainingError(f"upcycle: {model.config.name} has no AdaMoE layer; choose a preset that has some")
    for layer, other in zip(model.expert.layers, dense.expert.layers, strict=False):
        if isinstance(layer.mlp, AdaMoE):
            if not isinstance(other.mlp, DenseMLP):
                raise TrainingError(f"upcycle: {dense.config.name} has experts itself; expected a dense policy")
            upcycle(layer.mlp, other.mlp, noise, generator)
    for name, parameter in model.named_parameters():
        if any(name.startswith(prefix) for prefix in mixed):
            continue
        if name not in theirs or theirs[name].shape != parameter.shape:
            raise TrainingError(
                f"upcycle: expected {name} of shape {tuple(parameter.shape)} in {dense.config.name}; "
                "choose a preset that differs from it in its AdaMoE layers only"
            )
        parameter.copy_(theirs[name])
    return model


def _matrices(module: nn.Module) -> tuple[str, ...]:
    """Names of the weights that products are made with."""
    if isinstance(module, nn.Linear):
        return ("weight",)
    return ("gate_up_proj", "down_proj") if isinstance(module, Experts) else ()
