"""Which nodes run, with which parameters: read by launch/*.launch.py and by `himoe up`.

Plain data and no ROS, so that both ways of starting tell the same story.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .core.embodiment import load_embodiment
from .core.errors import ConfigError
from .core.reading import load_yaml, mapping
from .options import ARGUMENTS, PLAY_ARGUMENTS, RECORD_ARGUMENTS, TELEOP_ARGUMENTS, TRIAL_ARGUMENTS, Argument, convert
from .resources import EXPERT, NO_POLICY, config, own_policy, require_policy, trained_space
from .trials.protocol import load_protocol
from .trials.schedule import hide

PROTOCOLS = {"xarm7": "xarm7/fruit_to_plate", "aloha": "aloha/cup_handover"}  # where no other is named
FOLLOWERS = "follower_left,follower_right"
STANDIN = Path(__file__).with_name("interbotix_standin")  # its packages, at the place of the vendor's
SIM_ADDRESS = "127.0.0.2"
SDK_PORT = 502  # built into the vendor's SDK
UNPRIVILEGED_PORT = 10502
NOT_OF_A_SESSION = ("out", "policy", "salt")  # told elsewhere, or of no meaning for what a trial comes to
PLANS = ("action_chunk", "chunk_source")
PARK_WITHIN_S = 10.0
STOP_WITHIN_S = 3.0


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


def player(bag: str, options: Mapping[str, object]) -> tuple[NodeSpec, ...]:
    """The node that plays a bag."""
    value = {a.name: convert(a, options.get(a.name, a.default)) for a in PLAY_ARGUMENTS}
    return (NodeSpec("bag_player", "bag_player", {"bag": bag, **value}),)


def teleop(robot: str, options: Mapping[str, object]) -> tuple[NodeSpec, ...]:
    """A node by which a person, or the simulation's expert, drives a robot beside its graph.

    Args:
        robot: name of an embodiment.
        options: argument name -> value; missing ones take their default.
    """
    embodiment = load_embodiment(robot, config("embodiments"))
    value = {a.name: convert(a, options.get(a.name, a.default)) for a in TELEOP_ARGUMENTS}
    value["action_space"] = value["action_space"] or next(iter(embodiment.action_spaces))
    device = value.pop("device")
    common = {"embodiment": robot, **{key: value[key] for key in ("action_space", "over_policy")}}
    if device == "keyboard":
        return (NodeSpec("teleop_keyboard", "teleop_keyboard", common, keyboard=True),)
    if device == "expert":
        own = {"protocol": value["protocol"] or PROTOCOLS.get(robot, ""), "seed": value["seed"]}
        return (NodeSpec("sim_expert", "sim_expert", {**common, **own}),)
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
    value = {a.name: convert(a, options.get(a.name, a.default)) for a in RECORD_ARGUMENTS}
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
    value = _checked(robot, options, trials)
    common = {"use_sim_time": value["use_sim_time"], "embodiment": robot}
    specs = []
    address = value["robot_ip"]
    if value["hardware"] == "sim":
        address = address or simulated_address(robot)
        specs += _simulation(value, common, address)
    specs.append(_controller(value, common, address))
    policies = str(value["policy"]).split(",")
    if trials:
        specs += _trials(value, common, policies)
    if len(policies) > 1:
        if not trials:
            raise ConfigError(f"one policy can drive a robot, got {policies}; several take turns in trials")
        labels = hide(policies, value["salt"])
        specs.append(NodeSpec("policy_switch", "policy_switch", {"labels": ",".join(labels)}))
        for label, policy in labels.items():
            behind = {name: f"policies/{label}/{name}" for name in (*PLANS, "instruction")}
            specs.append(_policy(value, common, policy, f"policy_{label}", behind))
    elif value["policy"] != NO_POLICY:
        behind = {name: f"policy/{name}" for name in PLANS} if value["takeover"] else {}
        specs.append(_policy(value, common, policies[0], "policy", behind))
    return tuple(specs)


def _checked(robot: str, options: Mapping[str, object], trials: bool) -> dict[str, str | int | float | bool]:
    """A value for every argument."""
    known = {a.name: a for a in arguments(robot, trials)}
    unknown = sorted(set(options) - set(known))
    if unknown:
        raise ConfigError(f"unknown arguments {unknown}; there are {sorted(known)}")
    value = {name: convert(a, options.get(name, a.default)) for name, a in known.items()}
    embodiment = load_embodiment(robot, config("embodiments"))
    value["policy"] = value["policy"] or own_policy(robot)
    policies = str(value["policy"]).split(",")
    for policy in policies:
        require_policy(policy)
    own = trained_space(policies[0])
    value["action_space"] = value["action_space"] or own or next(iter(embodiment.action_spaces))
    value["protocol"] = value["protocol"] or PROTOCOLS.get(robot, "")
    if value["hardware"] not in ("sim", "real"):
        raise ConfigError(f"hardware must be sim or real, got '{value['hardware']}'")
    if value["seed"] < 0:
        raise ConfigError(f"seed must be >= 0, got {value['seed']}")
    if value["hardware"] == "real" and not value["robot_ip"]:
        raise ConfigError("hardware real needs robot_ip: an xArm's address, or the names of ALOHA's followers")
    if value["hardware"] == "sim" and robot not in PROTOCOLS:
        raise ConfigError(f"there is no simulated '{robot}'; there are: {', '.join(PROTOCOLS)}")
    if (trials or value["hardware"] == "sim") and not str(value["protocol"]).startswith(f"{robot}/"):
        raise ConfigError(f"protocol '{value['protocol']}' is none of the {robot}'s; himoe trials list tells them")
    return value


def _controller(value: Mapping[str, object], common: Mapping[str, object], address: object) -> NodeSpec:
    standin = value["hardware"] == "sim" and common["embodiment"] == "aloha"
    paths = (str(STANDIN), os.environ.get("PYTHONPATH"))
    return NodeSpec(
        "controller",
        f"{common['embodiment']}_controller",
        {
            **common,
            "action_space": value["action_space"],
            "robot_ip": address,
            "park_on_exit": value["park"],
            "park_within_s": PARK_WITHIN_S,
        },
        {"PYTHONPATH": os.pathsep.join(filter(None, paths))} if standin else {},
        leaves_within_s=(PARK_WITHIN_S if value["park"] else 0.0) + STOP_WITHIN_S,
    )


def _policy(
    value: Mapping[str, object], common: Mapping[str, object], policy: str, name: str, remappings: Mapping[str, str]
) -> NodeSpec:
    own = {k: value[k] for k in ("action_space", "seed", "execution", "replan_period_s", "added_latency_s")}
    if policy == EXPERT:
        expert = {
            "embodiment": common["embodiment"],
            **own,
            "protocol": value["protocol"],
            "steps": value["expert_steps"],
        }
        return NodeSpec("sim_expert", name, expert, remappings=remappings)
    own |= {k: value[k] for k in ("torch_threads", "device", "expert_weights", "policy_token_file")}
    return NodeSpec("policy", name, {**common, **own, "policy": policy}, remappings=remappings)


def _trials(value: Mapping[str, object], common: Mapping[str, object], policies: Sequence[str]) -> list[NodeSpec]:
    session = {
        k: value[k]
        for k in ("protocol", "trials", "time_limit_s", "out", "seed", "salt", "spread_m", "wording", "bags")
    }
    session |= {"policies": ",".join(policies), "simulated": value["hardware"] == "sim"}
    session["options"] = json.dumps({k: str(v) for k, v in value.items() if k not in NOT_OF_A_SESSION})
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
        "simulated ALOHA, three cameras": (
            *graph("aloha", {}),
            NodeSpec("graph_probe", "graph_probe", {**probe, "cameras_node": "sim_cameras", "commands": "action"}),
        ),
        "three cameras, 640x480, 30 Hz, not rendered": (
            NodeSpec("synthetic_sensors", "synthetic_sensors", {"embodiment": "aloha"}),
            NodeSpec("policy", "policy", aloha),
            NodeSpec(
                "graph_probe", "graph_probe", {**probe, "cameras_node": "synthetic_sensors", "robot_moves": False}
            ),
        ),
    }


def latency_graph(seconds: float, out: Path, options: Mapping[str, object], rendered: bool) -> tuple[NodeSpec, ...]:
    """What `himoe bench latency` runs: the xArm7's graph, and a node that measures and writes `out`.

    Args:
        rendered: whether its cameras draw what they see, which takes a CPU; else they publish noise, as soon as it is
            stamped, as drivers of cameras do.
    """
    cameras = "sim_cameras" if rendered else "synthetic_sensors"
    specs = graph("xarm7", options)
    if not rendered:
        noise = NodeSpec(cameras, cameras, {"embodiment": "xarm7", "joints": False})
        specs = tuple(noise if spec.name == "sim_cameras" else spec for spec in specs)
    probe = {"seconds": seconds, "json": str(out), "cameras_node": cameras}
    return (*specs, NodeSpec("graph_probe", "graph_probe", probe))


def simulated_address(robot: str) -> str:
    """Names of the simulated followers, or where the control box listens: on the SDK's own port where this user may."""
    if robot == "aloha":
        return FOLLOWERS
    start = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start")
    free = os.geteuid() == 0 or (start.exists() and int(start.read_text()) <= SDK_PORT)
    return SIM_ADDRESS if free else f"{SIM_ADDRESS}:{UNPRIVILEGED_PORT}"


