"""The report of sessions: the paper's tables with counts and intervals, tests between policies, every trial."""

from __future__ import annotations

import csv
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import cv2

from ..core.errors import HimoeError
from ..page import escaped, page, picture
from .protocol import Protocol
from .published import published_rows
from .session import TrialResult
from .statistics import compare
from .summary import rate

COLUMNS = ("trial", "policy", "setting", "stages", "ended", "s", "holds", "latency, ms", "")
GALLERY = 24  # failures whose last frame is shown
WIDTH, HEIGHT = 420, 14  # px of a timeline
COLOURS = {"holding": "#c8553d", "running": "#3b6fb6", "faulted": "#b3261e"}


class ReportError(HimoeError):
    """Sessions that cannot be reported together."""


@dataclass(frozen=True)
class Told:
    """One finished trial and where it comes from.

    Attributes:
        folder: of its session.
        policy: whose trial it is; no longer hidden.
        simulated: whether a simulated robot ran.
        result: what it came to.
    """

    folder: Path
    policy: str
    simulated: bool
    result: TrialResult


@dataclass(frozen=True)
class Part:
    """Everything told about one protocol.

    Attributes:
        protocol: what was run.
        trials: of all policies and sessions.
        voids: reasons of attempts that do not count.
    """

    protocol: Protocol
    trials: Sequence[Told]
    voids: Sequence[str]

    @property
    def policies(self) -> list[str]:
        return list(dict.fromkeys(t.policy for t in self.trials))

    def of(self, policy: str) -> list[Told]:
        return [t for t in self.trials if t.policy == policy]


def write_report(parts: Sequence[Part], out: Path, protocols: Path, published: bool, sequential: bool) -> Path:
    """Write `index.html`, `report.md` and `trials.csv`.

    Args:
        parts: one of each protocol.
        out: folder; files in it are replaced.
        protocols: folder of the protocols, where the published rows are.
        published: show the paper's rows beside.
        sequential: use tests that hold under optional stopping, where policies met the same scenes.

    Returns:
        The page.
    """
    if not any(part.trials for part in parts):
        raise ReportError("expected at least one finished trial; resume the session first")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ReportError(f"expected a folder for the report, {out}: {error.strerror}") from error
    tables = [(part, _rows(part, protocols, published), _tests(part, sequential)) for part in parts]
    (out / "report.md").write_text(_markdown(tables))
    with (out / "trials.csv").open("w", newline="") as file:
        _csv(parts, csv.writer(file))
    index = out / "index.html"
    body = "".join(_section(part, rows, tests, out) for part, rows, tests in tables)
    index.write_text(page("Trials", f"<p class=quiet>{_origin(parts)}</p>{body}"))
    return index


def _origin(parts: Sequence[Part]) -> str:
    simulated = {t.simulated for part in parts for t in part.trials}
    where = {True: "In simulation, not on a robot", False: "On a real robot"}
    return "; ".join(where[s] for s in sorted(simulated)) + ". Rates with Wilson 95 % intervals."


def _rows(part: Part, folder: Path, published: bool) -> list[list[str]]:
    """Header and rows: policy, then a cell a stage, then all stages together as the paper's Sum."""
    stages = list(part.protocol.stages)
    rows = [["policy", *stages, "all stages", "ended", "wrong object", "wrong target"]]
    for policy in part.policies:
        results = [t.result for t in part.of(policy)]
        reached = [sum(r.stages[s] for r in results) for s in stages]
        ends = ", ".join(f"{n} {end}" for end, n in Counter(r.ended for r in results).most_common())
        wrong = [sum(bool(getattr(r, w)) for r in results) for w in ("wrong_object", "wrong_target")]
        cells = [rate(k, len(results)) for k in reached]
        # Stages of one trial are not independent: their sum has a rate, as in the paper, and no interval.
        everything = (
            f"{sum(reached)}/{len(results) * len(stages)}  {100 * sum(reached) / len(results) / len(stages):.0f} %"
        )
        rows.append([policy, *cells, everything, ends, *map(str, wrong)])
    if published:
        for row in published_rows(folder, part.protocol):
            cells = list(row.cells) if len(row.cells) == len(stages) else [*[""] * len(stages), *row.cells]
            padded = [*cells, *[""] * (len(rows[0]) - 1 - len(cells))]
            rows.append([f"{row.method} (paper, {row.table}, real robot)", *padded])
    return rows


