"""The report of an experiment says what the results are, and no more than they allow."""

from __future__ import annotations

import csv
from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.experiments.config import Cell, load_experiment
from himoe_ros.experiments.report import Results, write_report
from himoe_ros.resources import share

PLAIN = load_experiment(share() / "experiments" / "action_spaces.yaml", quick=False)
ARMS = ("himoe/co-trained", "himoe/joints", "dense/co-trained", "dense/joints")
EXPERIMENT = replace(PLAIN, sweep=(15, 30), compare=(ARMS[:2], ARMS[2:], ARMS))
SCENES = 24


def results(rates: dict[str, float]) -> dict[Cell, dict]:
    """Made up: an arm succeeds in about so large a share of scenes, and one more or less with other seeds."""
    made = {}
    for cell in EXPERIMENT.cells():
        reached = np.arange(SCENES) < rates[cell.arm] * SCENES + cell.seed % 3 - 1
        common = {"setting": "apple_blue", "pick": True, "wrong_target": "", "seconds": 9.0, "refused": 0}
        trials = [
            common | {"scene": 7 + i, "place": bool(r), "wrong_object": "" if i else "orange"}
            for i, r in enumerate(reached)
        ]
        layer = {"layer": 0, "kind": "as", "bits": 0.9, "by_chance": 0.01, "share": np.eye(3).tolist()}
        made[cell] = {
            "parameters": 2_000_000,
            "active_in_expert": 300_000,
            "samples": [100, 200, 300][: len(EXPERIMENT.mixtures[cell.mixture])],
            "held_out": {"held_out_flow": 0.25 - (cell.arm == ARMS[0]) * (0.1 + 0.01 * cell.seed)},
            "routing": [layer] if cell.variant == "himoe" else [],
            "trials": trials,
        }
    return made


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    rates = {"himoe/co-trained": 0.75, "himoe/joints": 0.25, "dense/co-trained": 0.25, "dense/joints": 0.25}
    out = tmp_path_factory.mktemp("report")
    page = write_report(EXPERIMENT, results(rates), out, "himoe experiment run action_spaces")
    return out, page.read_text(), Results(EXPERIMENT, results(rates))


def test_the_page_says_what_the_results_are(told):
    _, page, results = told
    assert results.reached("himoe/co-trained", 15, "place").shape == (5, SCENES)
    lines = [line for line in page.splitlines() if line.startswith("- ")]
    assert lines[0].startswith("- himoe/co-trained over himoe/joints: +50 [+50, +50], p = 0.1")
    assert lines[1] == "- dense/co-trained over dense/joints: +0 [+0, +0], p = 1.000: not separable with so many seeds."
    assert lines[2].startswith(
        "- (himoe/co-trained over himoe/joints) beyond (dense/co-trained over dense/joints): +50"
    )
    assert lines[3] == "- himoe/co-trained over himoe/joints: -0.120 [-0.140, -0.100], p = 0.000: holds here."


def test_the_page_holds_every_part(told):
    out, page, _ = told
    headings = ("# Heterogeneous action spaces", "The claim: ", "## Place", "## Pick")
    rows = (
        "| himoe/joints | 24 % [1",
        "4 % / 0 %",
        "0.250 [0.250, 0.250]",
        "| himoe/co-trained | AS | 0.90 [0.90, 0.90]; 0.01 by chance |",
        "| himoe/co-trained | fruit joints against fruit end_effector | 1.00 [1.00, 1.00] |",
        "| 2.00 M | 0.30 M | fruit joints: 100, 60 %; fruit end_effector: 200, 30 %; handover joints_10hz: 300, 10 % |",
    )
    for part in (*headings, *rows, "himoe experiment run action_spaces"):
        assert part in page, part
    figure = (out / "action_spaces.svg").read_text()
    assert figure.count("himoe/co-trained") >= 1 and "demonstrations" in figure


def test_raw_results_are_kept_whole(told):
    out, _, results = told
    rows = list(csv.DictReader((out / "action_spaces_trials.csv").open()))
    assert len(rows) == len(results.of) * SCENES
    mine = [r for r in rows if (r["variant"], r["mixture"], r["demonstrations"]) == ("himoe", "co-trained", "15")]
    assert np.mean([int(r["place"]) for r in mine]) == results.reached("himoe/co-trained", 15, "place").mean()
    policies = list(csv.DictReader((out / "action_spaces_policies.csv").open()))
    assert len(policies) == len(results.of) and float(policies[0]["held_out_flow"]) == 0.25
