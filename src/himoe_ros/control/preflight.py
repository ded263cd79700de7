"""What a person should know of an arm before arming, judged from facts that `xarm_survey` gathered."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..core.embodiment import Embodiment
from ..core.observation import Floats
from .finding import Finding, Level

NEAR_LIMIT_RAD = 0.05
LONGEST_ANSWER_S = 0.3  # the driver gives a connection up then
LEAST_REPORTS_HZ = 4.0  # the box sends 5
OLDEST_FIRMWARE = (1, 9, 110)  # tells measured joint positions since then
GRIPPER_LOAD_KG = 0.82  # of the xArm Gripper: UFACTORY Studio, TCP payload


@dataclass(frozen=True)
class RobotFacts:
    """What an arm's controller tells.

    Attributes:
        identity: versions and serial numbers, in words.
        firmware: version.
        axes: number of joints.
        error, warning: in words, "" for none.
        state, mode: the controller's numbers.
        joints: (J,) rad, measured.
        tool_offset: x, y, z of the tool on the flange, m.
        load_kg: the tool's mass, as set.
        collision_sensitivity: 0 (off) to 5.
        reduced: the reduced mode is on.
        reduced_joint_speed: rad/s, in the reduced mode.
        fence: upper and lower x, y, z of the safety boundary, m, in the order of the vendor; None when off.
        gripper: where it is, in words; "" where it does not answer.
        gripper_fault: in words, "" for none.
        answers: s, how long each of many readings took.
        reports_hz: status reports a second.
    """

    identity: str
    firmware: tuple[int, int, int]
    axes: int
    error: str
    warning: str
    state: int
    mode: int
    joints: Floats
    tool_offset: tuple[float, float, float]
    load_kg: float
    collision_sensitivity: int
    reduced: bool
    reduced_joint_speed: float
    fence: tuple[float, ...] | None
    gripper: str
    gripper_fault: str
    answers: Floats
    reports_hz: float


def judge_robot(facts: RobotFacts, embodiment: Embodiment) -> list[Finding]:
    """Every check of an arm's controller, in the order a person would go through them."""
    return [
        *_judge_controller(facts, embodiment),
        *_judge_place(facts, embodiment),
        *_judge_timing(facts, embodiment.control_rate_hz),
    ]


def _judge_controller(facts: RobotFacts, embodiment: Embodiment) -> Iterator[Finding]:
    arm = embodiment.arms[0]
    old = facts.firmware < OLDEST_FIRMWARE
    yield Finding(
        "versions",
        Level.WARNING if old else Level.OK,
        facts.identity,
        f"firmware {'.'.join(map(str, OLDEST_FIRMWARE))} or newer" if old else "",
        "Older ones tell commanded instead of measured joints: update it in UFACTORY Studio" if old else "",
    )
    if facts.axes == len(arm.joints):
        yield Finding("axes", Level.OK, str(facts.axes))
    else:
        yield Finding("axes", Level.UNSAFE, str(facts.axes), str(len(arm.joints)), "Is this the right robot?")
    if facts.error:
        yield Finding("controller error", Level.UNSAFE, facts.error, "none")
    else:
        yield Finding("controller error", Level.OK, "none")
    yield Finding("controller warning", Level.WARNING if facts.warning else Level.OK, facts.warning or "none")
    states = {1: "moving", 2: "ready", 3: "paused", 4: "stopped", 5: "just reset"}
    state = f"{facts.state}, {states.get(facts.state, 'unknown')}"
    if facts.state == 1:
        yield Finding("state", Level.UNSAFE, state, "2 or 4", "Another program moves it: end that program")
    elif facts.state == 3:
        yield Finding("state", Level.WARNING, state, "2 or 4", "Another program has paused it; arming ends the pause")
    else:
        yield Finding("state", Level.OK, state)
    yield Finding("mode", Level.OK, f"{facts.mode}; arming sets 1, servo")
    if facts.collision_sensitivity == 0:
        yield Finding("collision detection", Level.WARNING, "off", "1 to 5", "Switch it on in UFACTORY Studio")
    else:
        yield Finding("collision detection", Level.OK, f"sensitivity {facts.collision_sensitivity}")
    slow = facts.reduced and facts.reduced_joint_speed < arm.max_velocity
    yield Finding(
        "reduced mode",
        Level.WARNING if slow else Level.OK,
        f"on, {facts.reduced_joint_speed:.2f} rad/s" if facts.reduced else "off",
        f"at least {arm.max_velocity:.2f} rad/s" if slow else "",
        "Lower max_velocity_rad_s of the embodiment, or switch the mode off" if slow else "",
    )
    yield from _judge_tool(facts, embodiment)


