"""Several processes that train one model, started by torchrun; one alone where it was not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.nn.functional import all_gather


@dataclass(frozen=True)
class Processes:
    """This process, `rank`, among `count`; each has an equal part of every batch, in the order of the ranks."""

    rank: int = 0
    count: int = 1

    def mine(self, whole: int) -> slice:
        """Which of so many, a multiple of `count`, are this process's."""
        part = whole // self.count
        return slice(self.rank * part, (self.rank + 1) * part)

    @contextmanager
    def first_alone(self) -> Iterator[None]:
        """Inside, the first process is alone: the others find what it has made. Where it fails, torchrun ends all."""
        if self.rank:
            dist.barrier()
        yield
        if self.count > 1 and self.rank == 0:
            dist.barrier()

    def total(self, value: float) -> float:
        """The sum over all processes."""
        if self.count == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64)
        dist.all_reduce(told)
        return float(told)

    def gathered(self, x: Tensor) -> Tensor:
        """The parts of all processes along the first axis; gradients go back to each."""
        return x if self.count == 1 else torch.cat(all_gather(x.contiguous()))


@contextmanager
def joined(device: str) -> Iterator[Processes]:
    """The processes that torchrun has started."""
    if "RANK" not in os.environ:
        yield Processes()
        return
    dist.init_process_group("nccl" if device.startswith("cuda") else "gloo")
    try:
        yield Processes(dist.get_rank(), dist.get_world_size())
    finally:
        dist.destroy_process_group()
