"""Launch arguments, which are also options of the `himoe` commands: names, defaults and what they mean."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .core.errors import ConfigError


@dataclass(frozen=True)
class Argument:
    """A launch argument, which is also an option of `himoe up`. Its type is the default's."""

    name: str
    default: str | int | float | bool
    help: str


ARGUMENTS = (
    Argument("hardware", "sim", "sim: simulated robot and cameras; real: a robot at robot_ip, your camera drivers"),
    Argument("robot_ip", "", "for hardware real: host or host:port of an xArm; names of ALOHA's followers, left,right"),
    Argument(
        "policy",
        "",
        "one of config/policies, policy folder or Hugging Face name; without it the robot's own; the name of a preset "
        "runs untrained weights; expert: the simulation's scripted expert; none: a person drives; several in trials, "
        "with commas between; ws://HOST:PORT or wss://...: a policy server (himoe serve, or any openpi server)",
    ),
    Argument("policy_token_file", "", "file with the token that a policy server asks for"),
    Argument("takeover", False, "the policy's plans pass through `himoe teleop ... --over-policy true`"),
    Argument("action_space", "", "that the policy commands (default: that of its training, or the embodiment's first)"),
    Argument("replan_period_s", 0.5, "s between the starts of two plans"),
    Argument(
        "execution",
        "asynchronous",
        "synchronous: the robot rests while the next plan is made; asynchronous; ensemble: overlapping plans are "
        "averaged; rtc: a plan agrees with what is done while it is made",
    ),
    Argument("added_latency_s", 0.0, "s by which every plan is late, to see what a slower model would do"),
    Argument("expert_steps", 0, "30 a second, of the expert's plans; 0: it looks anew ten times a second"),
    Argument("torch_threads", 1, "CPU threads of the policy"),
    Argument("device", "", "of the policy: cpu or cuda; without it a GPU where there is one"),
    Argument("expert_weights", "", "routed experts in eight bits: int8 (on a CPU) or float8 (on a GPU from Hopper on)"),
    Argument("image_width", 224, "px, simulated cameras"),
    Argument("image_height", 224, "px, simulated cameras"),
    Argument("camera_rate_hz", 10.0, "images a second and simulated camera"),
    Argument("shadows", False, "simulated cameras show shadows (four times the rendering time on a CPU)"),
    Argument("seed", 0, "of the simulated scene and of untrained weights"),
    Argument("protocol", "", "file of config/trials; decides what lies on the simulated table (default: the robot's)"),
    Argument("spread_m", 0.0, "things are laid so far from their places at most; 0: as the protocol says"),
    Argument("camera_shift_m", 0.0, "the simulated base camera stands so far from its place, drawn by the seed"),
    Argument("light", 1.0, "share of the simulated light"),
    Argument("park", False, "move to the parking posture on exit, if the robot is armed then"),
    Argument("use_sim_time", False, "take time from /clock"),
)
TRIAL_ARGUMENTS = (
    Argument("trials", 0, "of each setting of the protocol; 0: as many as the protocol wants"),
    Argument("time_limit_s", 0.0, "s, after which a trial has failed; 0: the protocol's"),
    Argument("out", "himoe_trials", "folder of the session; one that was interrupted is gone on with"),
    Argument("wording", "", "other words, such as 'Lay the {fruit} on the {plate}'; without them the protocol's"),
    Argument("bags", True, "record a bag of each trial"),
    Argument("salt", 0, "of the labels behind which several policies run; himoe trials run draws it"),
)


RECORD_ARGUMENTS = (
    Argument("out", "episodes", "folder of the session; one that exists is gone on with"),
    Argument("task", "", "what is shown, in words; also the instruction of the training set"),
    Argument("operator", "", "who shows it"),
    Argument("episodes", 0, "how many are wanted; 0 for as many as come"),
    Argument("images", "", "raw, jpeg, png or h264; config/recording.yaml decides without it"),
    Argument("calibration", "", "text file, such as cameras' calibration, that is kept in every bag"),
)
TELEOP_ARGUMENTS = (
    Argument("device", "keyboard", "keyboard, expert (simulation only), or a file of config/teleop"),
    Argument("device_file", "", "of a pad, such as /dev/input/event5; found by its name without it"),
    Argument("action_space", "", "that the controller executes; the first of the embodiment's without it"),
    Argument("over_policy", False, "stand before a policy (himoe up ... --takeover true), to take over from it"),
    Argument("protocol", "", "what the expert knows to do: a file of config/trials (default: the robot's)"),
    Argument("seed", 0, "of the expert's hand"),
)
PLAY_ARGUMENTS = (
    Argument("rate", 1.0, "how many times as fast as it was recorded"),
    Argument(
        "topics",
        "",
        "only these, with commas between; without it all but commands and chunks, if nobody else publishes",
    ),
    Argument("keep_stamps", False, "stamps as recorded; without it they are those of now, as live nodes want them"),
)


def convert(argument: Argument, value: object) -> str | int | float | bool:
    """A value as text, or of the right type -> of the type of the default."""
    kind = type(argument.default)
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"argument '{argument.name}' must be of type {kind.__name__}, got {value!r}") from error


class _Telling(argparse.ArgumentDefaultsHelpFormatter):
    """Help with every default that is something."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        silent = action.default is None or action.default == "" or action.nargs == 0
        return action.help if silent else super()._get_help_string(action)


def add_command(
    commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    """Add a subcommand to the subparsers of `himoe`, whose help tells every default."""
    parser = commands.add_parser(
        name, help=text, description=text[0].upper() + text[1:] + ".", formatter_class=_Telling
    )
    parser.set_defaults(run=run)
    return parser


def positive(text: str) -> int:
    """A whole number > 0, as argparse reads it."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number > 0, got {text}")
    return value