def _judge_tool(facts: RobotFacts, embodiment: Embodiment) -> Iterator[Finding]:
    chain, workspace = embodiment.arms[0].chain, embodiment.workspace
    wanted = np.zeros(3) if chain is None else chain.tool[:3, 3]
    found = " ".join(f"{1e3 * v:.1f}" for v in facts.tool_offset) + " mm"
    if np.allclose(facts.tool_offset, wanted, atol=2e-3):
        yield Finding("tool offset", Level.OK, found)
    else:
        yield Finding(
            "tool offset",
            Level.WARNING,
            found,
            " ".join(f"{1e3 * v:.1f}" for v in wanted) + " mm",
            "The controller then guards the speed and the boundary of another point: set it in UFACTORY Studio",
        )
    if abs(facts.load_kg - GRIPPER_LOAD_KG) > 0.1:
        yield Finding(
            "payload",
            Level.WARNING,
            f"{facts.load_kg:.2f} kg",
            f"{GRIPPER_LOAD_KG:.2f} kg for the gripper alone",
            "A wrong payload makes collisions be seen late, or where there are none: set it in UFACTORY Studio",
        )
    else:
        yield Finding("payload", Level.OK, f"{facts.load_kg:.2f} kg")
    if facts.fence is None or workspace is None:
        yield Finding("safety boundary", Level.OK, "off" if facts.fence is None else "on")
        return
    upper, lower = np.array(facts.fence[::2]), np.array(facts.fence[1::2])
    inside = bool(np.all(upper >= workspace.upper) and np.all(lower <= workspace.lower))
    box = (
        f"x {lower[0]:.2f} to {upper[0]:.2f}, y {lower[1]:.2f} to {upper[1]:.2f}, z {lower[2]:.2f} to {upper[2]:.2f} m"
    )
    if inside:
        yield Finding("safety boundary", Level.OK, box)
    else:
        yield Finding(
            "safety boundary", Level.WARNING, box, "around our workspace", "The controller may stop with C35 inside it"
        )


def _judge_place(facts: RobotFacts, embodiment: Embodiment) -> Iterator[Finding]:
    arm = embodiment.arms[0]
    if len(facts.joints) != len(arm.joints):
        return
    lower, upper = arm.bounds.lower, arm.bounds.upper
    room = np.minimum(facts.joints - lower, upper - facts.joints)
    tightest = int(np.argmin(room))
    name, value = arm.joints[tightest], facts.joints[tightest]
    limits = f"{name} within {lower[tightest]:.3f} to {upper[tightest]:.3f} rad"
    if not np.all(np.isfinite(facts.joints)) or room[tightest] < 0:
        yield Finding(
            "joint limits",
            Level.UNSAFE,
            f"{name} at {value:.3f} rad",
            limits,
            "Move the arm inside, by hand in manual mode or in UFACTORY Studio",
        )
    elif room[tightest] < NEAR_LIMIT_RAD:
        yield Finding("joint limits", Level.WARNING, f"{name} is {room[tightest]:.3f} rad from its limit", limits)
    else:
        yield Finding("joint limits", Level.OK, f"nearest: {name}, {room[tightest]:.2f} rad away")
    away = np.abs(facts.joints - arm.bounds.rest)
    far = int(np.argmax(away))
    yield Finding("distance from home", Level.OK, f"{away[far]:.2f} rad, {arm.joints[far]}")


def _judge_timing(facts: RobotFacts, rate_hz: float) -> Iterator[Finding]:
    if facts.gripper_fault or not facts.gripper:
        found = facts.gripper_fault or "no answer"
        yield Finding("gripper", Level.UNSAFE, found, "an answer without error", "Check its cable at the tool")
    else:
        yield Finding("gripper", Level.OK, facts.gripper)
    median, high = np.percentile(facts.answers, [50, 99])
    worst = float(np.max(facts.answers))
    found = f"{1e3 * median:.1f} ms median, {1e3 * high:.1f} p99, {1e3 * worst:.1f} worst of {len(facts.answers)}"
    period = 1.0 / rate_hz
    if worst > LONGEST_ANSWER_S:
        level, expected = Level.UNSAFE, f"at most {1e3 * LONGEST_ANSWER_S:.0f} ms"
    elif high > period / 2:  # a tick reads and sends
        level, expected = Level.WARNING, f"p99 below {1e3 * period / 2:.0f} ms"
    else:
        level, expected = Level.OK, ""
    yield Finding(
        "answers", level, found, expected, "Use a cable, no Wi-Fi, and no busy switch" if level is not Level.OK else ""
    )
    slow = facts.reports_hz < LEAST_REPORTS_HZ
    yield Finding(
        "status reports",
        Level.WARNING if slow else Level.OK,
        f"{facts.reports_hz:.1f} Hz",
        "5 Hz" if slow else "",
        "Other programs may hold the controller's report connections: close them" if slow else "",
    )
