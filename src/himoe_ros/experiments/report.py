"""What came of an experiment: tables with intervals, paired tests, a figure, and the raw results beside them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from ..core.observation import Floats
from ..training.routing import information
from ..trials.statistics import LEVEL, sign_flip, two_way_bootstrap, two_way_interval
from .config import Cell, Experiment
from .figure import Curve, draw_curves

Result = Mapping[str, Any]
POINTS = 100  # per cent
KINDS = ("as", "hb", "ada")


class Results:
    """The results of an experiment, by what was compared."""

    def __init__(self, experiment: Experiment, results: Sequence[Result]) -> None:
        self.experiment = experiment
        self.of = {Cell(**r["cell"]): r for r in results}
        first = results[0]["trials"][0]
        self.stages = [name for name, value in first.items() if isinstance(value, bool)]

    def runs(self, arm: str, n: int) -> list[Result]:
        """One of each seed, in order."""
        return [
            self.of[c]
            for s in self.experiment.seeds
            for c in self.of
            if (c.arm, c.demonstrations, c.seed) == (arm, n, s)
        ]

    def reached(self, arm: str, n: int, stage: str) -> Floats:
        """(seeds, scenes) 1 where the stage was reached."""
        return np.array([[t[stage] for t in run["trials"]] for run in self.runs(arm, n)], dtype=float)

    def rate(self, arm: str, n: int, stage: str) -> tuple[float, float, float]:
        """Rate and interval of a stage, over seeds and scenes."""
        reached = self.reached(arm, n, stage)
        return float(reached.mean()), *two_way_interval(reached)

    def differences(self, a: str, b: str, stage: str) -> Floats:
        """(pairs, scenes) a minus b, of each pair of runs with the same demonstrations and seed."""
        return np.concatenate([self.reached(a, n, stage) - self.reached(b, n, stage) for n in self.experiment.sweep])


def write_report(experiment: Experiment, results: Sequence[Result], out: Path, command: str) -> Path:
    """Write NAME.md, NAME.svg, NAME_trials.csv and NAME_policies.csv.

    Args:
        out: folder.
        command: that gives all this again.
    """
    told = Results(experiment, results)
    out.mkdir(parents=True, exist_ok=True)
    name = experiment.name
    _trials_csv(told, out / f"{name}_trials.csv")
    _policies_csv(told, out / f"{name}_policies.csv")
    curves = [
        Curve(arm, experiment.sweep, [told.rate(arm, n, told.stages[-1]) for n in experiment.sweep])
        for arm in experiment.arms
    ]
    draw_curves(curves, f"{experiment.title}: {told.stages[-1]}", "demonstrations", out / f"{name}.svg")
    path = out / f"{name}.md"
    path.write_text("\n\n".join(_sections(told, command)) + "\n")
    return path


def _sections(told: Results, command: str) -> list[str]:
    experiment = told.experiment
    name, trials, training = experiment.name, experiment.trials, experiment.training
    count = len(next(iter(told.of.values()))["trials"])
    how = (
        f"Every policy: {training['steps']} steps of {training['batch']} samples, seeds "
        f"{', '.join(map(str, experiment.seeds))}; tried in {count} scenes, the same for all, unseen in training, in "
        f"action space `{trials.action_space}`, in simulated time without latency. Again by `{command}`; raw results: "
        f"[{name}_trials.csv]({name}_trials.csv), [{name}_policies.csv]({name}_policies.csv)."
    )
    tables = [
        f"## {stage.capitalize()}\n\nRate and 95 % interval over seeds and scenes, by demonstrations.\n\n"
        + _table(told, lambda arm, n, s=stage: _percent(*told.rate(arm, n, s)))
        for stage in reversed(told.stages)
    ]
    return [
        f"# {experiment.title}",
        f"The claim: {experiment.claim}",
        how,
        f"![{told.stages[-1]} by demonstrations]({name}.svg)",
        *tables,
        "## Wrong thing or wrong place\n\nShare of trials.\n\n" + _table(told, lambda a, n: _wrong(told.runs(a, n))),
        "## Held out\n\nThe flow loss in the action space that is tried, of demonstrations that nobody trained on; "
        "mean and range over seeds.\n\n" + _table(told, lambda a, n: _held_out(told.runs(a, n))),
        "## What may be said\n\n" + _tests(told),
        "## Routing\n\nBits that the choice of an expert tells about the member of the mixture; in brackets what as "
        "many samples tell when they are dealt out at random. Mean over seeds and demonstrations.\n\n" + _routing(told),
        "## Budgets\n\n" + _budgets(told),
    ]


def _table(told: Results, cell: Callable[[str, int], str]) -> str:
    sweep = told.experiment.sweep
    rows = [["", *map(str, sweep)], *([arm, *(cell(arm, n) for n in sweep)] for arm in told.experiment.arms)]
    return _markdown(rows)


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    head, *rest = (f"| {' | '.join(row)} |" for row in rows)
    return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])


def _percent(rate: float, low: float, high: float) -> str:
    return f"{POINTS * rate:.0f} % [{POINTS * low:.0f}, {POINTS * high:.0f}]"


def _wrong(runs: Sequence[Result]) -> str:
    trials = [t for run in runs for t in run["trials"]]
    shares = [np.mean([bool(t[w]) for t in trials]) for w in ("wrong_object", "wrong_target")]
    return " / ".join(f"{POINTS * s:.0f} %" for s in shares)


def _held_out(runs: Sequence[Result]) -> str:
    values = [run["held_out"]["held_out_flow"] for run in runs]
    return f"{np.mean(values):.3f} [{min(values):.3f}, {max(values):.3f}]"


def _tests(told: Results) -> str:
    lines = []
    for a, b in told.experiment.compare:
        for stage in reversed(told.stages):
            differences = told.differences(a, b, stage)
            p, mean = sign_flip(differences.mean(1)), POINTS * differences.mean()
            low, high = (POINTS * end for end in two_way_bootstrap(differences))
            said = "not separable here"
            if p < LEVEL:
                said = f"{a if mean > 0 else b} is better here"
            lines.append(
                f"- {stage}: {a} against {b}: {mean:+.0f} points [{low:+.0f}, {high:+.0f}], p = {p:.3f}: {said}."
            )
    pairs = len(told.experiment.sweep) * len(told.experiment.seeds)
    how = (
        f"Differences of {pairs} pair(s) of runs with the same demonstrations and seed, 95 % intervals over runs and "
        "scenes, and an exact test of the differences' signs."
    )
    return "\n".join([how, "", *lines])


def _routing(told: Results) -> str:
    """Of each arm and kind of layer: what its experts tell of all members, and of each two."""
    together, pairs = [["", "kind", "bits"]], [["", "members", *map(str.upper, KINDS)]]
    for arm in told.experiment.arms:
        layers = [one for n in told.experiment.sweep for run in told.runs(arm, n) for one in run["routing"]]
        if not layers or len(layers[0]["members"]) < 2:
            continue
        of = {kind: [one for one in layers if one["kind"] == kind] for kind in KINDS}
        for kind in filter(of.get, KINDS):
            bits, chance = (np.mean([one[k] for one in of[kind]]) for k in ("bits", "by_chance"))
            together.append([arm, kind.upper(), f"{bits:.2f} ({chance:.2f})"])
        names = layers[0]["members"]
        for a, b in combinations(range(len(names)), 2):
            cells = [_apart(of[k], [a, b]) for k in KINDS]
            pairs.append([arm, f"{names[a]} against {names[b]}", *cells])
    if len(together) == 1:
        return "No variant has both experts and several members."
    between = "The same of two members (0: they use experts alike, 1: never the same):"
    return "\n\n".join([_markdown(together), between, _markdown(pairs)])


def _apart(layers: Sequence[Result], members: list[int]) -> str:
    values = [information(np.array(one["share"])[members]) for one in layers]
    return f"{np.mean(values):.2f}" if values else ""


def _budgets(told: Results) -> str:
    rows = [["", "parameters", "of the action expert, active a token", "training samples"]]
    for arm in told.experiment.arms:
        most = told.runs(arm, max(told.experiment.sweep))[0]
        samples = ", ".join(f"{n} {k}" for k, n in most["samples"].items())
        rows.append([arm, f"{most['parameters'] / 1e6:.2f} M", f"{most['active_in_expert'] / 1e6:.2f} M", samples])
    return _markdown(rows)


def _trials_csv(told: Results, path: Path) -> None:
    with path.open("w", newline="") as file:
        first = next(iter(told.of.values()))["trials"][0]
        writer = csv.writer(file)
        writer.writerow(["variant", "mixture", "demonstrations", "seed", *first])
        for cell, result in told.of.items():
            for trial in result["trials"]:
                row = [int(v) if isinstance(v, bool) else v for v in trial.values()]
                writer.writerow([cell.variant, cell.mixture, cell.demonstrations, cell.seed, *row])


def _policies_csv(told: Results, path: Path) -> None:
    figures = sorted({k for r in told.of.values() for k in r["held_out"]})
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["variant", "mixture", "demonstrations", "seed", *told.stages, "bits", *figures])
        for cell, result in told.of.items():
            rates = [round(float(np.mean([t[s] for t in result["trials"]])), 4) for s in told.stages]
            bits = " ".join(f"{one['bits']:.3f}" for one in result["routing"])
            held = [result["held_out"].get(k, "") for k in figures]
            writer.writerow([cell.variant, cell.mixture, cell.demonstrations, cell.seed, *rates, bits, *held])
