"""Sessions and their log: nothing is lost, repeated or changed unnoticed, whatever ends the process."""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from session_runner import HEADER, PROTOCOL, result

from himoe_ros.trials.log import Log, LogError, read_log
from himoe_ros.trials.session import INTERRUPTED, LOG, Session, SessionError, read_session

RUNNER = Path(__file__).parents[1] / "session_runner.py"


def begun(folder: Path) -> Session:
    return Session(folder, PROTOCOL, HEADER)


def test_a_session_goes_through_its_plan_and_tells_it(tmp_path):
    session = begun(tmp_path)
    for _ in range(16):
        planned, attempt = session.next()
        session.begin(planned, attempt)
        session.finish(result(planned, attempt))
    assert session.next() is None
    session.close()
    header, results, voids = read_session(tmp_path)
    assert header == HEADER and [r.index for r in results] == list(range(16)) and voids == {}
    assert Counter(r.setting for r in results) == dict.fromkeys(PROTOCOL.settings, 4)


def test_a_void_trial_comes_again_and_its_reason_stays(tmp_path):
    session = begun(tmp_path)
    planned, attempt = session.next()
    session.begin(planned, attempt)
    session.void(planned, attempt, "nothing came from camera base")
    again, attempt = session.next()
    assert (again, attempt) == (planned, 1)
    session.begin(again, attempt)
    session.finish(result(again, attempt))
    session.close()
    _, results, voids = read_session(tmp_path)
    assert voids == {planned.index: ["nothing came from camera base"]} and results[0].attempt == 1


def test_what_was_interrupted_is_void_and_comes_again(tmp_path):
    session = begun(tmp_path)
    planned, _ = session.next()
    session.begin(planned, 0)
    session.close()  # as a kill leaves it
    session = begun(tmp_path)
    assert session.next() == (planned, 1) and session.results == []
    session.close()
    assert read_session(tmp_path)[2] == {planned.index: [INTERRUPTED]}


@pytest.mark.parametrize("kills", [5, pytest.param(20, marks=pytest.mark.slow)])
def test_killed_often_it_ends_with_16_trials_each_of_them_once(tmp_path, kills):
    rng, killed = random.Random(0), 0
    while True:
        runner = subprocess.Popen([sys.executable, str(RUNNER), str(tmp_path), "0.12"])
        if killed < kills:
            time.sleep(rng.uniform(0.05, 0.8))
            if runner.poll() is None:
                runner.send_signal(signal.SIGKILL)
                killed += 1
            runner.wait()
        elif runner.wait(60) == 0:
            break
    _, results, voids = read_session(tmp_path)
    assert [r.index for r in results] == list(range(16)), "none lost, none repeated"
    assert sum(r.success for r in results) == sum(i % 3 > 0 for i in range(16))
    records = read_log(tmp_path / LOG)
    attempts = sum(r["kind"] == "begun" for r in records)
    assert attempts == 16 + sum(map(len, voids.values())), "what was interrupted is void"


def test_half_a_line_is_dropped(tmp_path):
    session = begun(tmp_path)
    planned, _ = session.next()
    session.begin(planned, 0)
    session.close()
    whole = (tmp_path / LOG).read_bytes()
    (tmp_path / LOG).write_bytes(whole + b'{"kind": "finished", "index": 0, "sta')
    session = begun(tmp_path)
    assert session.results == [] and session.next()[1] == 1
    session.close()
    assert (tmp_path / LOG).read_bytes().startswith(whole)


@pytest.mark.parametrize("change", ["edited", "removed", "moved", "added"])
def test_results_changed_by_hand_are_named(tmp_path, change):
    session = begun(tmp_path)
    for success in (True, False, True):
        planned, attempt = session.next()
        session.begin(planned, attempt)
        session.finish(result(planned, attempt, success))
    session.close()
    path = tmp_path / LOG
    lines = path.read_text().splitlines()
    if change == "edited":
        lines[4] = lines[4].replace('"place": false', '"place": true')
    elif change == "removed":
        del lines[3:5]
    elif change == "moved":
        lines[2], lines[4] = lines[4], lines[2]
    else:
        lines.append(lines[-1])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(LogError, match=r"line \d: the record, or one before it, is not as it was written"):
        read_session(tmp_path)
    with pytest.raises(LogError, match="Restore the file from a copy"):
        begun(tmp_path)


def test_a_full_disk_leaves_the_log_whole(tmp_path):
    log = Log(tmp_path / LOG)
    log.append({"kind": "session"})
    before = (tmp_path / LOG).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 40, limits[1]))
        with pytest.raises(LogError, match="cannot be written: .*make room, then resume"):
            log.append({"kind": "finished", "note": "x" * 200})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / LOG).read_bytes() == before
    log.append({"kind": "finished"})
    log.close()
    assert [r["kind"] for r in read_log(tmp_path / LOG)] == ["session", "finished"]


def test_two_sessions_do_not_share_a_folder(tmp_path):
    session = begun(tmp_path)
    with pytest.raises(LogError, match="another session writes to"):
        begun(tmp_path)
    session.close()
    other = HEADER.__class__(**{**HEADER.__dict__, "seed": 4})
    with pytest.raises(SessionError, match="holds a session with seed 3 instead of 4; choose another folder"):
        Session(tmp_path, PROTOCOL, other)


def test_no_log_and_no_session_are_told(tmp_path):
    with pytest.raises(LogError, match="expected the log of a session at"):
        read_session(tmp_path)
    (tmp_path / LOG).write_text("hello\n")
    with pytest.raises(LogError, match="line 1: expected a record with its checksum"):
        read_session(tmp_path)
    os.truncate(tmp_path / LOG, 0)
    with pytest.raises(SessionError, match="begins with its session"):
        read_session(tmp_path)


def test_every_record_is_json_with_a_time(tmp_path):
    session = begun(tmp_path)
    session.close()
    record = json.loads((tmp_path / LOG).read_text())
    assert record["kind"] == "session" and abs(record["at"] - time.time()) < 10
