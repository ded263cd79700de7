"""Trials of the scripted expert, whose plans are long and late, in simulated time: what a way of execution costs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..control.loop import Tick
from ..control.states import Mode
from ..core.embodiment import ActionSpace, Embodiment, load_embodiment
from ..core.errors import ConfigError
from ..core.execution import Execution, Scheduler
from ..core.observation import ActionChunk, Floats
from ..core.safety import SafetyLimits, first_step, load_safety
from ..resources import config
from ..trials.judges import judge_of
from ..trials.layout import draw_layout
from ..trials.protocol import Protocol, load_protocol
from .expert_task import OneHand, scripted
from .long_plans import LongPlans
from .pool import pooled
from .trials import follow, require_in_time, scenes
from .workplace import Workplace

LOOK_S = 0.1  # between two looks of the expert


@dataclass(frozen=True)
class Late:
    """What to try.

    Attributes:
        protocol: name of a file of config/trials.
        execution: how plans follow one another.
        latency: s, of every plan.
        steps: of a plan, 30 a second.
        replan: s, between two plans, as far as the way of execution leaves that open.
        action_space: that is commanded.
    """

    protocol: str
    execution: Execution
    latency: float
    steps: int
    replan: float
    action_space: str = "end_effector"


@dataclass(frozen=True)
class LateOutcome:
    """One trial.

    Attributes:
        setting: of the protocol.
        scene: seed of its layout and of the expert's manner.
        success: the last stage was reached.
        seconds: simulated, until then or until the time was over.
        holds: times that the arm waited for a plan, and held_s, for how long; not for the first one.
        refused: plans that the guard refused.
        stopped: why the control loop stopped the trial, or "".
        jerk: the largest of any joint's commands, as a share of what the joint may have.
    """

    setting: str
    scene: int
    success: bool
    seconds: float
    holds: int
    held_s: float
    refused: int
    stopped: str
    jerk: float


def require(wanted: Late) -> tuple[Protocol, Embodiment, ActionSpace, SafetyLimits]:
    """What is named, loaded.

    Raises:
        ConfigError: it is not there, no expert of one arm does the protocol, or plans would be too old to be followed.
    """
    protocol, safety = load_protocol(wanted.protocol, config("trials")), load_safety(config("safety.yaml"))
    embodiment = load_embodiment(protocol.embodiment, config("embodiments"))
    require_in_time(wanted.latency, safety)
    experts = [scripted(embodiment, protocol, s, np.random.default_rng()) for s in protocol.settings.values()]
    if not all(isinstance(expert, OneHand) for expert in experts):
        raise ConfigError(f"{protocol.name}: the expert of two arms knows no long plans")
    return protocol, embodiment, embodiment.action_space(wanted.action_space), safety


class LateTrials:
    """Trials of one way of execution in this process: setting and scene -> outcome."""

    def __init__(self, wanted: Late) -> None:
        """
        Raises:
            ConfigError: see `require`.
        """
        self._wanted = wanted
        self._protocol, self._embodiment, self._space, safety = require(wanted)
        self._reach = first_step(safety, self._embodiment, self._space)
        self._place = Workplace(self._protocol, self._embodiment, self._space, safety)

    def __call__(self, name: str, scene: int) -> LateOutcome:
        """One trial; setting and scene decide all that is drawn."""
        wanted, place, setting = self._wanted, self._place, self._protocol.settings[name]
        place.lay_out(draw_layout(self._protocol, setting, scene))
        place.begin()
        expert = scripted(self._embodiment, self._protocol, setting, np.random.default_rng(scene))
        scheduler = Scheduler(self._space, wanted.execution, wanted.replan, self._reach)
        plans = LongPlans(self._embodiment, self._space, scheduler, wanted.steps, wanted.latency)
        judge = judge_of(self._protocol, setting)
        look = round(LOOK_S * place.rate_hz)
        commands, held = [], []

        def told() -> ActionChunk | None:
            if place.ticks % look == 0:
                plans.begin(expert, place.truth().things, place.joints(), place.now)
            return plans.told(place.now)

        def sent(tick: Tick) -> None:
            commands.append(tick.command)
            held.append(place.loop.mode is Mode.HOLDING)

        went = follow(place, judge, self._protocol.time_limit, told, sent)
        waited = np.array([False, *held])
        return LateOutcome(
            name,
            scene,
            judge.verdict.success,
            went.seconds,
            int(np.sum(waited[1:] & ~waited[:-1])),
            float(waited.sum()) / place.rate_hz,
            went.refused,
            went.stopped,
            largest_jerk(self._embodiment, np.array(commands)),
        )


def largest_jerk(embodiment: Embodiment, commands: Floats) -> float:
    """Of any joint, as a share of what it may have; 0.0 for fewer than four commands.

    Args:
        commands: (T, N), a control period apart, order of `Embodiment.joint_names`.
    """
    if len(commands) < 4:
        return 0.0
    jerk, names = np.abs(np.diff(commands, n=3, axis=0)) * embodiment.control_rate_hz**3, embodiment.joint_names
    of = {joint: float(jerk[:, i].max()) for i, joint in enumerate(names)}
    return max(of[joint] / arm.max_jerk for arm in embodiment.arms for joint in arm.joints)


def late_trials(wanted: Late, each: int, seed: int, workers: int) -> Iterator[LateOutcome]:
    """Run `each` trials of every setting, in scenes that the seed decides; outcomes in their order.

    Raises:
        ConfigError: see `require`.
    """
    protocol, *_ = require(wanted)
    yield from pooled(partial(LateTrials, wanted), scenes(protocol, each, seed), workers)
