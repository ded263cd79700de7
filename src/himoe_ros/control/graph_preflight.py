"""What a person should know of the running ROS graph before arming. Pure: a node gathers the facts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..core.safety import SafetyLimits
from .finding import Finding, Level

LEAST_CAMERA_HZ = 8.0  # of 10; slower ones are too old for a plan before the next image comes
LEAST_PIXELS = 224  # what the model looks at


@dataclass(frozen=True)
class StreamFacts:
    """A camera's topic, watched for a while.

    Attributes:
        rate_hz: images a second.
        size: width and height, px; None where nothing came.
        offset: s, median of the clock minus the stamps.
    """

    rate_hz: float
    size: tuple[int, int] | None
    offset: float


def judge_graph(
    nodes: Sequence[str],
    chunk_sources: int,
    streams: Mapping[str, StreamFacts],
    safety: SafetyLimits,
) -> list[Finding]:
    """Checks of a running ROS graph.

    Args:
        nodes: full names of the nodes on it.
        chunk_sources: publishers on `action_chunk`.
        streams: topic of each camera of the embodiment -> what came.
        safety: how old and how far ahead stamps may be.
    """
    if not nodes:
        return [Finding("ROS graph", Level.OK, "no nodes: nothing to check there")]
    findings = [Finding("ROS graph", Level.OK, ", ".join(sorted(nodes)))]
    if chunk_sources > 1:
        advice = "Two programs would command the robot: end one"
        findings.append(Finding("action_chunk", Level.UNSAFE, f"{chunk_sources} publishers", "one or none", advice))
    else:
        findings.append(Finding("action_chunk", Level.OK, f"{chunk_sources} publisher(s)"))
    for topic, stream in streams.items():
        if stream.size is None:
            findings.append(
                Finding(topic, Level.WARNING, "no image", "a camera", "Start its driver or remap its topic")
            )
            continue
        found = f"{stream.size[0]}x{stream.size[1]} px, {stream.rate_hz:.1f} Hz, {1e3 * stream.offset:.0f} ms old"
        if not -safety.sensors.max_future_s <= stream.offset <= safety.sensors.max_age_s:
            expected = f"stamps 0 to {1e3 * safety.sensors.max_age_s:.0f} ms old"
            findings.append(Finding(topic, Level.WARNING, found, expected, "Synchronise the clocks (chrony)"))
        elif stream.rate_hz < LEAST_CAMERA_HZ or min(stream.size) < LEAST_PIXELS:
            expected = f"at least {LEAST_CAMERA_HZ:.0f} Hz and {LEAST_PIXELS} px"
            findings.append(Finding(topic, Level.WARNING, found, expected))
        else:
            findings.append(Finding(topic, Level.OK, found))
    return findings
