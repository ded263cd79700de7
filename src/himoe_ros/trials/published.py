"""What the paper reports from real robots, and which counts its percentages can stand for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.reading import load_yaml, mapping, numbers
from .protocol import Protocol
from .statistics import counts_for

FILE = "published.yaml"


@dataclass(frozen=True)
class Row:
    """One method on one protocol.

    Attributes:
        table: where it stands in the paper.
        method: as the paper calls it.
        cells: a text for each stage, or one for all of them together.
    """

    table: str
    method: str
    cells: Sequence[str]


def published_rows(folder: Path, protocol: Protocol) -> list[Row]:
    """The paper's rows of a protocol; none where it reports nothing.

    Args:
        folder: of the protocols.
        protocol: its stages and trials tell which counts are possible.
    """
    path = folder / FILE
    rows = []
    for table, protocols in mapping(load_yaml(path), str(path)).items():
        for method, percents in mapping(protocols, f"{path}: {table}").get(protocol.name, {}).items():
            values = numbers(percents, (len(percents),), f"{path}: {table}.{protocol.name}.{method}")
            stages = len(protocol.stages)
            trials = protocol.trials if len(values) == stages else protocol.trials * stages
            rows.append(Row(table, method, [cell(float(v), trials) for v in values]))
    return rows


def cell(percent: float, trials: int) -> str:
    """`75.0 % = 12/16`, or what the percentage would be a count of where it fits none."""
    counts = counts_for(percent, trials)
    if counts:
        return f"{percent:.1f} % = {' or '.join(f'{k}/{trials}' for k in counts)}"
    return f"{percent:.1f} %, no count of {trials} (it would be {percent * trials / 100:.1f})"