def environment() -> dict[str, str]:
    """Variables every node needs, where the user has not set them."""
    old = os.environ.get("ROS_DISTRO") in ("humble", "iron", "jazzy")
    profiles = "FASTRTPS_DEFAULT_PROFILES_FILE" if old else "FASTDDS_DEFAULT_PROFILES_FILE"
    return {
        profiles: os.environ.get(profiles, str(config("fastdds.xml"))),
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
        # By default glibc keeps up to eight heaps a core, and what their threads free is slowly scattered over all.
        "MALLOC_ARENA_MAX": os.environ.get("MALLOC_ARENA_MAX", "2"),
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
    name = str(common["embodiment"])
    robot = {"followers" if name == "aloha" else "address": address, "spread_m": value["spread_m"], **scene}
    simulator = load_protocol(str(value["protocol"]), config("trials")).simulator
    robots, views = (f"{simulator}_{name}", f"{simulator}_cameras") if simulator else (f"sim_{name}", "sim_cameras")
    if not simulator:  # another one's cameras and light stay as they are
        cameras |= {k: value[k] for k in ("camera_shift_m", "light")}
    return [
        NodeSpec(robots, "sim_robot", robot, {"MUJOCO_GL": "disable"}),
        NodeSpec(views, "sim_cameras", {**common, **cameras, **scene}, drawing),
    ]
