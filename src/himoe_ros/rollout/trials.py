"""Trials of a policy in simulated time: many and quick, without the graph, its clocks and its latencies.

For comparing policies with each other. What a robot would do is for `himoe trials run`, through the real nodes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any
from typing import Protocol as Interface

from ..control.loop import Tick
from ..core.committed import Committed
from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ConfigError, GuardError, SimulationError
from ..core.execution import Execution, Planning, Scheduler
from ..core.observation import ActionChunk, Observation, RobotState
from ..core.safety import SafetyLimits, first_step
from ..core.unified import encode_state
from ..sim.renderer import CameraRenderer
from ..sim.sensor_noise import SensorNoise
from ..trials.judges import AnyJudge, judge_of
from ..trials.layout import draw_layout
from ..trials.protocol import Protocol
from ..trials.verdict import Verdict
from .workplace import Workplace

REPLAN_S = 0.5  # between two plans, as the policy node's default
WATCH_S = 0.1  # between two looks of the judge
SAME_S = 1e-3  # less than between two commands: times are sums


class Planner(Interface):
    """What is tried: see policy/local.py."""

    def reseed(self, seed: int) -> None:
        """From now on chance, where plans depend on it, goes on from this seed."""

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        """A plan from this observation, which agrees with what is done meanwhile, where that is told."""


@dataclass(frozen=True)
class Outcome:
    """One trial.

    Attributes:
        setting: of the protocol.
        scene: seed of its layout: trials of one setting and scene began alike.
        verdict: what was reached.
        seconds: simulated, until the last stage was reached or the time was over.
        refused: plans that the guard refused.
        stopped: why the control loop stopped the trial, or "".
    """

    setting: str
    scene: int
    verdict: Verdict
    seconds: float
    refused: int
    stopped: str

    @property
    def row(self) -> dict[str, Any]:
        """As a line of a table."""
        wrong = {"wrong_object": self.verdict.wrong_object, "wrong_target": self.verdict.wrong_target}
        end = {"seconds": round(self.seconds, 2), "refused": self.refused, "stopped": self.stopped}
        return {"setting": self.setting, "scene": self.scene, **self.verdict.stages, **wrong, **end}


def require_in_time(latency: float, safety: SafetyLimits) -> None:
    """ConfigError where plans that are so late, s, would be too old to be followed."""
    if not 0.0 <= latency < safety.chunk_timeout_s:
        raise ConfigError(
            f"expected plans late by less than {safety.chunk_timeout_s:g} s, after which a robot follows none "
            f"(safety.yaml, chunk_timeout_s), got {latency:g} s"
        )


def scenes(protocol: Protocol, each: int, seed: int) -> list[tuple[str, int]]:
    """(setting, scene) of `each` trials of every setting, in scenes that the seed decides."""
    names = list(protocol.settings) * each
    return [(name, seed + k) for k, name in enumerate(names)]


@dataclass(frozen=True)
class Followed:
    """How a trial went on: s, simulated; plans that the guard refused; why the control loop stopped it, or ""."""

    seconds: float
    refused: int
    stopped: str


def follow(
    place: Workplace,
    judge: AnyJudge,
    time_limit: float,
    told: Callable[[], ActionChunk | None],
    sent: Callable[[Tick], None] = lambda _: None,
) -> Followed:
    """Follow plans, until the last stage is reached or the time is over.

    Args:
        place: laid out, its robot armed.
        judge: shown how things are, every WATCH_S.
        time_limit: s.
        told: asked before every command for a plan that has come.
        sent: told every command.
    """
    start, refused, stopped = place.now, 0, ""
    watch = round(WATCH_S * place.rate_hz)
    while place.now - start < time_limit and not judge.verdict.success:
        if (plan := told()) is not None:
            try:
                place.loop.accept(plan, place.now, place.now)
            except GuardError:
                refused += 1
        try:
            sent(place.act())
        except SimulationError as error:
            stopped = str(error)
            break
        place.advance()
        if place.ticks % watch == 0:
            judge.observe(place.truth())
    return Followed(place.now - start, refused, stopped)


class Rollouts:
    """Trials of one protocol; policies come and go."""

    def __init__(
        self,
        protocol: Protocol,
        embodiment: Embodiment,
        space: ActionSpace,
        safety: SafetyLimits,
        image_size: int,
        latency: float = 0.0,
        replan: float = REPLAN_S,
        execution: Execution = Execution.ASYNCHRONOUS,
    ) -> None:
        """
        Args:
            space: that the policies command.
            image_size: px, of the cameras' square images.
            latency: s, from an observation to the plan made of it.
            replan: s, between two plans, as far as the way of execution leaves that open.
            execution: how plans follow one another.
        """
        self._protocol, self._embodiment = protocol, embodiment
        self._workplace = Workplace(protocol, embodiment, space, safety)
        self._renderer = CameraRenderer(self._workplace.world.model, image_size, image_size)
        self._pixels = image_size
        self._latency = latency
        reach = first_step(safety, embodiment, space)
        self._scheduler = partial(Scheduler, space, execution, replan, reach)  # one for each trial
        self._space = space

    def run(self, policy: Planner, name: str, scene: int) -> Outcome:
        """One trial of a setting, from the arms' home; setting and scene decide all that is drawn."""
        setting = self._protocol.settings[name]
        place, judge = self._workplace, judge_of(self._protocol, setting)
        place.lay_out(draw_layout(self._protocol, setting, scene))
        place.begin()
        policy.reseed(scene)
        noise, scheduler = SensorNoise(self._pixels, self._pixels), self._scheduler()
        made: tuple[Planning, ActionChunk] | None = None

        def told() -> ActionChunk | None:
            nonlocal made
            now = place.now
            if made is None and now >= scheduler.due(now) - SAME_S:
                seen = self._observation(setting.instruction, noise)
                where = encode_state(self._embodiment, self._space, seen.state)[self._space.slots]
                if (planning := scheduler.begin(now, where, now)) is not None:
                    made = planning, policy.act(seen, planning.committed)
            if made is None or now < made[0].stamp + self._latency - SAME_S:
                return None
            (planning, plan), made = made, None
            return scheduler.finish(planning, plan, now)

        went = follow(place, judge, self._protocol.time_limit, told)
        return Outcome(setting.name, scene, judge.verdict, went.seconds, went.refused, went.stopped)

    def _observation(self, instruction: str, noise: SensorNoise) -> Observation:
        place, joints = self._workplace, self._workplace.joints()
        eef = self._embodiment.arms[0].tool(joints) if self._embodiment.tells_tool else None
        cameras = [c.name for c in self._embodiment.cameras]
        images = {name: noise(self._renderer.render(place.world.data, name)) for name in cameras}
        return Observation(place.now, images, RobotState(joints, eef), instruction)

    def close(self) -> None:
        """Free the drawing context."""
        self._renderer.close()
