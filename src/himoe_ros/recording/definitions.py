"""What a bag says about the types of its messages: their definitions, and their hashes, of the installed ROS."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ..core.errors import ConfigError

WIDTHS = ("8", "16", "32", "64")
INTEGERS = {sign + width for sign in ("int", "uint") for width in WIDTHS}
PRIMITIVES = frozenset({"bool", "byte", "char", "float32", "float64", "string", "wstring"} | INTEGERS)
FIELD = re.compile(r"^\s*([A-Za-z][\w/]*)(?:<=\d+)?(?:\[[^\]]*\])?\s+[A-Za-z]\w*", re.MULTILINE)


@cache
def definition(name: str) -> str:
    """The text of a type such as `sensor_msgs/msg/Image` and of all it is made of, as MCAP's encoding `ros2msg` has it.

    Raises:
        ConfigError: the type is not installed.
    """
    seen, waiting = [name], [name]
    while waiting:
        for part in _parts(waiting.pop(0)):
            if part not in seen:
                seen.append(part)
                waiting.append(part)
    texts = [f"{'=' * 80}\nMSG: {part.replace('/msg/', '/')}\n{_file(part, 'msg').read_text()}" for part in seen[1:]]
    return "\n".join(text.rstrip("\n") for text in (_file(name, "msg").read_text(), *texts)) + "\n"


@cache
def type_hash(name: str) -> str:
    """The hash (REP 2016) by which ROS tells versions of a type apart; empty in ROS 2 Humble, which has none."""
    try:
        hashes = json.loads(_file(name, "json").read_text())["type_hashes"]
    except ConfigError:
        return ""
    return next(entry["hash_string"] for entry in hashes if entry["type_name"] == name)


def _parts(name: str) -> Iterator[str]:
    """Types that stand directly in a type."""
    package = name.split("/", maxsplit=1)[0]
    for field in FIELD.finditer(re.sub(r"#.*", "", _file(name, "msg").read_text())):
        kind = field[1]
        if kind not in PRIMITIVES:
            owner, _, own = kind.rpartition("/")
            yield f"{owner.removesuffix('/msg') or package}/msg/{own}"


def _file(name: str, suffix: str) -> Path:
    package, _, own = name.partition("/msg/")
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    for prefix in prefixes:
        path = Path(prefix) / "share" / package / "msg" / f"{own}.{suffix}"
        if path.is_file():
            return path
    raise ConfigError(f"message type '{name}' is not installed: expected share/{package}/msg/{own}.msg in {prefixes}")
