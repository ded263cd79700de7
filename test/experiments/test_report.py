"""The report of an experiment says what the results are, and no more than they allow."""

from __future__ import annotations

import csv
from dataclasses import asdict, replace

import numpy as np
import pytest

from himoe_ros.experiments.config import load_experiment
from himoe_ros.experiments.report import Results, write_report
from himoe_ros.resources import share

PLAIN = load_experiment(share() / "experiments" / "action_spaces.yaml", quick=False)
EXPERIMENT = replace(
    PLAIN, sweep=(15, 30), compare=(("himoe/co-trained", "himoe/joints"), ("dense/joints", "himoe/joints"))
)
SCENES = 24


def results(rates: dict[str, float]) -> list[dict]:
    """Made up: an arm succeeds in so large a share of scenes, whatever the seed and the demonstrations."""
    made = []
    for cell in EXPERIMENT.cells():
        reached = np.arange(SCENES) < rates[cell.arm] * SCENES
        common = {"setting": "apple_blue", "pick": True, "wrong_target": "", "seconds": 9.0, "refused": 0}
        trials = [
            common | {"scene": 7 + i, "place": bool(r), "wrong_object": "" if i else "orange"}
            for i, r in enumerate(reached)
        ]
        layer = {
            "layer": 0,
            "kind": "as",
            "bits": 0.9,
            "by_chance": 0.01,
            "members": ["a", "b"],
            "share": [[1.0, 0.0], [0.0, 1.0]],
        }
        made.append(
            {
                "cell": asdict(cell),
                "parameters": 2_000_000,
                "active_in_expert": 300_000,
                "samples": {"fruit, joints": 100},
                "held_out": {"held_out_flow": 0.25},
                "routing": [layer] if cell.variant == "himoe" else [],
                "trials": trials,
            }
        )
    return made


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    rates = {"himoe/co-trained": 0.75, "himoe/joints": 0.25, "dense/co-trained": 0.25, "dense/joints": 0.25}
    out = tmp_path_factory.mktemp("report")
    page = write_report(EXPERIMENT, results(rates), out, "himoe experiment run action_spaces")
    return out, page.read_text(), Results(EXPERIMENT, results(rates))


def test_rates_differences_and_tests_are_those_of_the_results(told):
    _, page, results = told
    rate, low, high = results.rate("himoe/co-trained", 15, "place")
    assert rate == 0.75 and low < 0.70 and high > 0.80
    assert results.differences("himoe/co-trained", "himoe/joints", "place").shape == (6, SCENES)
    better = next(
        line for line in page.splitlines() if line.startswith("- place: himoe/co-trained against himoe/joints")
    )
    assert "+50 points" in better and "p = 0.031" in better and "himoe/co-trained is better here" in better
    alike = next(line for line in page.splitlines() if line.startswith("- place: dense/joints against himoe/joints"))
    assert "+0 points [+0, +0], p = 1.000" in alike and "not separable here" in alike


def test_the_page_holds_every_part(told):
    out, page, _ = told
    headings = ("# Heterogeneous action spaces", "The claim: ", "## Place", "## Pick")
    rows = ("| himoe/joints | 25 % [", "4 % / 0 %", "0.250 [0.250, 0.250]", "| himoe/joints | AS | 0.90 (0.01) |")
    assert "| himoe/joints | a against b | 1.00 |" in page, "disjoint experts tell the two apart"
    for part in (*headings, *rows, "himoe experiment run action_spaces", "2.00 M | 0.30 M"):
        assert part in page, part
    figure = (out / "action_spaces.svg").read_text()
    assert figure.count("himoe/co-trained") >= 1 and "demonstrations" in figure


def test_raw_results_are_kept_whole(told):
    out, _, results = told
    rows = list(csv.DictReader((out / "action_spaces_trials.csv").open()))
    assert len(rows) == len(results.of) * SCENES
    mine = [r for r in rows if (r["variant"], r["mixture"], r["demonstrations"]) == ("himoe", "co-trained", "15")]
    assert np.mean([int(r["place"]) for r in mine]) == 0.75
    policies = list(csv.DictReader((out / "action_spaces_policies.csv").open()))
    assert len(policies) == len(results.of) and float(policies[0]["held_out_flow"]) == 0.25
