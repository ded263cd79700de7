"""A policy around a model, on every embodiment."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, ObservationError
from himoe_ros.core.observation import Observation, RobotState
from himoe_ros.policy.local import untrained_policy
from himoe_ros.resources import config


def observe(embodiment, instruction: str = "Pick up the apple") -> Observation:
    images = {c.name: np.full((48, 64, 3), 90, np.uint8) for c in embodiment.cameras}
    home = {j: float(v) for arm in embodiment.arms for j, v in zip(arm.joints, arm.bounds.rest, strict=True)}
    grippers = {arm.gripper.joint: arm.gripper.open for arm in embodiment.arms}
    chain = embodiment.arms[0].chain
    eef = chain.forward(embodiment.arms[0].bounds.rest) if chain else None
    return Observation(3.0, images, RobotState(home | grippers, eef), instruction)


@pytest.mark.parametrize(("robot", "name"), [("xarm7", "end_effector"), ("xarm7", "joints"), ("aloha", "joints")])
def test_an_untrained_policy_plans_finite_steps_near_the_robot(robot, name):
    embodiment = load_embodiment(robot, config("embodiments"))
    space = embodiment.action_space(name)
    policy = untrained_policy("himoe_small", config("models"), embodiment, space)
    assert "UNTRAINED" in policy.description
    chunk = policy.act(observe(embodiment))
    assert chunk.names == space.names
    assert chunk.values.shape == (12, len(space.names))
    assert np.isfinite(chunk.values).all()
    assert chunk.stamp == 3.0


def test_a_missing_view_or_instruction_is_refused():
    embodiment = load_embodiment("xarm7", config("embodiments"))
    policy = untrained_policy("himoe_small", config("models"), embodiment, embodiment.action_space("end_effector"))
    with pytest.raises(ObservationError, match="instruction"):
        policy.act(observe(embodiment, instruction=" "))
    seen = observe(embodiment)
    del seen.images["left_wrist"]
    with pytest.raises(ObservationError, match="left_wrist"):
        policy.act(seen)


def test_a_preset_without_a_tokenizer_says_what_to_give():
    embodiment = load_embodiment("xarm7", config("embodiments"))
    with pytest.raises(ConfigError, match="give a policy folder"):
        untrained_policy("himoe_4b", config("models"), embodiment, embodiment.action_space("end_effector"))
