"""Saves what can be read of a bag whose recorder was killed, or whose file is damaged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcap.records import Channel, Chunk, DataEnd, Message, Metadata, Schema
from mcap.stream_reader import StreamReader, breakup_chunk

from ..core.errors import RecordingError
from .bag import EPISODE
from .copying import BagCopy
from .reader import UNREADABLE

LARGEST_RECORD = 1 << 30  # bytes; more is no record but a flipped bit


@dataclass(frozen=True)
class Repaired:
    """What became of a bag: messages saved, and why reading ended ("" at a proper end)."""

    messages: int
    reason: str


def repair(source: Path, out: Path) -> Repaired:
    """Write what can be read into a new bag, marked as incomplete; the source stays as it is.

    Raises:
        RecordingError: there is no MCAP file, nothing in it can be read, or `out` exists.
    """
    files = sorted(source.glob("*.mcap"))
    if len(files) != 1:
        raise RecordingError(f"{source}: expected one MCAP file, found {len(files)}; give the folder of one bag")
    about: dict[str, str] = {}
    schemas: dict[int, str] = {}
    copy: BagCopy | None = None
    reason = "the file ends in the middle"
    for record in _records(files[0]):
        if isinstance(record, str):
            reason = record
        elif isinstance(record, Metadata) and record.name == EPISODE:
            about = dict(record.metadata)
        elif isinstance(record, Schema):
            schemas[record.id] = record.name
        elif isinstance(record, Channel):
            copy = copy or BagCopy(out, about)
            copy.add_channel(record, schemas[record.schema_id])
        elif isinstance(record, Message) and copy is not None:
            copy.put(record)
    if copy is None:
        raise RecordingError(f"{files[0]}: nothing can be read ({reason})")
    copy.close({"complete": "no", "repaired": reason or "it was whole, but for its metadata"})
    return Repaired(copy.messages, reason)


def _records(path: Path) -> Iterator[Any]:
    """Records in the order of the file, then why it ended, in words, "" for a proper end.

    A chunk is taken whole or not at all, by its checksum.
    """
    with path.open("rb") as file:
        try:
            for record in StreamReader(file, emit_chunks=True, record_size_limit=LARGEST_RECORD).records:
                if isinstance(record, Chunk):
                    yield from breakup_chunk(record, validate_crc=True)
                elif isinstance(record, DataEnd):
                    yield ""
                    return
                else:
                    yield record
        except UNREADABLE as error:
            yield f"{type(error).__name__}: {error}".rstrip(": ")
