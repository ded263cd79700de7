"""Episodes as a page to look at: rates and gaps over time, joints, pictures; one HTML file, and a video of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from ..core.embodiment import Embodiment
from ..core.errors import ObservationError, RecordingError
from ..core.observation import Floats, Image
from ..page import escaped, page, picture
from ..video import VideoFile
from .check import Remark, Verdict, check, topic_of, worst
from .contract import IMAGE, Contract
from .pictures import PictureReader
from .reader import BagInfo, read_messages

BINS = 160  # of a timeline
THUMBNAILS, THUMBNAIL_PX = 8, 112
VIDEO_PX = 240  # height of each camera in the video
PREVIEW = {"preset": "veryfast", "crf": "26"}
WIDTH, ROW, PLOT = 960, 18, 150  # px of the drawings
COLOURS = ("#3b6fb6", "#c8553d", "#5b8c5a", "#8e6c8a", "#c99a2e", "#4a9aa5", "#7a7a7a", "#b0578d")


@dataclass
class _Gathered:
    """What a page shows of one bag."""

    times: dict[str, list[float]] = field(default_factory=dict)  # topic -> s since the start
    joints: list[tuple[float, Floats]] = field(default_factory=list)
    thumbnails: dict[str, list[Image]] = field(default_factory=dict)


def view(infos: Sequence[BagInfo], contract: Contract, embodiment: Embodiment, out: Path) -> Path:
    """Write `out/index.html`, and a video an episode beside it.

    Args:
        infos: of the bags.
        contract: what they should hold.
        embodiment: of the robot.
        out: folder; must not exist.

    Returns:
        The page.

    Raises:
        RecordingError: a bag is damaged, or the folder exists.
    """
    if out.exists():
        raise RecordingError(f"{out} exists, and nothing is ever overwritten: choose another folder")
    out.mkdir(parents=True)
    sections, rows = [], []
    for number, info in enumerate(infos):
        remarks = check(info, contract, embodiment)
        video = out / f"{number:04d}_{info.folder.name}.mp4"
        gathered = _gather(info, contract, embodiment, video)
        sections.append(_section(info, contract, embodiment, remarks, gathered, video.name))
        verdict = worst(remarks).value
        about = info.about
        rows.append(
            f'<tr><td><a href="#{escaped(video.name)}">{escaped(info.folder.name)}</a></td>'
            f'<td class="{verdict}">{verdict}</td><td>{escaped(about.get("task", ""))}</td>'
            f'<td class="n">{info.duration:.1f} s</td><td class="n">{escaped(about.get("lost", "?"))}</td>'
            f"<td>{escaped(about.get('outcome', ''))}</td></tr>"
        )
    head = '<tr><th>episode<th>check<th>task<th class="n">length<th class="n">lost<th>outcome</tr>'
    total = sum(info.duration for info in infos)
    title = f"{len(infos)} episode{'s' * (len(infos) != 1)}, {total / 60:.1f} min"
    index = out / "index.html"
    index.write_text(page(title, f"<table>{head}{''.join(rows)}</table>{''.join(sections)}"))
    return index


def _gather(info: BagInfo, contract: Contract, embodiment: Embodiment, video: Path) -> _Gathered:
    """Read the bag once; the video is written meanwhile, a frame for each image of the first camera."""
    cameras = {topic_of(info, s): s for s in contract.streams if s.type == IMAGE}
    names = [name for name in cameras if info.counts.get(name)]
    rate = max(1, round(info.counts[names[0]] / max(info.duration, 0.1))) if names else 1
    every = {name: max(1, info.counts[name] // THUMBNAILS) for name in names}
    gathered = _Gathered(thumbnails={name: [] for name in names})
    latest: dict[str, Image] = {}
    pictures = PictureReader()
    file: VideoFile | None = None
    for message in read_messages(info):
        times = gathered.times.setdefault(message.topic, [])
        times.append(message.received - info.start)
        if message.topic in every:
            try:
                latest[message.topic] = pictures(message.topic, message.message)
            except ObservationError:
                continue  # himoe bag check tells of it, and the page shows its remarks
            if (len(times) - 1) % every[message.topic] == 0 and len(gathered.thumbnails[message.topic]) < THUMBNAILS:
                gathered.thumbnails[message.topic].append(_scaled(latest[message.topic], THUMBNAIL_PX))
            if message.topic == names[0] and len(latest) == len(names):
                shown = np.hstack([_scaled(latest[name], VIDEO_PX) for name in names])
                file = file or VideoFile(video, shown, rate, PREVIEW)
                file.write(shown)
        elif message.topic.endswith("/joint_states"):
            table = dict(zip(message.message.name, message.message.position, strict=False))
            row = np.array([table.get(joint, np.nan) for joint in embodiment.joint_names])
            gathered.joints.append((times[-1], row))
    if file is not None:
        file.close()
    return gathered


def _section(
    info: BagInfo,
    contract: Contract,
    embodiment: Embodiment,
    remarks: Sequence[Remark],
    gathered: _Gathered,
    file: str,
) -> str:
    name, verdict = escaped(info.folder.name), worst(remarks)
    about = "".join(f"<tr><th>{escaped(k)}</th><td>{escaped(v)}</td></tr>" for k, v in info.about.items())
    told = "".join(f'<li class="{r.verdict.value}">{escaped(r.text)}</li>' for r in remarks)
    strips = "".join(_strip(topic, images) for topic, images in gathered.thumbnails.items())
    video = f'<video controls muted preload=metadata src="{escaped(file)}"></video>' if gathered.thumbnails else ""
    good = "<p class=pass>nothing to remark</p>" if verdict is Verdict.PASS else f"<ul>{told}</ul>"
    return (
        f'<h2 id="{escaped(file)}">{name} <span class="{verdict.value}">{verdict.value}</span></h2>'
        f"<p class=quiet>{escaped(info.about.get('task', ''))}, {info.duration:.1f} s</p>{good}"
        f"{_timeline(info, contract, gathered.times)}{_joints(info, embodiment, gathered.joints)}{strips}{video}"
        f"<details><summary class=quiet>what the bag says about itself</summary><table>{about}</table></details>"
    )


def _timeline(info: BagInfo, contract: Contract, times: Mapping[str, Sequence[float]]) -> str:
    """A row a topic: how many of the declared messages came in each bin, or a tick for each where none are declared."""
    left, span, rows = 210, max(info.duration, 1e-6), []
    for i, stream in enumerate(contract.streams):
        topic, y = topic_of(info, stream), ROW * i
        came = np.array(times.get(topic, []))
        rate = f"{len(came) / span:.1f} of {stream.rate_hz:g} Hz" if stream.rate_hz else f"{len(came)}"
        rows.append(f'<text x="0" y="{y + 12}">{escaped(stream.topic)}</text>')
        rows.append(f'<text x="{WIDTH}" y="{y + 12}" text-anchor="end">{rate}</text>')
        wide = WIDTH - left - 100
        if stream.rate_hz:
            bins = min(BINS, max(1, int(span * stream.rate_hz / 2)))
            counts, _ = np.histogram(came, bins=bins, range=(0, span))
            for b, count in enumerate(counts):
                share = min(1.0, count / (stream.rate_hz * span / bins))
                colour = "#c8553d" if share < 0.5 else "#3b6fb6"
                x = left + wide * b / bins
                rows.append(
                    f'<rect x="{x:.1f}" y="{y + 2}" width="{wide / bins + 0.3:.1f}" height="{ROW - 6}" fill="{colour}" '
                    f'opacity="{0.25 + 0.6 * share if share >= 0.5 else 0.9:.2f}"/>'
                )
        else:
            for t in came[:: max(1, len(came) // 400)]:
                x = left + wide * t / span
                rows.append(f'<rect x="{x:.1f}" y="{y + 2}" width="1" height="{ROW - 6}" fill="#8e6c8a"/>')
    return f'<svg viewBox="0 0 {WIDTH} {ROW * len(contract.streams)}" role="img">{"".join(rows)}</svg>'


def _joints(info: BagInfo, embodiment: Embodiment, rows: Sequence[tuple[float, Floats]]) -> str:
    """Every joint over time, each in its own range, so that shapes and jumps show."""
    if len(rows) < 2:
        return ""
    kept = rows[:: max(1, len(rows) // 400)]
    times = np.array([t for t, _ in kept]) / max(info.duration, 1e-6) * WIDTH
    values = np.array([row for _, row in kept])
    lines = []
    for j, name in enumerate(embodiment.joint_names):
        column = values[:, j]
        if not np.isfinite(column).all():
            continue
        low, high = column.min(), column.max()
        y = PLOT - 10 - (PLOT - 20) * (column - low) / max(high - low, 0.02)
        points = " ".join(f"{x:.1f},{v:.1f}" for x, v in zip(times, y, strict=True))
        colour = COLOURS[j % len(COLOURS)]
        title = f"<title>{escaped(name)}: {low:.3f} to {high:.3f} rad</title>"
        lines.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5">{title}</polyline>')
        x = 4 + j * (WIDTH - 8) / len(embodiment.joint_names)
        lines.append(f'<text x="{x:.0f}" y="{PLOT + 8}" style="fill:{colour}">{escaped(name)}</text>')
    return f'<svg viewBox="0 0 {WIDTH} {PLOT + 12}" role="img">{"".join(lines)}</svg>'


def _strip(topic: str, images: Sequence[Image]) -> str:
    shown = "".join(picture(image) for image in images)
    return f'<div class="quiet">{escaped(topic)}</div><div class="strip">{shown}</div>'


def _scaled(image: Image, height: int) -> Image:
    """(H, W, 3) -> the same at this height, sides even."""
    width = 2 * round(image.shape[1] * height / image.shape[0] / 2)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)
