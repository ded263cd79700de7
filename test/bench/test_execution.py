"""`himoe bench execution --simulated`: late plans in simulated time; what is finished is not run again."""

from __future__ import annotations

import json

import pytest

from himoe_ros import cli


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
    assert 0.1 < row["jerk"] < 1.05 and 4.0 < row["seconds"] < 20.0
    cell = tmp_path / "cells/asynchronous_300ms.json"
    kept = json.loads(cell.read_text())
    assert len({t["setting"] for t in kept["trials"]}) == 4
    kept["trials"][0]["success"] = False
    cell.write_text(json.dumps(kept))
    capsys.readouterr()
    assert main(told) == 0
    assert "3/4" in capsys.readouterr().out, "the cell as it was kept"
    assert main([*told, "--seed", "8"]) == 0
    assert "4/4" in capsys.readouterr().out, "other scenes are other trials"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (["--policy", "xarm7_small"], "--simulated is for the expert's plans"),
        (["--execution", "hasty"], "execution must be one of"),
        (["--latency-s", "-1"], "latencies >= 0 s"),
    ],
)
def test_what_cannot_be_tried_is_told(words, error, capsys):
    assert main(["bench", "execution", "--simulated", *words]) == 2
    assert error in capsys.readouterr().err
