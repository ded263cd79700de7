"""The folder of a session: numbered episodes, of which nothing is ever overwritten, and one recorder at a time."""

from __future__ import annotations

import fcntl
import os
import re
from pathlib import Path

from ..core.errors import RecordingError
from .bag import METADATA

EPISODE = re.compile(r"episode_(\d{4,})(\.discarded)?")
LOCK = ".recorder"


class Session:
    """Takes a folder for one recorder; a session that is begun again goes on at the next number."""

    def __init__(self, folder: Path) -> None:
        """
        Raises:
            RecordingError: the folder cannot be made, or another recorder uses it.
        """
        self.folder = folder
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._lock = (folder / LOCK).open("a+")
        except OSError as error:
            raise RecordingError(f"expected a folder for episodes, {folder} cannot be used: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock.seek(0)
            other = self._lock.read().strip()
            self._lock.close()
            raise RecordingError(
                f"another recorder (process {other}) writes to {folder}; end it, or choose another folder"
            ) from error
        self._lock.truncate(0)
        self._lock.write(str(os.getpid()))
        self._lock.flush()

    def close(self) -> None:
        """Let another recorder have the folder."""
        self._lock.close()

    def next_episode(self) -> Path:
        """The folder of an episode that does not exist yet."""
        numbers = [int(m[1]) for path in self.folder.iterdir() if (m := EPISODE.fullmatch(path.name))]
        return self.folder / f"episode_{max(numbers, default=-1) + 1:04d}"

    def saved(self) -> int:
        """Number of complete episodes."""
        return sum((path / METADATA).is_file() for path in self.folder.iterdir() if _kept(path))


def discard(episode: Path) -> Path:
    """Put an episode aside: export and check pass it by; only a person deletes it."""
    aside = episode.with_name(episode.name + ".discarded")
    episode.rename(aside)
    return aside


def bags_in(folder: Path) -> list[Path]:
    """The bag that a folder is, or the episodes of a session, in order, without the discarded ones.

    Raises:
        RecordingError: there is none.
    """
    if (folder / METADATA).is_file() or any(folder.glob("*.mcap")):
        return [folder]
    found = sorted(path for path in folder.glob("episode_*") if _kept(path))
    if not found:
        raise RecordingError(f"{folder} is neither a bag nor a session with episode_NNNN in it")
    return found


def _kept(path: Path) -> bool:
    match = EPISODE.fullmatch(path.name)
    return bool(match) and not match[2] and path.is_dir()
