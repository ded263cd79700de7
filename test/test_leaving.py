"""Shared memory that a killed process has left is removed, that of a living one is not."""

from __future__ import annotations

import fcntl
import os
import time

import pytest

from himoe_ros import leaving
from himoe_ros.leaving import remove_abandoned


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(leaving, "FOLDER", tmp_path)
    return tmp_path


def segment(folder, name: str, age: float = 60.0):
    lock = folder / f"fastdds_{name}_el"
    (folder / f"fastdds_{name}").write_bytes(bytes(100))
    lock.touch()
    os.utime(lock, (time.time() - age, time.time() - age))
    return lock


def test_only_what_nobody_holds_is_removed(folder):
    segment(folder, "dead")
    (folder / "sem.fastdds_dead_mutex").touch()
    living, young = segment(folder, "alive"), segment(folder, "young", age=0.0)
    (folder / "fastdds_port7411").touch()
    (folder / "other_el").touch()
    with living.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert remove_abandoned() == 1
    left = {p.name for p in folder.iterdir()}
    alive = {"fastdds_alive", "fastdds_alive_el", "fastdds_young", "fastdds_young_el"}
    assert left == alive | {"fastdds_port7411", "other_el"}
    assert young.exists() and remove_abandoned() == 1, "once its owner is gone"
