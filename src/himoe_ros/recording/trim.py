"""Cuts a part out of a bag, into a new one."""

from __future__ import annotations

from pathlib import Path

from mcap.records import Channel, Message

from ..core.errors import RecordingError
from .copying import BagCopy
from .reader import BagInfo, read_raw


def trim(info: BagInfo, out: Path, begin: float, end: float) -> int:
    """Write messages received in a span of time; what was latched before it comes first.

    Args:
        info: of the bag, which stays as it is.
        out: new bag; must not exist.
        begin, end: s from the bag's start.

    Returns:
        Number of messages.

    Raises:
        RecordingError: the span is empty or outside the bag, the bag is damaged, or `out` exists.
    """
    if not 0 <= begin < end or begin >= info.duration:
        raise RecordingError(
            f"expected 0 <= from < to and from before the end of {info.folder} at {info.duration:.2f} s, "
            f"got {begin:g} to {end:g} s"
        )
    end = min(end, info.duration)
    first, last = round((info.start + begin) * 1e9), round((info.start + end) * 1e9)
    copy = BagCopy(out, info.about)
    waiting: dict[int, tuple[Channel, Message]] = {}
    for schema, channel, message in read_raw(info):
        copy.add_channel(channel, schema.name)
        if message.log_time < first:
            if channel.topic in info.latched:  # its last message still holds when the part begins
                waiting[channel.id] = (channel, message)
            continue
        for _, kept in waiting.values():
            copy.put(kept, received=first)
        waiting.clear()
        if message.log_time > last:
            break
        copy.put(message)
    copy.close({"seconds": f"{end - begin:.2f}", "trimmed": f"{begin:g} to {end:g} s of {info.folder.name}"})
    return copy.messages
