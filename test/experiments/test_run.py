"""The whole machinery of an experiment, small: data, training, trials, report; what is done is not done again."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from himoe_ros.core.errors import RecordingError, TrainingError
from himoe_ros.experiment_commands import RESULTS
from himoe_ros.experiments import run
from himoe_ros.experiments.cell import Job, job_of
from himoe_ros.experiments.config import Cell, Experiment, load_experiment
from himoe_ros.experiments.report import write_report
from himoe_ros.recording.session import Session
from himoe_ros.resources import share

FIRST = "action_spaces"
OTHERS = sorted({path.stem for path in (share() / "experiments").glob("*.yaml")} - {FIRST})


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> Path:
    """Where experiments share their data sets; the first one has been run, by its command."""
    folder = tmp_path_factory.mktemp("experiments")
    command = [sys.executable, "-m", "himoe_ros.cli", "experiment", "run", FIRST, "--quick", "--work", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return folder


@pytest.fixture
def here(monkeypatch) -> None:
    """Cells run in this process, which has imported everything."""
    monkeypatch.setattr(run, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))


def quick(name: str) -> Experiment:
    return load_experiment(share() / "experiments" / f"{name}.yaml", quick=True)


def go_on(name: str, work: Path) -> dict[Cell, dict]:
    return run.run_experiment(quick(name), work, f"{name}_quick", work / RESULTS, 1)


def cells(name: str, work: Path) -> list[Job]:
    experiment = quick(name)
    models = run.write_presets(experiment, work / f"{name}_quick")
    return [job_of(experiment, cell, models, work, work / RESULTS) for cell in experiment.cells()]


def test_an_experiment_runs_from_nothing_to_its_report(work):
    folder = work / f"{FIRST}_quick"
    page = (folder / f"{FIRST}.md").read_text()
    assert "## What may be said" in page and (folder / f"{FIRST}.svg").is_file()
    assert "| himoe/co-trained | fruit joints against fruit end_effector |" in page
    results = [json.loads(job.result.read_text()) for job in cells(FIRST, work)]
    assert {len(r["trials"]) for r in results} == {4} and all("held_out_flow" in r["held_out"] for r in results)
    assert sorted(len(r["samples"]) for r in results) == [1, 1, 3, 3]


@pytest.mark.parametrize("name", OTHERS)
def test_every_other_experiment_runs_too(name, work, here):
    results, experiment = go_on(name, work), quick(name)
    page = write_report(experiment, results, work / f"{name}_quick", "himoe").read_text()
    assert len(results) == len(experiment.cells()) and all(arm in page for arm in experiment.arms)


def test_what_is_done_is_not_done_again(work, here):
    files = [job.result for job in cells(FIRST, work)]
    before = [f.stat().st_mtime_ns for f in files]
    files[0].unlink()
    go_on(FIRST, work)
    after = [f.stat().st_mtime_ns for f in files]
    assert after[1:] == before[1:] and after[0] > before[0]


def test_results_are_all_that_is_needed_to_go_on_elsewhere(work, here, tmp_path):
    """On another machine there are neither data sets nor policies, and nothing is computed twice."""
    kept = {job.cell.name: job.result for job in cells(FIRST, work)}
    again = run.run_experiment(quick(FIRST), tmp_path, "elsewhere", work / RESULTS, 1)
    assert {cell.name: result for cell, result in again.items()} == {
        name: json.loads(file.read_text()) for name, file in kept.items()
    }
    assert not (tmp_path / "data").exists()


def test_work_that_was_begun_elsewhere_is_begun_anew(work, tmp_path):
    """A run keeps the places of its data sets; the folder of another place is another one."""
    experiment = quick(FIRST)
    models = run.write_presets(experiment, tmp_path)
    here, there = (job_of(experiment, experiment.cells()[0], models, root, tmp_path) for root in (work, tmp_path))
    assert here.result == there.result and here.folder.name != there.folder.name


def test_a_cell_that_fails_is_named_with_its_log(work, here):
    job = cells(FIRST, work)[0]
    job.result.unlink()
    (job.folder / "run" / "training.yaml").write_text("of another run\n")
    with pytest.raises(TrainingError, match="1 of 1 policies failed.*\n.* is a run of another configuration.*log.txt"):
        go_on(FIRST, work)


def test_one_at_a_time(work):
    session = Session(work)
    try:
        with pytest.raises(RecordingError, match="end it, or choose another folder"):
            go_on(FIRST, work)
    finally:
        session.close()
