"""What a bag holds, in words."""

from __future__ import annotations

from .reader import BagInfo


def describe(info: BagInfo) -> str:
    """Lines of text: the episode, then its topics with counts and rates."""
    size = sum(path.stat().st_size for path in info.files) / 1e6
    lines = [f"{info.folder}: {info.duration:.1f} s, {size:.1f} MB"]
    lines += [f"  {key:<14} {value}" for key, value in info.about.items()]
    for topic, count in info.counts.items():
        rate = count / info.duration if info.duration else 0.0
        lines.append(f"  {topic:<44} {count:>7}  {rate:>6.1f} Hz  {info.types[topic]}")
    return "\n".join(lines)
