"""Several processes that train one model, started by torchrun; one alone where it was not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel
from transformers.models.gemma.modeling_gemma import GemmaMLP
from transformers.models.siglip.modeling_siglip import SiglipEncoderLayer

from ..core.errors import TrainingError
from ..model.action_expert import Attention
from ..model.experts import DenseMLP, Experts

SHARDED = (SiglipEncoderLayer, GemmaMLP, Attention, DenseMLP, Experts)  # gathered and let go one after another
PATIENCE = timedelta(hours=12)  # while the first process decodes pictures; torchrun ends those of one that has failed


@dataclass(frozen=True)
class Processes:
    """This process, `rank`, among `count`; each has an equal part of every batch, in the order of the ranks.

    Attributes:
        local: its number on its machine.
    """

    rank: int = 0
    count: int = 1
    local: int = 0

    def mine(self, whole: int) -> slice:
        """Which of so many, a multiple of `count`, are this process's."""
        part = whole // self.count
        return slice(self.rank * part, (self.rank + 1) * part)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Inside, the first process of a machine is alone on it: the others find what it has made.

        Where it fails, torchrun ends all.
        """
        if self.local:
            self.total(0.0)
        yield
        if not self.local:
            self.total(0.0)

    def total(self, value: float) -> float:
        """The sum over all processes."""
        if self.count == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(told)
        return float(told)

    def parallel(self, module: nn.Module, sharded: bool) -> nn.Module:
        """The module, whose gradients are those of all processes together.

        Args:
            sharded: whether each keeps only its part of the weights and of what belongs to them (FSDP2); else each
                keeps a whole copy (DDP).
        """
        if self.count == 1:
            return module
        if not sharded:  # the prefix's last layer, and experts that nobody chose, have no part in a step
            return DistributedDataParallel(module, find_unused_parameters=True)
        for inner in [m for m in module.modules() if isinstance(m, SHARDED)]:
            fully_shard(inner)
        return fully_shard(module, reshard_after_forward=True)

    def gathered(self, x: Tensor) -> Tensor:
        """The parts of all processes along the first axis; gradients go back to each."""
        return x if self.count == 1 else torch.cat(all_gather(x.contiguous()))


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """Inside, every process has all weights of a sharded module; they are for reading."""
    parts = [m for m in module.modules() if isinstance(m, FSDPModule)]
    for part in parts:
        part.set_reshard_after_forward(False, recurse=False)
        part.unshard()
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


@contextmanager
def joined(device: str) -> Iterator[tuple[Processes, str]]:
    """The processes that torchrun has started, and the device of this one: each has a GPU of its own.

    Raises:
        TrainingError: a machine has fewer GPUs than processes.
    """
    if "RANK" not in os.environ:
        yield Processes(), device
        return
    local, backend = int(os.environ["LOCAL_RANK"]), "gloo"
    if device.startswith("cuda"):
        if local >= (there := torch.cuda.device_count()):
            raise TrainingError(f"{local + 1} processes, {there} GPUs; torchrun --nproc-per-node {there}")
        device, backend = f"cuda:{local}", "cpu:gloo,cuda:nccl"  # sums of numbers go over the CPU
        torch.cuda.set_device(device)
    dist.init_process_group(backend, timeout=PATIENCE)
    try:
        yield Processes(dist.get_rank(), dist.get_world_size(), local), device
    finally:
        dist.destroy_process_group()
