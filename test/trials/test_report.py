"""The report: tables with counts and intervals, tests between policies, every trial with where it comes from."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
from session_runner import HEADER, PROTOCOL, result

from himoe_ros.resources import config
from himoe_ros.trials.gather import gather
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.published import cell, published_rows
from himoe_ros.trials.report import ReportError, write_report
from himoe_ros.trials.session import Session
from himoe_ros.trials.statistics import wilson
from himoe_ros.trials.summary import summary

FOLDER = config("trials")


@pytest.fixture
def session(tmp_path) -> Path:
    """Two policies, hidden; the good one places everything, the other half of it."""
    header = replace(HEADER, policies=["good one", "bad one"], untrained=["bad one"])
    session = Session(tmp_path / "s", PROTOCOL, header)
    assert "good" not in summary(PROTOCOL, header, [result(session.planned[0], 0)]), "labels stay hidden in a session"
    while (following := session.next()) is not None:
        planned, attempt = following
        session.begin(planned, attempt)
        if planned.index == 3 and attempt == 0:
            session.void(planned, 0, "nothing came for 1.5 s from camera base")
            continue
        good = header.labels[planned.label] == "good one"
        told = result(planned, attempt, good or planned.repetition % 2 == 0)
        mishap = {} if told.success else {"wrong_target": "pink_plate", "reason": "<b>"}
        session.finish(replace(told, note="looked <odd>", latency=[7.0, 30.0], events=[[0.1, "pick"]], **mishap))
    session.close()
    return tmp_path / "s"


def report(folder: Path, published: bool = False, sequential: bool = False) -> tuple[str, str, list[dict[str, str]]]:
    out = folder / "report"
    index = write_report(gather([folder], FOLDER), out, FOLDER, published, sequential)
    with (out / "trials.csv").open() as file:
        return index.read_text(), (out / "report.md").read_text(), list(csv.DictReader(file))


def test_it_tells_counts_intervals_and_a_test(session):
    page, text, rows = report(session)
    low, high = wilson(8, 16)
    assert f"| 8/16  50 % [{100 * low:.0f}, {100 * high:.0f}] |" in text
    assert "| good one | 16/16  100 % [81, 100] | 16/16" in text and "| bad one (untrained) |" in text
    assert "In simulation, not on a robot" in text
    assert "(same scenes, exact McNemar): good one 16/16, bad one (untrained) 8/16, p = 0.008: good one is" in text
    assert "void, not counted: trial 4: nothing came for 1.5 s from camera base" in text
    assert len(rows) == 2 * 32 and {r["policy"] for r in rows} == {"good one", "bad one (untrained)"}
    assert sum(int(r["reached"]) for r in rows if r["stage"] == "place") == 24
    assert rows[0]["scene"] and rows[0]["session"] == str(session)
    assert "looked &lt;odd&gt;" in page and "<odd>" not in page and "<b>" not in page
    assert page.count("<figure>") == 8 and "trial_" not in text


def test_a_test_may_hold_under_optional_stopping(session):
    _, text, _ = report(session, sequential=True)
    assert "valid under optional stopping" in text and "McNemar" not in text


def test_sessions_apart_are_compared_unpaired(tmp_path):
    for name, seed in (("one", 1), ("two", 2)):
        session = Session(tmp_path / name, PROTOCOL, replace(HEADER, policies=[name], seed=seed))
        while (following := session.next()) is not None:
            session.begin(*following)
            session.finish(result(*following, success=name == "one"))
        session.close()
    parts = gather([tmp_path / "one", tmp_path / "two"], FOLDER)
    write_report(parts, tmp_path / "r", FOLDER, published=False, sequential=False)
    text = (tmp_path / "r/report.md").read_text()
    assert "place (different scenes, exact Fisher): one 16/16, two 0/16, p = 0.000: one is better." in text


def test_a_session_counts_once_and_other_conditions_are_reported_apart(session, tmp_path):
    (part,) = gather([session, session / ".", session], FOLDER)
    assert len(part.trials) == 32
    dark = Session(tmp_path / "dark", PROTOCOL, replace(HEADER, options={"light": "0.5"}))
    dark.begin(*dark.next())
    dark.finish(result(*dark.next()))
    dark.close()
    with pytest.raises(ReportError, match="differ in light 0.5 and None; report them apart"):
        gather([session, tmp_path / "dark"], FOLDER)


def test_half_a_pair_is_left_out_and_told(tmp_path):
    session = Session(tmp_path / "s", PROTOCOL, replace(HEADER, policies=["one", "two"]))
    for _ in range(5):
        following = session.next()
        session.begin(*following)
        session.finish(result(*following))
    session.close()
    out = tmp_path / "r"
    write_report(gather([tmp_path / "s"], FOLDER), out, FOLDER, published=False, sequential=True)
    assert "under optional stopping, 1 trials without their counterpart left out" in (out / "report.md").read_text()
    apart = Session(tmp_path / "t", PROTOCOL, replace(HEADER, policies=["three"]))
    apart.begin(*apart.next())
    apart.finish(result(*apart.next()))
    apart.close()
    with pytest.raises(ReportError, match="--sequential compares scene by scene"):
        write_report(gather([tmp_path / "s", tmp_path / "t"], FOLDER), out, FOLDER, published=False, sequential=True)


def test_another_protocol_under_the_same_name_is_not_reported(tmp_path):
    session = Session(tmp_path / "s", PROTOCOL, replace(HEADER, content="other"))
    session.begin(*session.next())
    session.finish(result(*session.next()))
    session.close()
    with pytest.raises(ReportError, match="is not as it was when .* ran; restore its file"):
        gather([tmp_path / "s"], FOLDER)


def test_published_rows_stand_beside_as_counts(session):
    _, text, _ = report(session, published=True)
    assert "| HiMoE-VLA (paper, Table 3, real robot) | 81.3 % = 13/16 | 75.0 % = 12/16 |" in text
    assert "65.6 %, no count of 16 (it would be 10.5)" in text


def test_the_papers_percentages_are_counts_but_for_these():
    odd = {}
    for name in (f"{p.parent.name}/{p.stem}" for p in FOLDER.glob("*/*.yaml")):
        for row in published_rows(FOLDER, load_protocol(name, FOLDER)):
            for text in row.cells:
                if "no count" in text:
                    odd.setdefault(name, []).append(row.method)
    assert odd == {
        "xarm7/fruit_to_plate": ["CogACT", "CogACT"],
        "xarm7/cup_in_cup": ["CogACT"],
        "xarm7/block_on_block": ["CogACT"],
        "aloha/scoop_distractors": ["RDT-1B", "pi_0", "HiMoE-VLA"],
    }
    assert cell(6.6, 15) == "6.6 % = 1/15", "some tables cut the last digit"


def test_no_trial_is_no_report(tmp_path):
    Session(tmp_path / "s", PROTOCOL, HEADER).close()
    with pytest.raises(ReportError, match="expected at least one finished trial; resume the session first"):
        report(tmp_path / "s")
