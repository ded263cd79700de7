"""What the operator of trials tells: by services and by keys, which mean the same."""

from __future__ import annotations

import functools
import queue
import sys
import time
from collections.abc import Callable, Collection, Mapping

from ..core.errors import HimoeError
from ..terminal import Terminal
from ..trials.session import Void
from ..trials.verdict import Verdict
from .managed import ManagedNode

KEYS = {"n": "next", "enter": "next", "s": "success", "f": "failure", "v": "void", "p": "pause"}
HELP = "n next   s success   f failure   v void   p pause   t note   q quit"
TYPED_WITHIN_S = 60.0
SECOND_S = 0.7  # so long after an answer another one contradicts it


class Operator:
    """Orders wait in a queue until the session looks at them."""

    def __init__(self, node: ManagedNode, quit_session: Callable[[], None]) -> None:
        """
        Args:
            node: serves `trials/next` and the others.
            quit_session: ends the session.
        """
        self._orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._quit = quit_session
        self._keys = node.worker("keys")
        self._typing = False
        self._reason = ""  # of a void
        self.note = ""  # for the trial that ends next
        self.pausing = False  # after the present trial
        for name in sorted(set(KEYS.values())):
            node.trigger(f"trials/{name}", functools.partial(self._order, name))

    def start(self) -> None:
        """Listen to the terminal, where there is one."""
        if sys.stdin.isatty():
            print(HELP, flush=True)
            self._keys.start(self._listen)

    def stop(self) -> None:
        self._keys.stop()

    def forget(self) -> None:
        """A new trial begins: what was told before does not concern it."""
        self.orders()
        self._reason = ""

    def why(self) -> str:
        """The reason of a void, once it is typed; a sentence of ours where there is none."""
        deadline = time.monotonic() + TYPED_WITHIN_S
        while self._typing and time.monotonic() < deadline:
            time.sleep(0.05)
        reason, self._reason, self.note = self._reason, "", ""
        return reason or "declared void by the operator"

    def orders(self) -> list[str]:
        """What was told since the last look."""
        told = []
        while not self._orders.empty():
            told.append(self._orders.get())
        return told

    def ask(self, question: str, answers: Collection[str], alive: Callable[[], None]) -> str:
        """Wait for one of the answers; two different ones are asked about again.

        Args:
            question: shown once.
            answers: names of orders.
            alive: called often; what it raises ends the waiting.
        """
        self.orders()
        print(f"{question} ({', '.join(answers)})", flush=True)
        while True:
            alive()
            told = [order for order in self.orders() if order in answers]
            if told:
                time.sleep(SECOND_S)
                told += [order for order in self.orders() if order in answers]
                if len(set(told)) == 1:
                    return told[0]
                both = " and ".join(dict.fromkeys(told))
                print(f"expected one answer, got {both}; once more: {question}", flush=True)
            time.sleep(0.05)

    def agree(self, told: str, alive: Callable[[], None]) -> None:
        """Wait for `next`.

        Raises:
            Void: the operator does not.
        """
        if self.ask(told, ["next", "void"], alive) == "void":
            raise Void(self.why())

    def verdict(self, ended: str, stages: Mapping[str, str], alive: Callable[[], None]) -> Verdict:
        """Stage by stage; one is reached only after those before.

        Args:
            ended: why the trial did.
            stages: name -> what counts.

        Raises:
            Void: the operator says so.
        """
        reached: dict[str, bool] = {}
        for stage, meaning in stages.items():
            answer = "failure"
            if all(reached.values()):
                answer = self.ask(f"{ended}. {stage}: {meaning}?", ["success", "failure", "void"], alive)
            if answer == "void":
                raise Void(self.why())
            reached[stage] = answer == "success"
        return Verdict(reached)

    def _order(self, name: str) -> str:
        if name == "pause":
            self.pausing = True
        else:
            self._orders.put(name)
        return f"{name}: noted"

    def _listen(self) -> None:
        """The keyboard's thread."""
        with Terminal() as terminal:
            while self._keys.running:
                for key in terminal.keys(0.1):
                    self._press(key, terminal)

    def _press(self, key: str, terminal: Terminal) -> None:
        if key in ("q", "end"):
            self._quit()
        elif key == "t":
            self.note = terminal.line("\r\x1b[Knote: ")
        elif key in KEYS:
            self._typing = KEYS[key] == "void"
            self._order(KEYS[key])
            if self._typing:
                self._reason = terminal.line("\r\x1b[Kwhy does this trial not count? ")
                self._typing = False


class Left(HimoeError):
    """The operator has left the session."""
