"""Which nodes run, with which parameters: read by launch/*.launch.py and by `himoe up`.

Plain data and no ROS, so that both ways of starting tell the same story.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .core.embodiment import load_embodiment
from .core.errors import ConfigError
from .core.reading import load_yaml, mapping
from .resources import EXPERT, NO_POLICY, config
from .trials.schedule import hide

SIM_ADDRESS = "127.0.0.2"
SDK_PORT = 502  # built into the vendor's SDK
UNPRIVILEGED_PORT = 10502
PLANS = ("action_chunk", "chunk_source")
PARK_WITHIN_S = 10.0
STOP_WITHIN_S = 3.0


@dataclass(frozen=True)
class Argument:
    """A launch argument, which is also an option of `himoe up`. Its type is the default's."""

    name: str
    default: str | int | float | bool
    help: str


@dataclass(frozen=True)
class NodeSpec:
    """One process: an executable of this package and how to start it."""

    executable: str
    name: str
    parameters: Mapping[str, str | int | float | bool]
    environment: Mapping[str, str] = field(default_factory=dict)
    remappings: Mapping[str, str] = field(default_factory=dict)
    leaves_within_s: float = 0.0  # it is ended before the others, and has so long for it
    keyboard: bool = False  # it reads keys from the terminal


ARGUMENTS = (
    Argument("hardware", "sim", "sim: simulated robot and cameras; real: a robot at robot_ip, your camera drivers"),
    Argument("robot_ip", "", "address of the robot's controller, host or host:port; for hardware real"),
    Argument(
        "policy",
        "himoe_small",
        "policy folder or Hugging Face name; the name of a preset runs untrained weights; expert: the simulation's "
        "scripted expert; none: a person drives; several in trials, with commas between",
    ),
    Argument("takeover", False, "the policy's plans pass through `himoe teleop ... --over-policy true`"),
    Argument("action_space", "end_effector", "which action space of the embodiment the policy commands"),
    Argument("replan_period_s", 0.5, "s between the starts of two plans"),
    Argument("torch_threads", 1, "CPU threads of the policy"),
    Argument("image_width", 224, "px, simulated cameras"),
    Argument("image_height", 224, "px, simulated cameras"),
    Argument("camera_rate_hz", 10.0, "images a second and simulated camera"),
    Argument("shadows", False, "simulated cameras show shadows (four times the rendering time on a CPU)"),
    Argument("seed", 0, "of the simulated scene and of untrained weights"),
    Argument("protocol", "xarm7/fruit_to_plate", "file of config/trials; decides what lies on the simulated table"),
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
    Argument("bags", True, "record a bag of each trial"),
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
    Argument("action_space", "end_effector", "that the controller executes"),
    Argument("over_policy", False, "stand before a policy (himoe up ... --takeover true), to take over from it"),
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


def player(bag: str, options: Mapping[str, object]) -> tuple[NodeSpec, ...]:
    """The node that plays a bag."""
    value = {a.name: _convert(a, options.get(a.name, a.default)) for a in PLAY_ARGUMENTS}
    return (NodeSpec("bag_player", "bag_player", {"bag": bag, **value}),)


def teleop(robot: str, options: Mapping[str, object]) -> tuple[NodeSpec, ...]:
    """A node by which a person, or the simulation's expert, drives a robot beside its graph.

    Args:
        robot: name of an embodiment.
        options: argument name -> value; missing ones take their default.
    """
    load_embodiment(robot, config("embodiments"))
    value = {a.name: _convert(a, options.get(a.name, a.default)) for a in TELEOP_ARGUMENTS}
    device = value.pop("device")
    common = {"embodiment": robot, **{key: value[key] for key in ("action_space", "over_policy")}}
    if device == "keyboard":
        return (NodeSpec("teleop_keyboard", "teleop_keyboard", common, keyboard=True),)
    if device == "expert":
        return (NodeSpec("sim_expert", "sim_expert", {**common, "seed": value["seed"]}),)
    described = {path.stem: path for path in config("teleop").glob("*.yaml")}
    if device not in described:
        raise ConfigError(f"'{device}' is no device; there are: keyboard, expert, {', '.join(sorted(described))}")
    kind = mapping(load_yaml(described[device]), str(described[device])).get("kind")
    if kind == "pad":
        own = {"device": device, "device_file": value["device_file"]}
        return (NodeSpec("teleop_pad", "teleop_pad", {**common, **own}),)
    if kind == "leader":
        return (NodeSpec("teleop_leader", "teleop_leader", {**common, "device": device}),)
    raise ConfigError(f"{described[device]}: kind must be pad or leader, got {kind!r}")


def recorder(robot: str, options: Mapping[str, object], keys: bool = False) -> tuple[NodeSpec, ...]:
    """The recorder beside a robot's graph.

    Args:
        robot: name of an embodiment.
        options: argument name -> value; missing ones take their default.
        keys: whether it reads keys from the terminal.
    """
    load_embodiment(robot, config("embodiments"))
    value = {a.name: _convert(a, options.get(a.name, a.default)) for a in RECORD_ARGUMENTS}
    return (NodeSpec("recorder", "recorder", {"embodiment": robot, **value, "keys": keys}, keyboard=keys),)


def arguments(robot: str, trials: bool = False) -> tuple[Argument, ...]:
    """The arguments of a robot's launch file; those of the trials too where they run."""
    load_embodiment(robot, config("embodiments"))
    return (*ARGUMENTS, *(TRIAL_ARGUMENTS if trials else ()))


def graph(robot: str, options: Mapping[str, object], trials: bool = False) -> tuple[NodeSpec, ...]:
    """The nodes of one robot.

    Args:
        robot: name of an embodiment.
        options: argument name -> value; text is converted, missing ones take their default.
        trials: whether the trials node runs too.

    Raises:
        ConfigError: an unknown robot or argument, or one with a wrong value.
    """
    known = {a.name: a for a in arguments(robot, trials)}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"unknown arguments {unknown}; there are {sorted(known)}")
    value = {name: _convert(a, options.get(name, a.default)) for name, a in known.items()}
    if value["hardware"] not in ("sim", "real"):
        raise ConfigError(f"hardware must be sim or real, got '{value['hardware']}'")
    if value["hardware"] == "real" and not value["robot_ip"]:
        raise ConfigError(f"hardware real needs robot_ip, the address of the {robot}'s controller")
    if value["hardware"] == "sim" and robot != "xarm7":
        raise ConfigError(f"there is no simulated '{robot}' yet; there is: xarm7")
    common = {"use_sim_time": value["use_sim_time"], "embodiment": robot}
    specs = []
    address = value["robot_ip"]
    if value["hardware"] == "sim":
        address = address or simulated_address()
        specs += _simulation(value, common, address)
    specs += [
        NodeSpec(
            "controller",
            f"{robot}_controller",
            {
                **common,
                "action_space": value["action_space"],
                "robot_ip": address,
                "park_on_exit": value["park"],
                "park_within_s": PARK_WITHIN_S,
            },
            leaves_within_s=(PARK_WITHIN_S if value["park"] else 0.0) + STOP_WITHIN_S,
        ),
    ]
    policies = str(value["policy"]).split(",")
    if trials:
        specs += _trials(value, common, policies)
    if len(policies) > 1:
        if not trials:
            raise ConfigError(f"one policy can drive a robot, got {policies}; several take turns in trials")
        labels = hide(policies, value["seed"])
        specs.append(NodeSpec("policy_switch", "policy_switch", {"labels": ",".join(labels)}))
        for label, policy in labels.items():
            behind = {name: f"policies/{label}/{name}" for name in (*PLANS, "instruction")}
            specs.append(_policy(value, common, policy, f"policy_{label}", behind))
    elif value["policy"] != NO_POLICY:
        behind = {name: f"policy/{name}" for name in PLANS} if value["takeover"] else {}
        specs.append(_policy(value, common, policies[0], "policy", behind))
    return tuple(specs)


