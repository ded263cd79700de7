"""A session of trials in a folder: what is planned, what has been done, what comes next; it survives any kill."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from ..core.errors import HimoeError
from .log import Log, read_log
from .protocol import Protocol
from .schedule import Planned, hide, plan

LOG = "trials.jsonl"
ENDS = ("success", "timeout", "operator", "guard", "fault")
INTERRUPTED = "interrupted: the session ended while it ran"


class SessionError(HimoeError):
    """A session that cannot be begun or gone on with as asked."""


class Void(HimoeError):
    """A trial that does not count; the message says why."""


@dataclass(frozen=True)
class TrialResult:
    """One finished trial.

    Attributes:
        index: place in the plan.
        attempt: 0, or how many voids came before.
        setting, repetition, label, scene: see Planned.
        instruction: what the policy was asked.
        stages: stage -> reached, in the order of the task.
        judged: by whom: "simulator" or "operator".
        ended: why it ended, one of ENDS; kept apart from the stages.
        reason: in words, where it was a guard or a fault.
        seconds: from the instruction to the end.
        began: s since 1970.
        wrong_object, wrong_target: what was lifted, or where the named thing was brought, instead; or "".
        note: what the operator remarked.
        holds: times the controller had to wait for a plan, and held_s, for how long.
        latency: ms from a plan's observation to its arrival: median and largest; none without a plan.
        files: kind -> path in the session's folder: video, last_frame, start_frame, bag.
        events: (s since the beginning, what happened).
    """

    index: int
    attempt: int
    setting: str
    repetition: int
    label: str
    scene: int
    instruction: str
    stages: dict[str, bool]
    judged: str
    ended: str
    reason: str
    seconds: float
    began: float
    wrong_object: str = ""
    wrong_target: str = ""
    note: str = ""
    holds: int = 0
    held_s: float = 0.0
    latency: list[float] = field(default_factory=list)
    files: dict[str, str] = field(default_factory=dict)
    events: list[list[Any]] = field(default_factory=list)

    @property
    def success(self) -> bool:
        """The last stage is reached."""
        return list(self.stages.values())[-1]


@dataclass(frozen=True)
class Header:
    """What a session is of.

    Attributes:
        protocol: its name.
        trials: how many of each setting and policy.
        policies: in the order they were given; which label each has only the report tells.
        seed: of order and scenes.
        salt: of the labels, so that a seed does not tell them.
        simulated: whether a simulated robot ran.
        untrained: those of the policies whose weights are random.
        content: fingerprint of the protocol's file.
        version: of this package.
        options: with which the graph was started, as text.
    """

    protocol: str
    trials: int
    policies: list[str]
    seed: int
    simulated: bool
    salt: int = 0
    untrained: list[str] = field(default_factory=list)
    content: str = ""
    version: str = ""
    options: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> dict[str, str]:
        """Label -> policy, and whether it is untrained."""
        told = {p: f"{p} (untrained)" if p in self.untrained else p for p in self.policies}
        return {label: told[policy] for label, policy in hide(self.policies, self.salt).items()}


class Session:
    """Runs through a plan; whatever it tells is on the disk. One process at a time."""

    def __init__(self, folder: Path, protocol: Protocol, header: Header) -> None:
        """Begin a session, or go on with the same one.

        Raises:
            SessionError: the folder holds another session.
            LogError: the log cannot be written, is in use, or was changed by hand.
        """
        self.folder, self.header = folder, header
        self.planned = plan(protocol, len(header.policies), header.seed, header.trials)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SessionError(f"expected a folder for the session, {folder}: {error.strerror}") from error
        self._log = Log(folder / LOG)
        records = self._log.records
        if not records:
            self._append("session", asdict(header))
        elif _header(records) != header:
            self._log.close()
            other = _header(records)
            differing = [f.name for f in fields(Header) if getattr(other, f.name) != getattr(header, f.name)]
            told = ", ".join(f"{n} {getattr(other, n)!r} instead of {getattr(header, n)!r}" for n in differing)
            raise SessionError(f"{folder} holds a session with {told}; choose another folder")
        elif records[-1]["kind"] == "begun":
            self._append("void", {**_which(records[-1]), "reason": INTERRUPTED})

    def close(self) -> None:
        self._log.close()

    @property
    def results(self) -> list[TrialResult]:
        """Finished trials, in the order they ended."""
        return _results(self._log.records)

    def next(self) -> tuple[Planned, int] | None:
        """The first trial that is not finished, and how many voids it has behind it; None where all are."""
        done = {r.index for r in self.results}
        for planned in self.planned:
            if planned.index not in done:
                return planned, len(voids(self._log.records).get(planned.index, []))
        return None

    def begin(self, planned: Planned, attempt: int) -> None:
        """From now on the trial is finished, void, or was interrupted."""
        self._append("begun", {"index": planned.index, "attempt": attempt})

    def finish(self, result: TrialResult) -> None:
        """The trial has ended, with this result."""
        self._append("finished", asdict(result))

    def void(self, planned: Planned, attempt: int, reason: str) -> None:
        """The trial does not count, and is repeated."""
        self._append("void", {"index": planned.index, "attempt": attempt, "reason": reason})

    def _append(self, kind: str, record: Mapping[str, Any]) -> None:
        self._log.append({"kind": kind, "at": round(time.time(), 3), **record})


def read_session(folder: Path) -> tuple[Header, list[TrialResult], dict[int, list[str]]]:
    """What a session is of, its finished trials, and the reasons of its voids by index.

    Raises:
        LogError: there is no log, or it was changed by hand.
        SessionError: it is no log of a session.
    """
    records = read_log(folder / LOG)
    return _header(records), _results(records), voids(records)


def voids(records: Sequence[Mapping[str, Any]]) -> dict[int, list[str]]:
    """Index -> why its attempts did not count."""
    found: dict[int, list[str]] = {}
    for record in records:
        if record["kind"] == "void":
            found.setdefault(record["index"], []).append(record["reason"])
    return found


def _header(records: Sequence[Mapping[str, Any]]) -> Header:
    if not records or records[0].get("kind") != "session":
        raise SessionError(f"expected a log that begins with its session, got {records[:1]}")
    return Header(**{k: v for k, v in records[0].items() if k not in ("kind", "at")})


def _results(records: Sequence[Mapping[str, Any]]) -> list[TrialResult]:
    finished = (r for r in records if r["kind"] == "finished")
    return [TrialResult(**{k: v for k, v in r.items() if k not in ("kind", "at")}) for r in finished]


def _which(record: Mapping[str, Any]) -> dict[str, int]:
    return {key: record[key] for key in ("index", "attempt")}
