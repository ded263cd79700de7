"""A policy around a model, on every embodiment."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import torch

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, ObservationError
from himoe_ros.core.observation import Observation, RobotState
from himoe_ros.model.config import load_model_config
from himoe_ros.model.folder import save_model
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.policy.local import load_policy, untrained_policy
from himoe_ros.policy.statistics import statistics_from_limits
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


def policy_folder(folder, embodiment, space, dtype=torch.float32) -> None:
    """The untrained small policy as a folder."""
    models = config("models")
    save_model(HiMoEVLA(load_model_config("himoe_small", models)).initialise(0).to(dtype), folder)
    shutil.copy(models / "himoe_small.tokenizer.json", folder / "tokenizer.json")
    statistics_from_limits(embodiment, space).save(folder / "stats.json")


def test_a_policy_folder_acts_as_the_model_it_was_saved_from(tmp_path):
    embodiment = load_embodiment("xarm7", config("embodiments"))
    space = embodiment.action_space("end_effector")
    policy_folder(tmp_path / "policy", embodiment, space, torch.bfloat16)
    loaded = load_policy(tmp_path / "policy", embodiment, space)
    fresh = untrained_policy("himoe_small", config("models"), embodiment, space)
    assert np.array_equal(loaded.act(observe(embodiment)).values, fresh.act(observe(embodiment)).values)
    assert "UNTRAINED" not in loaded.description
    with pytest.raises(ConfigError, match="trained for xarm7/end_effector"):
        load_policy(tmp_path / "policy", embodiment, embodiment.action_space("joints"))


def test_the_temperature_scales_the_noise_that_plans_begin_as(tmp_path):
    embodiment = load_embodiment("xarm7", config("embodiments"))
    space = embodiment.action_space("end_effector")
    policy_folder(tmp_path, embodiment, space)
    told = json.loads((tmp_path / "config.json").read_text())

    def spread(temperature: float) -> float:
        """m and rad, the largest between two plans from one observation."""
        (tmp_path / "config.json").write_text(json.dumps(told | {"temperature": temperature}))
        policy = load_policy(tmp_path, embodiment, space)
        first, second = (policy.act(observe(embodiment)).values for _ in range(2))
        return float(np.abs(first - second).max())

    assert spread(0.0) == 0.0
    assert 0.0 < spread(0.2) < spread(1.0)
    with pytest.raises(ConfigError, match="temperature must be >= 0 and <= 1, got 2"):
        spread(2.0)


def test_bf16_plans_nearly_the_same(tmp_path):
    embodiment = load_embodiment("xarm7", config("embodiments"))
    space = embodiment.action_space("end_effector")
    policy_folder(tmp_path / "full", embodiment, space, torch.float32)
    full = load_policy(tmp_path / "full", embodiment, space)
    policy_folder(tmp_path / "half", embodiment, space, torch.bfloat16)
    half = load_policy(tmp_path / "half", embodiment, space)
    wanted, rounded = full.act(observe(embodiment)).values, half.act(observe(embodiment)).values
    assert np.isfinite(rounded).all()
    assert np.abs(rounded - wanted).mean() < 0.1 * np.abs(wanted).std()


def test_a_preset_without_a_tokenizer_says_what_to_give():
    embodiment = load_embodiment("xarm7", config("embodiments"))
    with pytest.raises(ConfigError, match="give a policy folder"):
        untrained_policy("himoe_4b", config("models"), embodiment, embodiment.action_space("end_effector"))