def _policy(
    value: Mapping[str, object], common: Mapping[str, object], policy: str, name: str, remappings: Mapping[str, str]
) -> NodeSpec:
    own = {k: value[k] for k in ("action_space", "seed")}
    if policy == EXPERT:
        expert = {"embodiment": common["embodiment"], **own, "protocol": value["protocol"]}
        return NodeSpec("sim_expert", name, expert, remappings=remappings)
    own |= {k: value[k] for k in ("replan_period_s", "torch_threads")}
    return NodeSpec("policy", name, {**common, **own, "policy": policy}, remappings=remappings)


def _trials(value: Mapping[str, object], common: Mapping[str, object], policies: Sequence[str]) -> list[NodeSpec]:
    session = {k: value[k] for k in ("protocol", "trials", "time_limit_s", "out", "seed", "spread_m", "bags")}
    session |= {"policies": ",".join(policies), "simulated": value["hardware"] == "sim"}
    specs = [NodeSpec("trials", "trials", {"use_sim_time": value["use_sim_time"], **session}, keyboard=True)]
    if value["bags"]:
        bags = {"embodiment": common["embodiment"], "out": f"{value['out']}/bags", "images": "jpeg"}
        specs.append(NodeSpec("recorder", "recorder", bags))
    return specs


def bench_graphs(seconds: float, out: Path) -> dict[str, tuple[NodeSpec, ...]]:
    """What `himoe bench graph` runs: title -> nodes, the last of which measures and writes `out`."""
    probe = {"seconds": seconds, "json": str(out)}
    aloha = {"embodiment": "aloha", "action_space": "joints"}
    return {
        "demo graph": (
            *graph("xarm7", {}),
            NodeSpec("graph_probe", "graph_probe", {**probe, "cameras_node": "sim_cameras"}),
        ),
        "three cameras, 640x480, 30 Hz, not rendered": (
            NodeSpec("synthetic_sensors", "synthetic_sensors", {"embodiment": "aloha"}),
            NodeSpec("policy", "policy", aloha),
            NodeSpec(
                "graph_probe", "graph_probe", {**probe, "cameras_node": "synthetic_sensors", "robot_moves": False}
            ),
        ),
    }


