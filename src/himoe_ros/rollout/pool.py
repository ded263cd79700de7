"""Trials on several cores: each process makes once what is costly to make."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, TypeVar

from ..leaving import end_with_parent

T = TypeVar("T")
_run: Callable[..., Any] | None = None  # of a worker's process


def _prepare(make: Callable[[], Callable[..., Any]]) -> None:
    end_with_parent()
    global _run  # noqa: PLW0603 - how a process pool keeps what is costly to make
    _run = make()


def _one(*told: Any) -> Any:
    return _run(*told)


def pooled(make: Callable[[], Callable[..., T]], told: Sequence[tuple[Any, ...]], workers: int) -> Iterator[T]:
    """What `make()` answers to each of `told`, in their order.

    Args:
        make: called in every process; it can be pickled.
        told: arguments of one call each.
        workers: processes.
    """
    os.environ.setdefault("MUJOCO_GL", "egl")  # MuJoCo reads it when a worker imports it
    with ProcessPoolExecutor(workers, get_context("spawn"), _prepare, (make,)) as pool:
        yield from pool.map(_one, *zip(*told, strict=True))
