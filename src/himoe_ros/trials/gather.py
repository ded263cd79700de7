"""Trials of sessions for a report: out of their logs, or judged anew from their bags alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..core.embodiment import Embodiment
from ..core.errors import RecordingError
from ..core.messages import seconds
from ..recording.reader import BagInfo, read_info, read_messages
from ..recording.session import bags_in
from .judge import Judge
from .protocol import Protocol, load_protocol
from .report import Part, Told
from .session import Header, TrialResult, read_session
from .truth import truth_from_state

SESSION, TRIAL = "session", "trial"  # of what a trial's bag says about itself, as JSON
STATE = "sim/state"


def gather(folders: Sequence[Path], protocols: Path) -> list[Part]:
    """What the logs tell, a part for each protocol.

    Raises:
        LogError: a log is missing, or was changed by hand.
    """
    told: dict[str, list[Told]] = {}
    voids: dict[str, list[str]] = {}
    for folder in folders:
        header, results, void = read_session(folder)
        told.setdefault(header.protocol, []).extend(_told(folder, header, r) for r in results)
        reasons = [f"trial {index + 1}: {reason}" for index, each in void.items() for reason in each]
        voids.setdefault(header.protocol, []).extend(reasons)
    return [Part(load_protocol(name, protocols), told[name], voids[name]) for name in sorted(told)]


def judge_anew(folders: Sequence[Path], protocols: Path, embodiment: Embodiment) -> tuple[list[Part], list[str]]:
    """The same from the bags alone, verdicts found again from the true poses in them.

    Returns:
        The parts, and a sentence for each trial that was judged differently when it ran.

    Raises:
        RecordingError: a bag is damaged, or is not one of a simulated trial.
    """
    told: dict[str, list[Told]] = {}
    differences = []
    for folder in folders:
        for info in map(read_info, bags_in(folder / "bags")):
            if TRIAL not in info.about:
                continue  # it was interrupted, or void
            header = Header(**json.loads(info.about[SESSION]))
            result = TrialResult(**json.loads(info.about[TRIAL]))
            again = _judged(info, load_protocol(header.protocol, protocols), result, embodiment)
            if again.stages != result.stages:
                differences.append(f"{info.folder}: {again.stages}, but {result.stages} when it ran")
            told.setdefault(header.protocol, []).append(_told(folder, header, again))
    return [Part(load_protocol(name, protocols), told[name], ()) for name in sorted(told)], differences


def _told(folder: Path, header: Header, result: TrialResult) -> Told:
    return Told(folder, header.labels[result.label], header.simulated, result)


def _judged(info: BagInfo, protocol: Protocol, result: TrialResult, embodiment: Embodiment) -> TrialResult:
    topic = next((t for t in info.types if t.endswith(f"/{STATE}")), "")
    if not info.counts.get(topic):
        raise RecordingError(f"{info.folder}: expected true poses on {STATE}; only simulated trials can be judged anew")
    judge = Judge(protocol, protocol.settings[result.setting])
    for recorded in read_messages(info, [topic]):
        m = recorded.message
        judge.observe(truth_from_state(seconds(m.header.stamp), embodiment.arms[0], m.name, m.position, m.velocity))
    verdict = judge.verdict
    return replace(
        result, stages=dict(verdict.stages), wrong_object=verdict.wrong_object, wrong_target=verdict.wrong_target
    )