def simulated_address() -> str:
    """Where the simulated control box listens: on the SDK's own port where this user may."""
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    free = os.geteuid() == 0 or (start.exists() and int(start.read_text()) <= SDK_PORT)
    return SIM_ADDRESS if free else f"{SIM_ADDRESS}:{UNPRIVILEGED_PORT}"


def environment() -> dict[str, str]:
    """Variables every node needs, where the user has not set them."""
    return {
        "FASTDDS_DEFAULT_PROFILES_FILE": os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE", str(config("fastdds.xml"))),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def _simulation(value: Mapping[str, object], common: Mapping[str, object], address: str) -> list[NodeSpec]:
    cameras = {
        "width": value["image_width"],
        "height": value["image_height"],
        "rate_hz": value["camera_rate_hz"],
        "shadows": value["shadows"],
    }
    drawing = {"MUJOCO_GL": os.environ.get("MUJOCO_GL", "egl")}
    scene = {"protocol": value["protocol"], "seed": value["seed"]}
    robot = {"address": address, "spread_m": value["spread_m"], **scene}
    cameras |= {k: value[k] for k in ("camera_shift_m", "light")}
    return [
        NodeSpec("sim_robot", "sim_robot", robot, {"MUJOCO_GL": "disable"}),
        NodeSpec("sim_cameras", "sim_cameras", {**common, **cameras, **scene}, drawing),
    ]


def _convert(argument: Argument, value: object) -> str | int | float | bool:
    kind = type(argument.default)
    try:
        if kind is bool and isinstance(value, str):
            return {"true": True, "false": False}[value.lower()]
        return kind(value)
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"argument '{argument.name}' must be of type {kind.__name__}, got {value!r}") from error
