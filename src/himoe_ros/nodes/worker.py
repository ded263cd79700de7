"""A thread beside the executor's, that a node starts and ends."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable


class Worker:
    """Runs one function while `running` is true; the function looks at it and returns soon after it is not."""

    def __init__(self, name: str, failed: Callable[[str], None]) -> None:
        """
        Args:
            name: of the thread.
            failed: is told, on that thread, the traceback of what the function did not catch.
        """
        self._name = name
        self._failed = failed
        self._go_on = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """False before `start` and from `stop` on."""
        return self._go_on.is_set()

    def start(self, target: Callable[[], None]) -> None:
        def run() -> None:
            try:
                target()
            except Exception:  # a thread that ends unnoticed would leave a node that only seems alive
                self._failed(traceback.format_exc())

        self._go_on.set()
        self._thread = threading.Thread(target=run, name=self._name, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread and wait for it; safe to call at any time but from the thread itself."""
        self._go_on.clear()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
