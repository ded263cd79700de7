"""The scripted expert as a source of long plans that are late, as a model's are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.committed import resampled
from ..core.embodiment import END_EFFECTOR, ActionSpace, Embodiment
from ..core.execution import Planning, Scheduler
from ..core.observation import ActionChunk, Floats, RobotState
from ..core.unified import decode_state, encode_state, scatter
from ..sim.expert import STEP_S
from ..teleop.tool import tools_chunk
from ..trials.truth import Pose
from .expert_task import OneHand

STEPS_HZ = 30.0


@dataclass(frozen=True)
class _Made:
    """A plan, and the time, s, at which it is told."""

    planning: Planning
    plan: ActionChunk
    minds: list[OneHand]  # how far the expert is in the episode, STEP_S apart, where the plan is followed
    due: float


class LongPlans:
    """Plans of one arm. Time is an argument."""

    def __init__(
        self, embodiment: Embodiment, space: ActionSpace, scheduler: Scheduler, steps: int, latency: float
    ) -> None:
        """
        Args:
            scheduler: of these plans.
            steps: of a plan, 30 a second.
            latency: s, from the beginning of a plan until it is told.
        """
        self._embodiment, self._space, self._scheduler = embodiment, space, scheduler
        self._times = np.arange(1, steps + 1) / STEPS_HZ
        self._latency = latency
        self._made: _Made | None = None
        self._followed: _Made | None = None

    def begin(self, expert: OneHand, things: Mapping[str, Pose], joints: Mapping[str, float], now: float) -> None:
        """Make a plan, where one is due and none is on its way.

        Args:
            expert: of the episode; where a plan is followed, it goes on from what that foresaw for now.
            things, joints: what there is to see now.
            now: s.
        """
        if self._made is not None or now < self._scheduler.due(now):
            return
        arm = self._embodiment.arms[0]
        state = RobotState(joints, arm.forward(np.array([joints[joint] for joint in arm.joints])))
        where = encode_state(self._embodiment, self._space, state)[self._space.slots]
        planning = self._scheduler.begin(now, where, now)
        if planning is not None:
            if self._followed is not None:
                passed = int((now - self._followed.plan.stamp) / STEP_S)
                expert = self._followed.minds[min(passed, len(self._followed.minds) - 1)]
            self._made = self._foreseen(expert, things, joints, planning, now)

    def told(self, now: float) -> ActionChunk | None:
        """The plan that is due now."""
        if self._made is None or now < self._made.due:
            return None
        self._followed, self._made = self._made, None
        return self._scheduler.finish(self._followed.planning, self._followed.plan, now)

    def forget(self) -> None:
        """Nobody follows, or another thing is asked for."""
        self._made = self._followed = None
        self._scheduler.forget()

    def _foreseen(
        self,
        expert: OneHand,
        things: Mapping[str, Pose],
        joints: Mapping[str, float],
        planning: Planning,
        now: float,
    ) -> _Made:
        coarse = STEP_S * np.arange(int(np.ceil(self._times[-1] / STEP_S - 1e-9)) + 1)
        certain = np.empty((0, 7))
        if (committed := planning.committed) is not None:
            told = now + coarse[1:][now + coarse[1:] <= committed.until]
            certain = np.array([self._hand(expert, row) for row in committed.steps(self._space, told)]).reshape(-1, 7)
        rows, minds = expert.foresee(things, joints, len(coarse) - 1, certain)
        targets = expert.targets(np.vstack([expert.hand(joints), rows]))
        plan = tools_chunk(self._embodiment, self._space, joints, targets, coarse, now)
        values = resampled(plan, self._space, now + self._times)
        return _Made(planning, ActionChunk(now, plan.names, values, self._times), minds, now + self._latency)

    def _hand(self, expert: OneHand, row: Floats) -> Floats:
        """(N,) in the order of the action space -> (7,) tool and opening."""
        arm = self._embodiment.arms[0]
        state = decode_state(self._embodiment, self._space, scatter(self._space, row))
        if self._space.names[0] in END_EFFECTOR:
            return np.append(row[: len(END_EFFECTOR)], arm.gripper.opening(state.joints[arm.gripper.joint]))
        return expert.hand(state.joints)