def _tests(part: Part, sequential: bool) -> list[str]:
    """A sentence for each stage and pair of policies."""
    told = []
    for a, b in combinations(part.policies, 2):
        first, second = ({_scene(t): t.result for t in part.of(p)} for p in (a, b))
        keys = sorted(set(first) & set(second))
        paired = bool(keys)
        left_out = len(part.of(a)) + len(part.of(b)) - 2 * len(keys)
        if sequential and not paired:
            raise ReportError(f"--sequential compares scene by scene, and {a} and {b} met none in common; leave it out")
        for stage in part.protocol.stages:
            xs = [first[k].stages[stage] for k in keys] if paired else [t.result.stages[stage] for t in part.of(a)]
            ys = [second[k].stages[stage] for k in keys] if paired else [t.result.stages[stage] for t in part.of(b)]
            how = "same scenes, exact McNemar" if paired else "different scenes, exact Fisher"
            if paired and sequential:
                how = "same scenes, valid under optional stopping"
            if paired and left_out:
                how += f", {left_out} trials without their counterpart left out"
            comparison = compare(xs, ys, (a, b), paired, sequential and paired)
            told.append(f"{stage} ({how}): {comparison.sentence}")
    return told


def _scene(told: Told) -> tuple[str, str, int, int]:
    r = told.result
    return str(told.folder), r.setting, r.repetition, r.scene


def _markdown(tables: Sequence[tuple[Part, list[list[str]], list[str]]]) -> str:
    lines = [f"# Trials\n\n{_origin([part for part, _, _ in tables])}"]
    for part, rows, tests in tables:
        lines.append(f"\n## {part.protocol.title}\n")
        lines += [f"| {' | '.join(row)} |" for row in (rows[0], ["---"] * len(rows[0]), *rows[1:])]
        lines += ["", *(f"- {test}" for test in tests)]
        lines += [f"- void, not counted: {reason}" for reason in part.voids]
    return "\n".join(lines) + "\n"


CSV = ("session", "protocol", "policy", "label", "index", "attempt", "setting", "repetition", "scene", "instruction")
CSV += ("stage", "reached", "judged", "ended", "reason", "seconds", "began", "wrong_object", "wrong_target", "holds")
CSV += ("held_s", "latency_median_ms", "latency_max_ms", "note", "video", "bag")


def _csv(parts: Sequence[Part], writer) -> None:
    """A row for each stage of each trial."""
    writer.writerow(CSV)
    for part in parts:
        for t in part.trials:
            r = t.result
            latency = [*r.latency, "", ""][:2]
            head = [
                t.folder,
                part.protocol.name,
                t.policy,
                r.label,
                r.index,
                r.attempt,
                r.setting,
                r.repetition,
            ]
            tail = [r.judged, r.ended, r.reason, r.seconds, r.began, r.wrong_object, r.wrong_target, r.holds, r.held_s]
            files = [r.files.get("video", ""), r.files.get("bag", "")]
            for stage, reached in r.stages.items():
                writer.writerow([*head, r.scene, r.instruction, stage, int(reached), *tail, *latency, r.note, *files])


def _section(part: Part, rows: list[list[str]], tests: Sequence[str], out: Path) -> str:
    head = "".join(f"<th>{escaped(c)}" for c in rows[0])
    body = "".join(f"<tr>{''.join(f'<td>{escaped(c)}</td>' for c in row)}</tr>" for row in rows[1:])
    sentences = "".join(f"<li>{escaped(test)}" for test in tests)
    sentences += "".join(f"<li class=quiet>void, not counted: {escaped(reason)}" for reason in part.voids)
    settings = _settings(part)
    failures = [t for t in part.trials if not t.result.success]
    gallery = "".join(_failure(t) for t in failures[:GALLERY])
    shown = f"<h3>Failures: the last frame of {min(len(failures), GALLERY)} of {len(failures)}</h3>" if failures else ""
    trials = "".join(_trial(t, out) for t in part.trials)
    columns = "".join(f"<th>{c}" for c in COLUMNS)
    return (
        f"<h2>{escaped(part.protocol.title)}</h2><table><tr>{head}</tr>{body}</table><ul>{sentences}</ul>{settings}"
        f'{shown}<div class="gallery">{gallery}</div>'
        f"<details><summary class=quiet>every trial</summary><table><tr>{columns}</tr>{trials}</table></details>"
    )


