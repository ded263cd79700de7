"""Grounding: while it learns, the prefix also tells where each thing is, and which of them the sentence means.

A policy can read off which thing is meant from where the gripper already goes; it then takes the wrong one whenever
nobody has shown it the way. Learned queries look at the prefix and tell places; the policy that is kept has none.

Shapes: B observations, N things, L prefix tokens, C head size.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..model.action_expert import Context
from ..model.config import HiMoEConfig

HEADS = 4
CENTRE_M, SCALE_M = (0.42, 0.0, 0.06), 0.15  # of what stands on the table; places are told in this unit
MEANT = 2  # things that a sentence means: what to take, and where to bring it


@dataclass(frozen=True)
class GroundTruth:
    """What a simulator knows, for training only.

    Attributes:
        places: (B, N, 3) m, base frame of the arm.
        present: (B, N) bool, False where a thing is not there.
        tool: (B, 3) m, tool point.
        meant: (B, 2) int64, which thing to take and where to bring it, by number.
    """

    places: Tensor
    present: Tensor
    tool: Tensor
    meant: Tensor


class Grounding(nn.Module):
    """A query for every thing, one for what to take, one for where to bring it."""

    def __init__(self, config: HiMoEConfig, things: int, weight: float) -> None:
        """
        Args:
            config: of the model whose prefix is read.
            things: N.
            weight: of the loss.
        """
        super().__init__()
        language = config.language
        self.weight = weight
        self._layers = min(2, language.layers)  # the last ones of the prefix
        self.queries = nn.Parameter(torch.randn(self._layers, things + MEANT, HEADS, language.head_dim))
        width = self._layers * HEADS * language.head_dim
        self.tell = nn.Sequential(nn.Linear(width, 128), nn.GELU(), nn.Linear(128, 6))
        self.register_buffer("centre", torch.tensor(CENTRE_M), persistent=False)

    def forward(self, context: Context, truth: GroundTruth) -> Tensor:
        """The weighted loss: places on the table and relative to the tool, of all things and of those meant."""
        told = self.places(context)
        wanted = torch.cat([truth.places, torch.gather(truth.places, 1, truth.meant[..., None].expand(-1, -1, 3))], 1)
        known = torch.cat([truth.present, torch.gather(truth.present, 1, truth.meant)], 1)
        absolute, relative = (wanted - self.centre) / SCALE_M, (wanted - truth.tool[:, None]) / SCALE_M
        error = F.smooth_l1_loss(told, torch.cat([absolute, relative], -1), reduction="none", beta=0.1).mean(-1)
        # Where a thing is can be seen; which one is meant must be understood, and counts as much as all of them.
        count = known.new_tensor(
            [1.0] * truth.present.shape[1] + [truth.present.shape[1] / MEANT] * MEANT, dtype=error.dtype
        )
        share = known * count
        return self.weight * (error * share).sum() / share.sum().clamp_min(1.0)

    @staticmethod
    def metres(told: Tensor) -> Tensor:
        """(..., 3) m, base frame of the arm, of the first three that `places` tells."""
        return told * SCALE_M + told.new_tensor(CENTRE_M)

    def places(self, context: Context) -> Tensor:
        """(B, N + 2, 6): places over `CENTRE_M` and over the tool, in units of `SCALE_M`."""
        seen = []
        for query, k, v in zip(
            self.queries, context.keys[-self._layers :], context.values[-self._layers :], strict=True
        ):
            keys, values = k[:, 0].float(), v[:, 0].float()
            score = torch.einsum("nhc,blc->bnhl", query, keys) / keys.shape[-1] ** 0.5
            if context.valid is not None:
                score = score.masked_fill(~context.valid[:, None, None], float("-inf"))
            seen.append(torch.einsum("bnhl,blc->bnhc", score.softmax(-1), values).flatten(2))
        return self.tell(torch.cat(seen, -1))
