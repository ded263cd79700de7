"""A part of a bag is a bag: what was latched before it still holds, and what is known of the episode stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from recording.test_frames import LASTING, LIMITS, RATE, XARM7, record

from himoe_ros.core.errors import RecordingError
from himoe_ros.recording.frames import read_frames
from himoe_ros.recording.reader import read_info, read_messages
from himoe_ros.recording.trim import trim


def test_a_part_has_the_messages_of_its_span_and_what_was_latched_before(tmp_path):
    info = read_info(record(tmp_path / "bag"))
    count = trim(info, tmp_path / "part", 0.5, 1.5)
    part = read_info(tmp_path / "part")
    assert part.about["complete"] == "yes" and part.about["trimmed"] == "0.5 to 1.5 s of bag"
    assert part.duration == pytest.approx(1.0, abs=0.03) and sum(part.counts.values()) == count
    wanted = [m for m in read_messages(info) if 0.5 <= m.received - info.start <= 1.5]
    kept = [m for m in read_messages(part) if not m.topic.endswith("/instruction")]
    assert [(m.topic, m.received) for m in kept] == [(m.topic, m.received) for m in wanted]
    assert part.counts["/robot/instruction"] == 1
    frames = list(read_frames(part, XARM7, LIMITS, RATE))
    assert frames[0].observation.instruction == "lift" and len(frames) == pytest.approx(9, abs=2)


def test_without_an_end_it_goes_on_to_the_bags(tmp_path):
    record(tmp_path / "bag")
    command = [
        Path(sys.executable).with_name("himoe"),
        "bag",
        "trim",
        tmp_path / "bag",
        tmp_path / "part",
        "--from",
        "1.5",
    ]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert read_info(tmp_path / "part").duration == pytest.approx(LASTING - 1.5, abs=0.05)


@pytest.mark.parametrize("span", [(-1.0, 1.0), (1.0, 1.0), (1.0, 0.5), (LASTING + 1, LASTING + 2), (float("nan"), 1.0)])
def test_a_span_that_is_none_is_refused(tmp_path, span):
    info = read_info(record(tmp_path / "bag"))
    with pytest.raises(RecordingError, match="expected 0 <= from < to"):
        trim(info, tmp_path / "part", *span)
    assert not (tmp_path / "part").exists()
