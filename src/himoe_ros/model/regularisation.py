"""AS-Reg and HB-Reg: what keeps the routers of the hierarchy in their roles (paper, Eq. 4-7).

The paper and the released code define them differently; both definitions stand here side by side, and
`released` is what the published checkpoints were trained with.

Shapes: B batch, U tokens of the suffix, E experts, A slots of the data mask.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

from .config import HiMoEConfig, LayerKind

TEMPERATURE = 0.1  # tau of Eq. 4, as released
SAME_MASK = 0.99  # tokens whose masks have a larger cosine belong to one action space


def routing_losses(config: HiMoEConfig, routing: Mapping[int, Tensor], mask_BA: Tensor) -> dict[str, Tensor]:
    """What Eq. 1 adds to the flow loss: "as" and "hb", weighted, each summed over its layers.

    Args:
        config: names the definition, the weights, and the kinds of layers they act on.
        routing: layer -> (B, U, E) probabilities of all suffix tokens.
        mask_BA: (B, A) data masks.
    """
    reg = config.regularisation
    losses = {"as": mask_BA.new_zeros(()), "hb": mask_BA.new_zeros(())}
    for layer, probability in routing.items():
        kind = config.layer_kind(layer)
        moe = config.expert.moe(kind)
        if kind in reg.as_on:
            if reg.definition == "paper":
                contrast = as_reg_paper(probability, moe.top_k)
            elif kind is LayerKind.AS:  # routed by the mask alone: all tokens of a sample are alike
                contrast = as_reg_released(probability[:, :1], mask_BA, probability.shape[1])
            else:
                contrast = as_reg_released(probability, mask_BA)
            losses["as"] = losses["as"] + reg.as_weight * contrast
        if kind in reg.hb_on:
            balance = hb_reg_released if reg.definition == "released" else hb_reg_paper
            losses["hb"] = losses["hb"] + reg.hb_weight * balance(probability, moe.top_k)
    return losses


def as_reg_released(probability_BUE: Tensor, mask_BA: Tensor, times: int = 1) -> Tensor:
    """Contrast tokens: those of one action space shall be routed alike, and unlike all others.

    InfoNCE over the routing probabilities of all tokens of the batch; a token itself stands in the
    denominator only.

    Args:
        times: how many equal tokens each one given stands for.
    """
    tokens = probability_BUE.shape[1]
    routed = F.normalize(probability_BUE.flatten(0, 1), dim=-1)
    similarity = (routed @ routed.mT / TEMPERATURE).exp()
    spaces = F.normalize(mask_BA.float(), dim=-1)
    same = (spaces @ spaces.mT > SAME_MASK).repeat_interleave(tokens, 0).repeat_interleave(tokens, 1)
    positive = (times * (similarity * same).sum(-1) - similarity.diagonal()).clamp_min(0.0)
    share = positive / (times * similarity.sum(-1) + 1e-8)
    return -(share + 1e-8).log().mean()


def as_reg_paper(probability_BUE: Tensor, top_k: int) -> Tensor:
    """Contrast experts (Eq. 4-5): those chosen for the same tokens shall agree, and differ from the others.

    Row i holds expert i's probabilities over all tokens; experts are a positive pair where some token
    chose both. With top-1 routing there are none, and an expert is its own positive.
    """
    scores = probability_BUE.flatten(0, 1)
    chosen = torch.zeros_like(scores).scatter(-1, scores.topk(top_k, dim=-1).indices, 1.0)
    experts = F.normalize(scores.mT, dim=-1)
    similarity = (experts @ experts.mT / TEMPERATURE).exp()
    together = (chosen.mT @ chosen) > 0
    together = together | torch.eye(len(together), dtype=torch.bool, device=together.device)
    return -((similarity * together).sum(-1) / similarity.sum(-1)).log().mean()


def hb_reg_paper(probability_BUE: Tensor, top_k: int) -> Tensor:
    """Balance (Eq. 6-7): sum over experts of f_i P_i, in each sequence, averaged over the batch."""
    chosen = torch.zeros_like(probability_BUE).scatter(-1, probability_BUE.topk(top_k, dim=-1).indices, 1.0)
    frequency_BE = chosen.mean(1) / top_k
    return (frequency_BE * probability_BUE.mean(1)).sum(-1).mean()


def hb_reg_released(probability_BUE: Tensor, top_k: int) -> Tensor:
    """E times the paper's: 1 for perfect balance, whatever the number of experts."""
    return probability_BUE.shape[-1] * hb_reg_paper(probability_BUE, top_k)
