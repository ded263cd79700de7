"""What an operator sees of a recorder: one line."""

from __future__ import annotations

from .contract import IMAGE, Contract
from .recorder import EpisodeRecorder

HELP = "r/→ start  s/← save  f save as failed  d/⌫ discard  t task  q quit"
SLOW = 0.8  # share of its declared rate below which a stream is pointed at


def figures(recorder: EpisodeRecorder, contract: Contract, saved: int) -> dict[str, str]:
    """Everything there is to tell, by name."""
    episode = recorder.episode
    told = {
        "state": "recording" if recorder.recording else "idle",
        "task": recorder.task,
        "saved": str(saved),
        "free_gb": f"{recorder.free_gb():.1f}",
    }
    if episode is None:
        return told
    rates = episode.rates()
    told |= {"episode": episode.folder.name, "seconds": f"{episode.seconds:.1f}", "lost": str(episode.lost.total())}
    return told | {f"hz {s.topic}": f"{rates[s.topic]:.1f} of {s.rate_hz:g}" for s in contract.streams if s.rate_hz}


def status_line(recorder: EpisodeRecorder, contract: Contract, saved: int, wanted: int) -> str:
    """Task, episodes, duration, rate of each stream against the declared one, losses, disk.

    Args:
        saved: episodes that are complete.
        wanted: episodes to record; 0 for as many as come.
    """
    count = f"{saved}/{wanted} saved" if wanted else f"{saved} saved"
    room = f"{recorder.free_gb():.0f} GB free"
    task = recorder.task or "no task"
    episode = recorder.episode
    if episode is None:
        return "  ".join([task, count, room, HELP])
    rates = episode.rates()
    told = [
        _short(s.topic, s.type) + f" {rates[s.topic]:.0f}" + ("" if rates[s.topic] >= SLOW * s.rate_hz else "!")
        for s in contract.streams
        if s.rate_hz
    ]
    lost = f"{episode.lost.total()} lost"
    return "  ".join(
        [f"● {episode.folder.name} {episode.seconds:5.1f} s", task, count, " ".join(told) + " Hz", lost, room]
    )


def _short(topic: str, kind: str) -> str:
    """`camera/base/image_raw` -> `base`."""
    return topic.split("/")[-2] if kind == IMAGE else topic
