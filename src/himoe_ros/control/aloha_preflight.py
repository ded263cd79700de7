"""What a person should know of ALOHA's followers before arming, judged from facts that `aloha_survey` gathered."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.arm import Arm, Gripper
from ..core.embodiment import Embodiment
from .finding import Finding, Level

GRIPPER = "gripper"  # as xs_sdk calls it
BEYOND_RAD = 0.2  # outside its configured range, a gripper tells of another convention
CONVENTIONS = "followers of ALOHA 2: 0.6197 .. 1.6214 rad; older stacks and gym-aloha: -0.6213 .. 1.4910 rad"
NEAR_LIMIT_RAD = 0.05
LEAST_STATES_HZ = 45.0  # the vendor's node sends 100; commands go out at 50 and more
SIDES = ("left", "right")


@dataclass(frozen=True)
class FollowerFacts:
    """What a follower tells.

    Attributes:
        name: of the robot.
        joints: of its arm, base to tip.
        positions: name -> rad, the gripper among them.
        states_hz: joint states a second.
        problem: why it tells nothing, or "".
    """

    name: str
    joints: tuple[str, ...]
    positions: Mapping[str, float]
    states_hz: float
    problem: str = ""


def joints_of(arm: Arm) -> tuple[str, ...]:
    """As xs_sdk calls them: ours carry the arm's name in front, since two arms share one vector."""
    return tuple(name.removeprefix(f"{arm.name}_") for name in arm.joints)


def gripper_problem(name: str, gripper: Gripper, at: float) -> str:
    """Why a gripper's numbers cannot mean what its configuration says, or ""."""
    low, high = sorted((gripper.open, gripper.closed))
    if low - BEYOND_RAD <= at <= high + BEYOND_RAD:
        return ""
    return (
        f"the gripper of '{name}' stands at {at:.3f} rad, its configuration says {gripper.closed:g} (closed) to "
        f"{gripper.open:g} (open): set open and closed in the embodiment file as this stack has them ({CONVENTIONS})"
    )


def judge_followers(facts: Sequence[FollowerFacts], embodiment: Embodiment) -> list[Finding]:
    """Every check of the followers, in the order of the embodiment's arms."""
    return [finding for fact, arm in zip(facts, embodiment.arms, strict=True) for finding in _judged(fact, arm)]


def _judged(facts: FollowerFacts, arm: Arm) -> Iterator[Finding]:
    what = f"{arm.name} arm"
    if facts.problem:
        yield Finding(what, Level.UNSAFE, facts.problem, f"an xs_sdk of '{facts.name}'")
        return
    other = next(side for side in SIDES if side != arm.name)
    swapped = other in facts.name and arm.name not in facts.name
    yield Finding(
        what,
        Level.UNSAFE if swapped else Level.OK,
        facts.name,
        f"a name with '{arm.name}'" if swapped else "",
        "Name the followers in robot_ip left arm first" if swapped else "",
    )
    fits = facts.joints == joints_of(arm)
    yield Finding(
        f"{what}: joints",
        Level.OK if fits else Level.UNSAFE,
        ", ".join(facts.joints),
        "" if fits else ", ".join(joints_of(arm)),
    )
    if fits:
        yield _limits(what, facts, arm)
    problem = gripper_problem(facts.name, arm.gripper, facts.positions.get(GRIPPER, np.inf))
    opening = arm.gripper.opening(facts.positions.get(GRIPPER, np.nan))
    yield Finding(f"{what}: gripper", Level.UNSAFE if problem else Level.OK, problem or f"{100 * opening:.0f} % open")
    slow = facts.states_hz < LEAST_STATES_HZ
    yield Finding(
        f"{what}: joint states",
        Level.WARNING if slow else Level.OK,
        f"{facts.states_hz:.0f} a second",
        f"at least {LEAST_STATES_HZ:.0f}" if slow else "",
        "Look at its USB adapter's latency timer and at what else the machine does" if slow else "",
    )


def _limits(what: str, facts: FollowerFacts, arm: Arm) -> Finding:
    joints = np.array([facts.positions[name] for name in facts.joints])
    room = np.minimum(joints - arm.bounds.lower, arm.bounds.upper - joints)
    tightest = int(np.argmin(room))
    name, allowed = arm.joints[tightest], f"{arm.bounds.lower[tightest]:.3f} to {arm.bounds.upper[tightest]:.3f} rad"
    if not np.isfinite(joints).all() or room[tightest] < -NEAR_LIMIT_RAD:
        advice = "Move the arm inside by hand, with torque off"
        return Finding(f"{what}: limits", Level.UNSAFE, f"{name} at {joints[tightest]:.3f} rad", allowed, advice)
    level = Level.WARNING if room[tightest] < NEAR_LIMIT_RAD else Level.OK
    return Finding(f"{what}: limits", level, f"nearest: {name}, {room[tightest]:.2f} rad away")