def _settings(part: Part) -> str:
    """The last stage by setting and policy."""
    last = list(part.protocol.stages)[-1]
    head = "".join(f"<th>{escaped(p)}" for p in part.policies)
    rows = []
    for name, setting in part.protocol.settings.items():
        mine = {p: [t.result for t in part.of(p) if t.result.setting == name] for p in part.policies}
        cells = "".join(f"<td>{sum(r.stages[last] for r in rs)}/{len(rs)}</td>" for rs in mine.values())
        rows.append(f"<tr><td>{escaped(setting.instruction)}</td>{cells}</tr>")
    return f"<table><tr><th>{escaped(last)}, by setting{head}</tr>{''.join(rows)}</table>"


def _failure(told: Told) -> str:
    r = told.result
    image = cv2.imread(str(told.folder / r.files.get("last_frame", "none")))
    shown = picture(image[..., ::-1]) if image is not None else "<p class=quiet>no picture was kept</p>"
    wrong = ", ".join(w for w in (r.wrong_object and f"lifted {r.wrong_object}", r.wrong_target) if w)
    text = f"{told.policy}, trial {r.index + 1}: {r.instruction}. {r.ended} {r.reason} {wrong}"
    return f"<figure>{shown}<figcaption>{escaped(text)}</figcaption></figure>"


def _trial(told: Told, out: Path) -> str:
    r = told.result
    stages = ", ".join(f"{s} {'yes' if reached else 'no'}" for s, reached in r.stages.items())
    latency = " / ".join(f"{ms:.0f}" for ms in r.latency) or "-"
    links = " ".join(
        f'<a href="{escaped(os.path.relpath(told.folder / path, out))}">{escaped(kind.replace("_", " "))}</a>'
        for kind, path in r.files.items()
    )
    cells = (r.index + 1, told.policy, r.setting, stages, f"{r.ended} {r.reason}", f"{r.seconds:.1f}")
    first = "".join(f"<td>{escaped(c)}</td>" for c in cells)
    note = f"<br>{escaped(r.note)}" if r.note else ""
    holds = f"{r.holds} ({r.held_s:.1f} s)" if r.holds else "0"
    return (
        f"<tr>{first}<td>{holds}</td><td>{latency}</td><td>{links}{note}</td></tr>"
        f'<tr><td></td><td colspan="8">{_timeline(r)}</td></tr>'
    )


def _timeline(result: TrialResult) -> str:
    """The controller's modes as a bar, stages as ticks."""
    scale = WIDTH / max(result.seconds, 1e-6)
    modes: list[tuple[float, str]] = [(0.0, "running")]
    ticks = []
    for at, event in result.events:
        name = event.split(":")[0]
        if ":" in event:
            modes.append((at, name))
        else:
            x = at * scale
            ticks.append(f'<path d="M{x:.0f} 0v{HEIGHT}" stroke="#2e7d4f" stroke-width="2"/>')
            ticks.append(f'<text x="{x + 4:.0f}" y="11">{escaped(event)} {at:.1f} s</text>')
    bars = []
    for (begin, mode), (end, _) in zip(modes, [*modes[1:], (result.seconds, "")], strict=True):
        colour, wide = COLOURS.get(mode, "#c9ced6"), max(end - begin, 0.0) * scale
        bars.append(
            f'<rect x="{begin * scale:.1f}" y="3" width="{wide:.1f}" height="{HEIGHT - 6}" fill="{colour}" '
            'opacity="0.35"/>'
        )
    return f'<svg viewBox="0 0 {WIDTH + 160} {HEIGHT}" role="img">{"".join(bars)}{"".join(ticks)}</svg>'
