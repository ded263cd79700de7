"""The log of a session: one JSON record a line, only ever appended to, on the disk before anything goes on.

Each record carries a checksum over itself and the one before, so a line that was edited, moved or taken out shows.
Records cut off the end look like a kill, and their trials come again. The end of a line that a kill or a full disk cut
short was never promised to anybody, and is dropped.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..core.errors import HimoeError

SUM = "sum"


class LogError(HimoeError):
    """A log that cannot be written, or whose records are not as they were written."""


class Log:
    """Appends to a log that nobody else appends to meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open, or begin, a log.

        Raises:
            LogError: it cannot be opened, another process appends to it, or it was changed by hand.
        """
        self._path = path
        try:
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        except OSError as error:
            raise LogError(f"expected a log that can be written, {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise LogError(f"another session writes to {path}; end it, or choose another folder") from error
        whole, self.records, self._last = _read(path)
        os.ftruncate(self._file, whole)
        self._size = whole
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # a new file's name is on the disk, too
        os.close(folder)

    def append(self, record: Mapping[str, Any]) -> None:
        """Write one record; it is on the disk when this returns.

        Raises:
            LogError: there is no room for it. The log is as it was before.
        """
        line = _line(record, self._last)
        try:
            written = os.write(self._file, line)
            if written < len(line):
                raise OSError(None, "no space left on the device")
            os.fsync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self._size)
            raise LogError(f"{self._path} cannot be written: {error.strerror}; make room, then resume") from error
        self._size += len(line)
        self._last = json.loads(line)[SUM]
        self.records.append(dict(record))

    def close(self) -> None:
        os.close(self._file)


def read_log(path: Path) -> list[dict[str, Any]]:
    """The records of a log.

    Raises:
        LogError: there is none, or it was changed by hand.
    """
    if not path.is_file():
        raise LogError(f"expected the log of a session at {path}, there is none")
    return _read(path)[1]


def _read(path: Path) -> tuple[int, list[dict[str, Any]], str]:
    """Bytes of whole lines, their records, and the last checksum."""
    data = path.read_bytes()
    whole = data.rfind(b"\n") + 1
    records, last = [], ""
    for number, line in enumerate(data[:whole].splitlines(), start=1):
        try:
            record = json.loads(line)
            told = record.pop(SUM)
        except (ValueError, KeyError, AttributeError, TypeError) as error:
            raise LogError(f"{path}, line {number}: expected a record with its checksum, got {line[:80]!r}") from error
        if told != _sum(record, last):
            raise LogError(
                f"{path}, line {number}: the record, or one before it, is not as it was written; "
                "results changed by hand are not reported. Restore the file from a copy"
            )
        records.append(record)
        last = told
    return whole, records, last


def _line(record: Mapping[str, Any], last: str) -> bytes:
    return (json.dumps({**record, SUM: _sum(record, last)}, ensure_ascii=False) + "\n").encode()


def _sum(record: Mapping[str, Any], last: str) -> str:
    text = last + json.dumps(record, ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
