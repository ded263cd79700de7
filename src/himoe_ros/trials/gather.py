"""Trials of sessions for a report: out of their logs, or judged anew from their bags alone."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from ..core.embodiment import Embodiment, load_embodiment
from ..core.errors import RecordingError
from ..core.messages import seconds
from ..recording.reader import BagInfo, read_info, read_messages
from ..recording.session import bags_in
from .judges import judge_of
from .protocol import Protocol, load_protocol
from .report import Part, ReportError, Told
from .session import Header, TrialResult, read_session
from .truth import truth_from_state

SESSION, TRIAL = "session", "trial"  # of what a trial's bag says about itself, as JSON
STATE = "sim/state"
VARYING = ("seed", "trials", "robot_ip", "torch_threads")  # between sessions that may be reported together


def gather(folders: Sequence[Path], protocols: Path) -> list[Part]:
    """What the logs tell, a part for each protocol.

    Raises:
        LogError: a log is missing, or was changed by hand.
        ReportError: sessions that were run under different conditions.
    """
    sessions, voids = [], {}
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        header, results, void = read_session(folder)
        sessions.append((folder, header, results))
        reasons = [f"trial {index + 1}: {reason}" for index, each in void.items() for reason in each]
        voids.setdefault(header.protocol, []).extend(reasons)
    return _parts(sessions, voids, protocols)


def judge_anew(folders: Sequence[Path], protocols: Path, embodiments: Path) -> tuple[list[Part], list[str]]:
    """The same from the bags alone; verdicts of a simulator are found again from the true poses in them.

    Returns:
        The parts, and a sentence for each bag that cannot be read, or was judged differently when it ran.

    Raises:
        RecordingError: there are no bags.
        ReportError: sessions that were run under different conditions.
    """
    sessions, remarks = [], []
    for folder in dict.fromkeys(folder.resolve() for folder in folders):
        results: dict[int, TrialResult] = {}
        header = None
        for bag in bags_in(folder / "bags"):
            try:
                info = read_info(bag)
                if TRIAL not in info.about:
                    continue  # it was interrupted, or void
                header = Header(**json.loads(info.about[SESSION]))
                told = TrialResult(**json.loads(info.about[TRIAL]))
                protocol = load_protocol(header.protocol, protocols)
                again = _judged(info, protocol, told, load_embodiment(protocol.embodiment, embodiments))
            except RecordingError as error:
                remarks.append(f"left out: {error}")
                continue
            if again != told:
                remarks.append(f"{bag}: {_verdict(again)} now, {_verdict(told)} when it ran")
            if told.index not in results or results[told.index].attempt < told.attempt:
                results[told.index] = again
        if header is not None:
            sessions.append((folder, header, [results[index] for index in sorted(results)]))
    return _parts(sessions, {}, protocols), remarks


def _parts(
    sessions: Sequence[tuple[Path, Header, Sequence[TrialResult]]], voids: Mapping[str, Sequence[str]], folder: Path
) -> list[Part]:
    parts = []
    for name in sorted({header.protocol for _, header, _ in sessions}):
        mine = [(where, header, results) for where, header, results in sessions if header.protocol == name]
        protocol = load_protocol(name, folder)
        for where, header, _ in mine:
            _require_alike(where, header, mine[0][0], mine[0][1], protocol)
        told = [Told(where, header.labels[r.label], header.simulated, r) for where, header, rs in mine for r in rs]
        parts.append(Part(protocol, told, voids.get(name, ())))
    return parts


def _require_alike(where: Path, header: Header, first: Path, other: Header, protocol: Protocol) -> None:
    """Trials under other conditions are not trials of the same thing."""
    if header.content != protocol.content:
        raise ReportError(f"{protocol.name} is not as it was when {where} ran; restore its file to report that session")
    differing = [
        k
        for k in {**header.options, **other.options}
        if header.options.get(k) != other.options.get(k) and k not in VARYING
    ]
    if differing or header.simulated != other.simulated:
        told = ", ".join(f"{k} {header.options.get(k)} and {other.options.get(k)}" for k in differing)
        raise ReportError(f"{where} and {first} differ in {told or 'simulated and real'}; report them apart")


def _verdict(result: TrialResult) -> str:
    return f"{result.stages}, wrong object '{result.wrong_object}', wrong target '{result.wrong_target}'"


def _judged(info: BagInfo, protocol: Protocol, result: TrialResult, embodiment: Embodiment) -> TrialResult:
    """The same with the verdict found again; an operator's is as told."""
    if result.judged != "simulator":
        return result
    topic = next((t for t in info.types if t.endswith(f"/{STATE}")), "")
    if not info.counts.get(topic):
        raise RecordingError(f"{info.folder} has no true poses on {STATE}")
    judge = judge_of(protocol, protocol.settings[result.setting])
    for recorded in read_messages(info, [topic]):
        m = recorded.message
        if seconds(m.header.stamp) > result.began + result.seconds:
            break  # what came to rest later was too late
        judge.observe(truth_from_state(seconds(m.header.stamp), embodiment.arms, m.name, m.position, m.velocity))
    verdict = judge.verdict
    return replace(
        result, stages=dict(verdict.stages), wrong_object=verdict.wrong_object, wrong_target=verdict.wrong_target
    )
