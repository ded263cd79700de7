"""Is this episode good enough to learn from? Gaps, rates, stamps, frozen cameras, values, jumps."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import groupby, pairwise
from typing import Any

import numpy as np

from ..core.embodiment import Embodiment
from ..core.messages import seconds
from .contract import IMAGE, Contract, Stream
from .reader import BagInfo, Recorded, read_messages

GAP_PERIODS = 5.0  # of the declared rate without a message: a warning ...
GAP_S = 0.2  # ... and a failure where a live policy would have stopped planning (config/safety.yaml, max_age_s)
SLOW = (0.9, 0.7)  # shares of the declared rate below which it is a warning, and a failure
FROZEN_AFTER = 10  # equal images in a row
FROZEN = "frozen"  # before a topic's name, in what a recorder of video tells: how many
JUMP_MARGIN = 1.5  # of a joint, over what its velocity limit allows between two states


class Verdict(Enum):
    """Of an episode: learn from it, look at it, or leave it out."""

    PASS = "pass"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Remark:
    """One thing that is wrong."""

    verdict: Verdict
    text: str


def worst(remarks: Iterable[Remark]) -> Verdict:
    """The verdict on an episode."""
    order = list(Verdict)
    return max((r.verdict for r in remarks), key=order.index, default=Verdict.PASS)


def check(info: BagInfo, contract: Contract, embodiment: Embodiment) -> list[Remark]:
    """Read a bag once and tell all that is wrong with it.

    Raises:
        RecordingError: the bag is damaged.
    """
    remarks = []
    about = info.about
    if about.get("complete") != "yes":
        remarks.append(Remark(Verdict.FAIL, f"not complete: {about.get('reason') or about.get('repaired') or '?'}"))
    if about.get("embodiment", embodiment.name) != embodiment.name:
        remarks.append(Remark(Verdict.FAIL, f"recorded on {about['embodiment']}, expected {embodiment.name}"))
    if int(about.get("lost", 0)):
        remarks.append(Remark(Verdict.WARN, f"{about['lost']} messages never arrived"))
    frozen = {key: count for key, count in about.items() if key.startswith(f"{FROZEN} ")}
    remarks += [Remark(Verdict.FAIL, _frozen(key.removeprefix(f"{FROZEN} "), count)) for key, count in frozen.items()]
    named = {topic_of(info, stream): stream for stream in contract.streams}
    came: dict[str, list[Recorded]] = {topic: [] for topic in named}
    for message in read_messages(info, list(named)):
        came[message.topic].append(_light(message))
    for topic, stream in named.items():
        if not came[topic]:
            if stream.rate_hz and not stream.optional:
                remarks.append(Remark(Verdict.FAIL, f"{topic}: nothing recorded"))
            continue
        remarks += _judge_times(stream, topic, came[topic], info)
        if stream.type == IMAGE:
            remarks += _judge_images(topic, [m.message for m in came[topic]])
        elif stream.topic == "joint_states":
            remarks += _judge_joints(topic, [m.message for m in came[topic]], embodiment)
    return remarks


@dataclass(frozen=True)
class _Picture:
    header: Any
    digest: bytes


def _light(message: Recorded) -> Recorded:
    """Without its pixels: an episode of images does not fit into memory."""
    body = message.message
    if not hasattr(body, "data") or not hasattr(body, "header"):
        return message
    digest = hashlib.blake2b(bytes(body.data), digest_size=16)
    if getattr(body, "format", "") == "h264":  # equal and nearly equal pictures look alike: its recorder has told
        digest.update(repr(body.header.stamp).encode())
    picture = _Picture(body.header, digest.digest())
    return Recorded(message.topic, message.received, message.published, message.sequence, picture, message.size)


def topic_of(info: BagInfo, stream: Stream) -> str:
    """The stream's name in the bag: with a namespace, or compressed."""
    endings = (f"/{stream.topic}", f"/{stream.topic}/compressed")
    return next((topic for topic in info.types if topic.endswith(endings)), f"/{stream.topic}")


def _judge_times(stream: Stream, topic: str, messages: Sequence[Recorded], info: BagInfo) -> list[Remark]:
    remarks, duration = [], info.duration
    stamps = [seconds(m.message.header.stamp) for m in messages if hasattr(m.message, "header")]
    back = sum(later <= earlier for earlier, later in pairwise(stamps))
    if back:
        remarks.append(Remark(Verdict.FAIL, f"{topic}: {back} stamps not later than the one before"))
    if not stream.rate_hz:
        return remarks
    share = len(messages) / max(duration * stream.rate_hz, 1e-9)
    if share < SLOW[0]:
        verdict = Verdict.FAIL if share < SLOW[1] else Verdict.WARN
        remarks.append(
            Remark(verdict, f"{topic}: {len(messages) / duration:.1f} Hz, {stream.rate_hz:g} Hz are declared")
        )
    times = [info.start, *(m.received for m in messages), info.start + info.duration]
    longest = max((b - a for a, b in pairwise(times)), default=0.0)
    if longest > GAP_PERIODS / stream.rate_hz:
        verdict = Verdict.FAIL if longest > GAP_S else Verdict.WARN
        remarks.append(Remark(verdict, f"{topic}: a gap of {longest:.2f} s"))
    return remarks


def _judge_images(topic: str, pictures: Sequence[_Picture]) -> list[Remark]:
    longest = max(len(list(run)) for _, run in groupby(pictures, key=lambda p: p.digest))
    if longest < FROZEN_AFTER:
        return []
    return [Remark(Verdict.FAIL, _frozen(topic, longest))]


def _frozen(topic: str, count: int | str) -> str:
    return f"{topic}: {count} equal images in a row; the camera was frozen"


def _judge_joints(topic: str, states: Sequence[Any], embodiment: Embodiment) -> list[Remark]:
    remarks = []
    speed = {joint: arm.max_velocity for arm in embodiment.arms for joint in arm.joints}
    names = list(states[0].name)
    missing = sorted(set(embodiment.joint_names) - set(names))
    if missing:
        return [Remark(Verdict.FAIL, f"{topic}: lacks {', '.join(missing)}")]
    rows = np.array([[dict(zip(s.name, s.position, strict=True))[n] for n in names] for s in states])
    if not np.isfinite(rows).all():
        bad = names[int(np.argwhere(~np.isfinite(rows))[0][1])]
        return [Remark(Verdict.FAIL, f"{topic}: {bad} is not a number")]
    dt = np.maximum(np.diff([seconds(s.header.stamp) for s in states]), 1e-3)
    for i, name in enumerate(names):
        if name in speed and len(rows) > 1:
            fastest = float((np.abs(np.diff(rows[:, i])) / dt).max())
            if fastest > JUMP_MARGIN * speed[name]:
                remarks.append(Remark(Verdict.WARN, f"{topic}: {name} jumps, {fastest:.1f} rad/s"))
    return remarks
