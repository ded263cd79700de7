"""Which experts act on which data: the heat maps of the paper's Figures 4 and 5, for any policy and mixture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..model.config import LayerKind
from ..model.flow import interpolate
from ..model.folder import TOKENIZER, find_folder, load_model
from ..page import escaped, page
from ..policy.tokenizer import InstructionTokenizer
from .config import Augmentation, TrainingConfig
from .examples import Examples, collate, open_sources, statistics
from .objective import sample_times
from .places import Places

AT_ONCE = 32  # samples
TITLES = {LayerKind.AS: "AS-MoE", LayerKind.HB: "HB-MoE", LayerKind.ADA: "AdaMoE"}


@dataclass(frozen=True)
class Activation:
    """How experts are used.

    Attributes:
        names: of the members of the mixture, D of them.
        kinds: layer -> kind.
        member: (S,) number of the member that a sample is of.
        share: layer -> (S, E), share of a sample's tokens on which an expert acts.
    """

    names: tuple[str, ...]
    kinds: Mapping[int, LayerKind]
    member: np.ndarray
    share: Mapping[int, np.ndarray]

    def means(self, layer: int) -> np.ndarray:
        """(D, E), of each member's samples."""
        return _means(self.share[layer], self.member)

    def information(self, layer: int, shuffled: np.random.Generator | None = None) -> float:
        """Bits that the choice of an expert tells about the member, were all members equally frequent.

        Args:
            shuffled: samples are dealt out to members at random: what as many samples tell by chance.
        """
        member = self.member if shuffled is None else shuffled.permutation(self.member)
        return information(_means(self.share[layer], member))


@torch.no_grad()
def activation(policy: str | Path, config: TrainingConfig, places: Places, samples: int, seed: int = 0) -> Activation:
    """Run a policy on samples of every member of a mixture, at times drawn as in training.

    Args:
        policy: folder.
        config: names the datasets.
        samples: of each dataset, at most.
    """
    folder = find_folder(policy)
    model = load_model(folder, torch.float32)
    config = replace(config, augmentation=Augmentation(), grounding=None, cache=False)
    sources = open_sources(config, model.config, places.embodiments, places.datasets)
    told = statistics(sources, model.config, config.std_floor)
    tokenizer = InstructionTokenizer.load(folder / TOKENIZER, model.config.max_text_tokens)
    examples = Examples(config, model.config, sources, told, tokenizer, {})
    kinds = {i: model.config.layer_kind(i) for i in range(model.config.language.layers)}
    mixtures = {i: moe for i, kind in kinds.items() if (moe := model.config.expert.moe(kind))}
    share: dict[int, list[np.ndarray]] = {i: [] for i in mixtures}
    of: list[int] = []
    generator = torch.Generator().manual_seed(seed)
    for member, source in enumerate(sources):
        every = np.random.default_rng([seed, member]).permutation(source.training)[:samples]
        for part in np.array_split(every, -(-len(every) // AT_ONCE)):
            batch = collate([examples[member, int(index), seed] for index in part])
            noise = torch.randn(batch.actions.shape, generator=generator)
            t = sample_times(len(noise), generator)
            _, routing = model(batch.inputs, interpolate(noise, batch.actions, t)[0], t)
            for layer, probability in routing.items():
                chosen = probability.topk(mixtures[layer].top_k, -1).indices
                share[layer].append(F.one_hot(chosen, probability.shape[-1]).sum(2).float().mean(1).numpy())
            of.extend([member] * len(part))
    names = tuple(f"{s.member.dataset.name}, {s.space.name}" for s in sources)
    shares = {i: np.concatenate(some) for i, some in share.items()}
    return Activation(names, {i: kinds[i] for i in mixtures}, np.array(of), shares)


def information(share_DE: np.ndarray) -> float:
    """Mutual information of member and expert, bits, were all members equally frequent; of two members, their
    Jensen-Shannon divergence: 0 where they use experts alike, 1 where never the same.

    Args:
        share_DE: of each member's tokens, on which an expert acts.
    """
    p_DE = share_DE / share_DE.sum(1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        bits = np.where(p_DE > 0, p_DE * np.log2(p_DE / p_DE.mean(0)), 0.0)
    return float(bits.sum(1).mean())


def _means(share_SE: np.ndarray, member: np.ndarray) -> np.ndarray:
    return np.array([share_SE[member == d].mean(0) for d in range(member.max() + 1)])


def routing_page(told: Activation, title: str) -> str:
    """Heat maps as an HTML document: datasets in rows, experts in columns, a table for each layer."""
    parts = []
    for kind, name in TITLES.items():
        layers = [i for i, k in told.kinds.items() if k is kind]
        if layers:
            parts.append(f"<h2>{name}</h2>")
        parts += [f"<h3>layer {i + 1}</h3>{_table(told.names, told.means(i))}" for i in layers]
    note = "<p class=quiet>Share of a dataset's tokens (state and noisy actions) on which an expert acts.</p>"
    return page(title, note + "".join(parts))


def _table(names: tuple[str, ...], share: np.ndarray) -> str:
    head = "".join(f"<th class=n>{expert + 1}</th>" for expert in range(share.shape[1]))
    rows = [f"<tr><th>{escaped(n)}</th>{''.join(map(_cell, row))}</tr>" for n, row in zip(names, share, strict=True)]
    return f"<table><tr><th>expert</th>{head}</tr>{''.join(rows)}</table>"


def _cell(share: float) -> str:
    """The more it is used the darker."""
    ink = "#fff" if share > 0.55 else "inherit"
    return f'<td class=n style="background: rgb(33 90 160 / {share:.2f}); color: {ink}">{share:.2f}</td>'
