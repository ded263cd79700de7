"""Where config/, launch/ and urdf/ lie: the source tree, or share/himoe_ros of an installation."""

from __future__ import annotations

import json
import os
import sys
from importlib import metadata
from pathlib import Path

from .core.errors import ConfigError

UNTRAINED = "himoe_small"  # a preset of config/models
NO_POLICY, EXPERT = "none", "expert"  # at the place of a policy: nobody; the simulation's scripted expert


def share() -> Path:
    """The folder that holds config/, launch/ and urdf/."""
    source = Path(__file__).parents[2]
    prefixes = [*filter(None, os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep)), sys.prefix]
    for folder in (source, *(Path(p) / "share" / "himoe_ros" for p in prefixes)):
        if (folder / "config" / "embodiments").is_dir():
            return folder
    raise ConfigError(
        f"config/ of himoe_ros was found neither in {source} nor in share/himoe_ros of {prefixes}; "
        "install the package, or source the workspace that holds it"
    )


def is_preset(policy: str) -> bool:
    """Whether a policy's name means a preset of config/models with untrained weights: no folder, no org/name."""
    return "/" not in policy and not policy_place(policy).is_dir() and policy not in (EXPERT, NO_POLICY)


def require_policy(policy: str) -> None:
    """Refuse a name that means nothing, before anything is started.

    Raises:
        ConfigError: with those there are.
    """
    presets = sorted(path.stem for path in config("models").glob("*.yaml"))
    if is_preset(policy) and policy not in presets:
        shipped = sorted(path.name for path in config("policies").iterdir() if path.is_dir())
        raise ConfigError(
            f"there is no policy '{policy}'; there are {', '.join(shipped)}, untrained {', '.join(presets)}, {EXPERT} "
            f"in simulation, {NO_POLICY}; or give a folder, a Hugging Face name like org/name, or ws://host:port"
        )


def policy_place(policy: str) -> Path:
    """Where a policy of this name lies: in config/policies if it is one of ours, else the name is a path itself."""
    shipped = config("policies") / policy
    return shipped if policy and shipped.is_dir() else Path(policy)


def own_policy(robot: str) -> str:
    """The policy that drives a robot where none is named: its trained one, or an untrained preset."""
    trained = f"{robot}_small"
    return trained if policy_place(trained).is_dir() else UNTRAINED


def statistics_file(policy: str | Path) -> Path:
    """Of a policy folder: for whom it was trained."""
    return policy_place(str(policy)) / "stats.json"


def trained_space(policy: str) -> str:
    """The action space that a policy folder was trained in; "" where none is told here."""
    told = statistics_file(policy)
    return str(json.loads(told.read_text()).get("action_space", "")) if told.is_file() else ""


def require_trained_space(policy: str) -> str:
    """As `trained_space`.

    Raises:
        ConfigError: none is told.
    """
    if space := trained_space(policy):
        return space
    raise ConfigError(f"--policy {policy}: expected a policy folder with stats.json, found none")


def version() -> str:
    """Of this package, as installed."""
    return metadata.version("himoe_ros")


def config(kind: str) -> Path:
    """The folder of one kind of configuration: embodiments, models, ..."""
    return share() / "config" / kind


def training_file(name: str) -> Path:
    """A training configuration: a file, or the name of one in config/training.

    Raises:
        ConfigError: there is neither.
    """
    own = config("training") / f"{name}.yaml"
    if Path(name).is_file():
        return Path(name)
    if own.is_file():
        return own
    known = ", ".join(sorted(path.stem for path in config("training").glob("*.yaml")))
    raise ConfigError(f"'{name}' is no file, and config/training has {known}")
