"""Where configurations lie."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Places:
    """Folders: config/embodiments, models, datasets, trials."""

    embodiments: Path
    models: Path
    datasets: Path
    trials: Path

    @classmethod
    def under(cls, folder: Path) -> Places:
        """Those of a config/ folder."""
        return cls(*(folder / name for name in ("embodiments", "models", "datasets", "trials")))
