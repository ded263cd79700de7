"""What the sentences of the protocols mean, and how else they may be said."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..trials.layout import things_of
from ..trials.protocol import load_protocol
from .config import GroundingTerms


@dataclass(frozen=True)
class Meaning:
    """What a sentence of a protocol means.

    Attributes:
        meant: numbers of what to take and where to bring it, see `things_meant`.
        same: all ways to say it.
        others: all that the protocol may say instead, in every way.
    """

    meant: tuple[int, int]
    same: tuple[str, ...]
    others: tuple[str, ...]


def things_meant(terms: GroundingTerms, protocols: Path) -> tuple[str, ...]:
    """All that may lie there in the protocols, in the order in which things are numbered."""
    return tuple(sorted({thing for name in terms.protocols for thing in things_of(load_protocol(name, protocols))}))


def meanings(terms: GroundingTerms, protocols: Path) -> dict[str, Meaning]:
    """Sentence -> its meaning."""
    told: dict[str, Meaning] = {}
    names = things_meant(terms, protocols)
    for name in terms.protocols:
        protocol = load_protocol(name, protocols)
        ways = {n: (s.instruction, *map(s.said, protocol.wordings)) for n, s in protocol.settings.items()}
        for setting, same in ways.items():
            named, target = (names.index(thing) for thing in protocol.settings[setting].roles.values())
            others = tuple(sentence for n, said in ways.items() if n != setting for sentence in said)
            told |= dict.fromkeys(same, Meaning((named, target), same, others))
    return told
