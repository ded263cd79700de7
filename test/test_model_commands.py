"""`himoe model ...` on the command line."""

from __future__ import annotations

import pytest
from release import PRESET, released_tensors, small_model, write_release

from himoe_ros.cli import main


def himoe(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    return end.value.code, out, err


def test_convert_then_info(tmp_path, capsys):
    source, out = write_release(tmp_path / "released", released_tensors(small_model())), tmp_path / "policy"
    robot = ("--embodiment", "xarm7", "--action-space", "end_effector")
    code, told, _ = himoe(capsys, "model", "convert", source, out, "--preset", PRESET, *robot)
    assert code == 0
    assert told == f"{out}: {PRESET}, {sum(p.stat().st_size for p in out.iterdir()) / 1e9:.2f} GB\n"
    code, told, _ = himoe(capsys, "model", "info", out)
    assert code == 0
    assert told.startswith(PRESET)
    code, _, error = himoe(capsys, "model", "convert", source, out, "--preset", PRESET, *robot)
    assert code == 2
    assert "exists; remove it" in error


def test_a_base_model_needs_no_robot_and_a_robot_needs_both_names(tmp_path, capsys):
    source = write_release(tmp_path / "released", released_tensors(small_model()))
    code, told, _ = himoe(capsys, "model", "convert", source, tmp_path / "base", "--preset", PRESET)
    assert code == 0
    assert "note: stats.json is missing" in told
    code, _, error = himoe(capsys, "model", "convert", source, tmp_path / "x", "--embodiment", "xarm7")
    assert code == 2
    assert "both --embodiment and --action-space" in error
    assert not (tmp_path / "x").exists()


def test_info_of_a_preset_and_of_nothing(capsys):
    assert "4068.9" in himoe(capsys, "model", "info", "himoe_4b")[1]
    code, _, error = himoe(capsys, "model", "info", "himoe_5b")
    assert code == 2
    assert "'himoe_5b' is no folder" in error


def test_help_lists_the_presets(capsys):
    assert "himoe_4b" in himoe(capsys, "model", "convert", "--help")[1]
