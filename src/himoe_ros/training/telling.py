"""How a run goes: a line in the terminal, `log.jsonl` with every step, and TensorBoard's files."""

from __future__ import annotations

import json
import sys
import time
from itertools import islice
from pathlib import Path

from torch.utils.tensorboard import SummaryWriter

LOG, BOARD = "log.jsonl", "tensorboard"
LINE_EVERY = 50  # steps, where the output is no terminal


class Told:
    """Of one run, from one step on."""

    def __init__(self, folder: Path, first: int, steps: int, batch: int) -> None:
        """
        Args:
            folder: of the run.
            first, steps: steps that are done, and that there will be.
            batch: samples of a step.
        """
        self._first, self._steps, self._batch, self._begin = first, steps, batch, time.monotonic()
        self._log = (folder / LOG).open("a+")
        self._log.seek(0)
        self._log.truncate(sum(len(line.encode()) for line in islice(self._log, first)))  # the rest is done again
        self._board = SummaryWriter(str(folder / BOARD), purge_step=first)

    def __call__(self, step: int, values: dict[str, float]) -> None:
        """Tell of a step that is done."""
        spent = time.monotonic() - self._begin
        values = values | {"samples_per_s": (step - self._first) * self._batch / spent}
        self._log.write(json.dumps({"step": step, **{name: round(v, 6) for name, v in values.items()}}) + "\n")
        self._log.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, step)
        losses = "  ".join(f"{name} {values[name]:.4f}" for name in ("flow", "as", "hb", "grounding") if name in values)
        left = spent / (step - self._first) * (self._steps - step) / 60
        line = f"step {step}/{self._steps}  {losses}  {values['samples_per_s']:.0f} samples/s  {left:.0f} min left"
        if sys.stdout.isatty():
            print(f"\r\x1b[K{line}", end="", flush=True)
        elif step % LINE_EVERY == 0:
            print(line, flush=True)

    def close(self) -> None:
        """Write what is not yet written."""
        self._log.close()
        self._board.close()
