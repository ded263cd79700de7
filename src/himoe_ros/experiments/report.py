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
from .config import Cell, Experiment
from .figure import Curve, draw_curves
from .statistics import LEVEL, Difference, difference, holm, rate

Result = Mapping[str, Any]
POINTS = 100  # per cent
KINDS = ("as", "hb", "ada")


class Results:
    """The results of an experiment, by what was compared."""

    def __init__(self, experiment: Experiment, of: Mapping[Cell, Result]) -> None:
        self.experiment, self.of = experiment, of
        self.stages = list(experiment.data[experiment.trials.data].loaded.stages)

    def runs(self, arm: str, n: int) -> list[Result]:
        """One of each seed, in order."""
        variant, mixture = arm.split("/")
        return [self.of[Cell(variant, mixture, n, seed)] for seed in self.experiment.seeds]

    def reached(self, arm: str, n: int, stage: str) -> Floats:
        """(seeds, scenes) 1 where the stage was reached."""
        return np.array([[t[stage] for t in run["trials"]] for run in self.runs(arm, n)], dtype=float)

    def success(self, arm: str, n: int) -> Floats:
        """(seeds,) per cent of the trials in which the last stage was reached."""
        return POINTS * self.reached(arm, n, self.stages[-1]).mean(1)

    def held_out(self, arm: str, n: int) -> Floats:
        """(seeds,) flow loss of held-out demonstrations in the action space that is tried."""
        return np.array([run["held_out"]["held_out_flow"] for run in self.runs(arm, n)])

    def difference(self, arms: Sequence[str], figure: Callable[[str, int], Floats]) -> Difference:
        """Of two arms, or of two differences of arms; each seed's mean over all demonstrations is one.

        Args:
            figure: of an arm with so many demonstrations, (seeds,).
        """
        means = [np.mean([figure(arm, n) for n in self.experiment.sweep], axis=0) for arm in arms]
        return difference(sum(sign * mean for sign, mean in zip((1, -1, -1, 1), means, strict=False)))


def write_report(experiment: Experiment, results: Mapping[Cell, Result], out: Path, command: str) -> Path:
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
        Curve(arm, experiment.sweep, [rate(told.reached(arm, n, told.stages[-1])) for n in experiment.sweep])
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
    limit = trials.time_limit or experiment.data[trials.data].loaded.time_limit
    how = (
        f"Every policy: {training['steps']} steps of {training['batch']} samples, seeds "
        f"{', '.join(map(str, experiment.seeds))}; tried in {count} scenes of at most {limit:g} s, the same for all, "
        f"unseen in training, in action space `{trials.action_space}`, in simulated time without latency. Again by "
        f"`{command}`; raw results: [{name}_trials.csv]({name}_trials.csv), [{name}_policies.csv]({name}_policies.csv)."
    )
    tables = [
        f"## {stage.capitalize()}\n\nRate, and its 95 % interval over seeds, by demonstrations.\n\n"
        + _table(told, lambda arm, n, s=stage: _percent(*rate(told.reached(arm, n, s))))
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
        "mean and range over seeds.\n\n" + _table(told, lambda a, n: _spread(told.held_out(a, n), 3)),
        "## What may be said\n\n" + _tests(told),
        "## Routing\n\nBits that the choice of an expert tells about the member of the mixture: mean and range over "
        "layers, seeds and demonstrations, and what as many samples tell when they are dealt out at random.\n\n"
        + _routing(told),
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


def _tests(told: Results) -> str:
    """A sentence for each comparison, by the last stage and by what is held out."""
    experiment, stage = told.experiment, told.stages[-1]
    parts = []
    for title, figure, better, form in (
        (f"By {stage}, in points", told.success, 1, "+.0f"),
        ("By the flow loss of held-out demonstrations, where less is better", told.held_out, -1, "+.3f"),
    ):
        found = [told.difference(arms, figure) for arms in experiment.compare]
        lines = [f"{title}:", ""]
        for arms, one, p in zip(experiment.compare, found, holm([f.p for f in found]), strict=True):
            said = "not separable with so many seeds"
            if p < LEVEL:
                said = "holds here" if one.mean * better > 0 else "the opposite holds here"
            asked = f"{arms[0]} over {arms[1]}"
            if len(arms) == 4:
                asked = f"({asked}) beyond ({arms[2]} over {arms[3]})"
            mean, low, high = (format(value, form) for value in (one.mean, one.low, one.high))
            lines.append(f"- {asked}: {mean} [{low}, {high}], p = {p:.3f}: {said}.")
        parts.append("\n".join(lines))
    how = (
        f"Mean differences over {len(experiment.seeds)} seeds, each over all demonstrations and scenes; 95 % intervals "
        f"and paired t tests over seeds, p adjusted for {len(experiment.compare)} comparisons (Holm), of each measure "
        "by itself. A smaller loss is a better imitation, and not yet a better policy: success is what counts, and is "
        "the coarser measure."
    )
    return "\n\n".join([how, *parts])


def _routing(told: Results) -> str:
    """Of each arm and kind of layer: what its experts tell of all members, and of each two."""
    together, pairs = [["", "kind", "bits"]], [["", "members", *map(str.upper, KINDS)]]
    for arm in told.experiment.arms:
        names = [member.name for member in told.experiment.members(arm)]
        layers = [one for n in told.experiment.sweep for run in told.runs(arm, n) for one in run["routing"]]
        if not layers or len(names) < 2:
            continue
        of = {kind: [one for one in layers if one["kind"] == kind] for kind in KINDS}
        for kind in filter(of.get, KINDS):
            chance = np.mean([one["by_chance"] for one in of[kind]])
            together.append(
                [arm, kind.upper(), f"{_spread([one['bits'] for one in of[kind]])}; {chance:.2f} by chance"]
            )
        for a, b in combinations(range(len(names)), 2):
            apart = [[information(np.array(one["share"])[[a, b]]) for one in of[kind]] for kind in KINDS]
            pairs.append([arm, f"{names[a]} against {names[b]}", *map(_spread, apart)])
    if len(together) == 1:
        return "No variant has both experts and several members."
    between = (
        "The same of two members (0: they use experts alike, 1: never the same). AS experts are chosen by the mask "
        "alone: members of one action space always meet the same."
    )
    return "\n\n".join([_markdown(together), between, _markdown(pairs)])


def _spread(values: Sequence[float] | Floats, digits: int = 2) -> str:
    """Mean and range."""
    if not len(values):
        return ""
    mean, low, high = (f"{value:.{digits}f}" for value in (np.mean(values), min(values), max(values)))
    return f"{mean} [{low}, {high}]"


def _budgets(told: Results) -> str:
    experiment = told.experiment
    rows = [["", "parameters", "of the action expert, active a token", "member: frames, share of the samples drawn"]]
    for arm in experiment.arms:
        most = told.runs(arm, max(experiment.sweep))[0]
        members = experiment.members(arm)
        whole = sum(m.weight for m in members)
        drawn = [
            f"{m.name}: {n}, {POINTS * m.weight / whole:.0f} %" for m, n in zip(members, most["samples"], strict=True)
        ]
        parts = [f"{most[part] / 1e6:.2f} M" for part in ("parameters", "active_in_expert")]
        rows.append([arm, *parts, "; ".join(drawn)])
    return f"With {max(experiment.sweep)} demonstrations:\n\n{_markdown(rows)}"


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
