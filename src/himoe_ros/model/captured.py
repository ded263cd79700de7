"""A chunk's work on a GPU, captured once and replayed: one graph for the prefix, one for the whole flow.

Launching some thousand small kernels costs a CPU more time than they take; replaying a graph of them costs nothing.
Shapes and addresses are fixed, so memory is too, once a graph is there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import torch
from torch import Tensor

from .chunking import FLOW, PREFIX
from .himoe import HiMoEVLA, unmarked
from .inputs import ModelInputs, check_inputs

WARM_UP = 3  # runs before the capture, in which libraries choose their kernels and take their memory


class CapturedSampler:
    """HiMoEVLA.sample_actions, without guidance, for inputs of one shape."""

    def __init__(self, model: HiMoEVLA, like: ModelInputs, noise: Tensor) -> None:
        """
        Args:
            model: on the GPU, in evaluation mode; its weights may not move afterwards.
            like: inputs of that shape, on the GPU.
            noise: (B, T, A) on the GPU.

        Raises:
            ObservationError: inputs that do not fit the model.
        """
        check_inputs(like, model.config)
        self._inputs = ModelInputs(**{f.name: _copied(getattr(like, f.name)) for f in fields(like)})
        self._noise = noise.clone()
        self._prefix, self._flow = torch.cuda.CUDAGraph(), torch.cuda.CUDAGraph()
        stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
        stream.wait_stream(current)
        with torch.inference_mode():
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP):
                    model.flow(self._inputs, model.encode(self._inputs), self._noise)
            current.wait_stream(stream)
            with torch.cuda.graph(self._prefix):
                self._context = model.encode(self._inputs)
            with torch.cuda.graph(self._flow):
                self._actions = model.flow(self._inputs, self._context, self._noise)

    def __call__(self, inputs: ModelInputs, noise: Tensor, mark: Callable[[str], None] = unmarked) -> Tensor:
        """See HiMoEVLA.sample_actions.

        Args:
            inputs, noise: of the shape of the first ones, on any device.
        """
        with torch.inference_mode():
            for field in fields(inputs):
                mine = getattr(self._inputs, field.name)
                if mine is not None:
                    mine.copy_(getattr(inputs, field.name), non_blocking=True)
            self._noise.copy_(noise, non_blocking=True)
            self._prefix.replay()
            mark(PREFIX)
            self._flow.replay()
            mark(FLOW)
            return self._actions.clone()


def shape_of(inputs: ModelInputs) -> tuple[tuple[int, ...] | None, ...]:
    """What must be equal for a graph to serve."""
    return tuple(None if t is None else tuple(t.shape) for t in (getattr(inputs, f.name) for f in fields(inputs)))


def _copied(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.clone()
