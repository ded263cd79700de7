"""`himoe bench execution --simulated`: late plans in simulated time; what is finished is not run again."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from himoe_ros import cli
from himoe_ros.bench.execution import execution_row
from himoe_ros.bench_commands import _line


def main(words: list[str]) -> int:
    """What `himoe` ends with."""
    with pytest.raises(SystemExit) as end:
        cli.main(words)
    return end.value.code


def test_a_cell_is_told_and_not_run_again(tmp_path, capsys):
    told = ["bench", "execution", "--simulated", "--trials", "1", "--latency-s", "0.3", "--execution", "asynchronous"]
    told += ["--out", str(tmp_path / "cells"), "--json", str(tmp_path / "told.json")]
    assert main(told) == 0
    (row,) = json.loads((tmp_path / "told.json").read_text())
    assert (row["trials"], row["successes"], row["holds"], row["held_s"], row["plan_ms"]) == (4, 4, 0, 0.0, 300.0)
    assert row["refused"] == 0 and 0.1 < row["jerk"] < 1.05 and 4.0 < row["seconds"] < 20.0
    (cell,) = (tmp_path / "cells").iterdir()
    kept = json.loads(cell.read_text())
    assert len({t["setting"] for t in kept["trials"]}) == 4
    kept["trials"][0]["success"] = False
    cell.write_text(json.dumps(kept))
    capsys.readouterr()
    assert main(told) == 0
    assert "3/4" in capsys.readouterr().out, "the cell as it was kept"
    assert main([*told, "--seed", "8"]) == 0
    assert "4/4" in capsys.readouterr().out and len([*cell.parent.iterdir()]) == 2, "other scenes are other trials"


def test_a_session_lacks_what_nobody_looked_at():
    row = execution_row("rtc", 0.1, [SimpleNamespace(success=False, seconds=3.0, holds=2, held_s=0.5)], None)
    assert (row.seconds, row.plan_ms, row.refused, row.jerk) == (None, None, None, None) and row.holds == 2
    assert _line(row).split() == ["rtc", "100", "0/1", "-", "2", "0.50", "-", "-", "-"]


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--policy", "xarm7_small"], "--simulated is for the expert's plans"),
        (["--execution", "hasty"], "execution must be one of"),
        (["--latency-s", "-1"], "latencies >= 0 s"),
        (["--latency-s", "nan"], "latencies >= 0 s"),
        (["--replan-period-s", "0"], "--replan-period-s: expected > 0 s"),
        (["--protocol", "aloha/cup_handover", "--trials", "1"], "the expert of two arms knows no long plans"),
    ],
)
def test_what_cannot_be_tried_is_told(words, error, capsys):
    assert main(["bench", "execution", "--simulated", *words]) == 2
    assert error in capsys.readouterr().err
