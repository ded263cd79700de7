"""A released checkpoint becomes a policy folder that drives a robot, whole or not at all."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from release import PRESET, released_tensors, rows, sample, small_model, write_release

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError
from himoe_ros.core.observation import Observation, RobotState
from himoe_ros.model.config import load_model_config
from himoe_ros.model.folder import load_model
from himoe_ros.policy import released
from himoe_ros.policy.local import load_policy
from himoe_ros.policy.released import convert_released, released_statistics
from himoe_ros.policy.statistics import Statistics
from himoe_ros.resources import config


def target(robot: str = "xarm7", space: str = "end_effector"):
    embodiment = load_embodiment(robot, config("embodiments"))
    return embodiment, embodiment.action_space(space)


@pytest.fixture
def preset():
    return load_model_config(PRESET, config("models"))


@pytest.fixture(scope="module")
def tensors():
    return released_tensors(small_model(seed=5))


@pytest.fixture
def source(tmp_path, tensors):
    return write_release(tmp_path / "released", tensors)


def test_a_converted_checkpoint_drives_a_robot(source, preset, tmp_path):
    out = tmp_path / "policy"
    assert convert_released(source, out, preset, target()) == ()
    assert sorted(p.name for p in out.iterdir()) == [
        "card.md",
        "config.json",
        "model.safetensors",
        "stats.json",
        "tokenizer.json",
    ]
    assert "xarm7, action space end_effector" in (out / "card.md").read_text()
    assert torch.equal(sample(load_model(out)), sample(small_model(seed=5)))
    embodiment, space = target()
    policy = load_policy(out, embodiment, space)
    assert str(out) in policy.description
    images = {c.name: np.full((48, 64, 3), 90, np.uint8) for c in embodiment.cameras}
    arm = embodiment.arms[0]
    joints = dict(zip(arm.joints, arm.bounds.rest.tolist(), strict=True)) | {arm.gripper.joint: arm.gripper.open}
    chunk = policy.act(Observation(1.0, images, RobotState(joints, arm.chain.forward(arm.bounds.rest)), "Pick it up"))
    assert np.isfinite(chunk.values).all()
    with pytest.raises(ConfigError, match="trained for xarm7/end_effector"):
        load_policy(out, *target("xarm7", "joints"))


def test_the_path_of_the_pickle_is_enough(source, preset, tmp_path):
    convert_released(source / "pytorch_model.pth", tmp_path / "policy", preset, target())
    assert (tmp_path / "policy" / "stats.json").is_file()


def test_what_is_lacking_is_told_and_written_on_the_card(source, preset, tmp_path):
    (source / "tokenizer.json").unlink()
    lacks = convert_released(source, tmp_path / "base", preset, None)
    assert len(lacks) == 2
    card = (tmp_path / "base" / "card.md").read_text()
    assert all(sentence in card for sentence in lacks)
    assert "paligemma" in card
    assert not (tmp_path / "base" / "stats.json").exists()
    with pytest.raises(ConfigError, match=r"stats\.json are missing"):
        load_policy(tmp_path / "base", *target())


def test_a_failed_or_interrupted_conversion_leaves_nothing(source, preset, tmp_path, monkeypatch):
    out = tmp_path / "policy"
    (source / "pytorch_model.pth").write_bytes(b"half")
    with pytest.raises(ConfigError):
        convert_released(source, out, preset, target())

    def interrupted(_pickled, _config, folder, _limit):
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(released, "convert_weights", interrupted)
    with pytest.raises(KeyboardInterrupt):
        convert_released(source, out, preset, target())
    assert [path.name for path in tmp_path.iterdir()] == ["released"]


def test_an_existing_folder_is_not_touched(source, preset, tmp_path):
    (tmp_path / "policy").mkdir()
    with pytest.raises(ConfigError, match="exists; remove it or choose another name"):
        convert_released(source, tmp_path / "policy", preset, target())
    assert list((tmp_path / "policy").iterdir()) == []


def statistics(tmp_path, size: int, robot: str, space: str, **changes) -> Statistics:
    path = tmp_path / "stats.json"
    path.write_text(json.dumps({"state": rows(size), "actions": rows(size), **changes}))
    return released_statistics(path, *target(robot, space))


@pytest.mark.parametrize("size", [7, 8, 14, 24])
def test_rows_from_slot_0_are_padded_with_zeros(tmp_path, size):
    mean = statistics(tmp_path, size, "xarm7", "end_effector").action.mean
    np.testing.assert_allclose(mean, [0.1 * i for i in range(1, size + 1)] + [0.0] * (24 - size))


@pytest.mark.parametrize(("robot", "size"), [("xarm7", 8), ("aloha", 14)])
def test_rows_of_the_action_space_go_to_its_slots(tmp_path, robot, size):
    space = target(robot, "joints")[1]
    state = statistics(tmp_path, size, robot, "joints").state
    np.testing.assert_allclose(state.mean[space.slots], [0.1 * i for i in range(1, size + 1)])
    assert np.all(state.std[space.slots] > 0)
    assert np.all(state.std[space.mask == 0] == 0)


@pytest.mark.parametrize(("robot", "space", "size"), [("xarm7", "joints", 7), ("aloha", "joints", 16)])
def test_rows_that_end_before_the_action_space_are_refused(tmp_path, robot, space, size):
    with pytest.raises(ConfigError, match=f"got {size}; name the action space"):
        statistics(tmp_path, size, robot, space)


def test_broken_statistics_name_the_place(tmp_path):
    for size in (0, 25):
        with pytest.raises(ConfigError, match=r"state\.mean: expected 1 to 24 numbers"):
            statistics(tmp_path, size, "xarm7", "end_effector")
    broken = (
        ({"actions": {"mean": [1.0] * 7}}, r"actions\.std"),
        ({"actions": {**rows(7), "std": [-1.0] * 7}}, "actions: expected std >= 0"),
        ({"actions": {**rows(7), "q01": [float("nan")] * 7}}, r"actions\.q01: expected finite"),
        ({"actions": 3}, "actions: expected named entries"),
    )
    for change, told in broken:
        with pytest.raises(ConfigError, match=told):
            statistics(tmp_path, 7, "xarm7", "end_effector", **change)
    (tmp_path / "stats.json").write_text(json.dumps({"state": rows(7)}))
    with pytest.raises(ConfigError, match="expected 'action' or 'actions', got"):
        released_statistics(tmp_path / "stats.json", *target())
    with pytest.raises(ConfigError, match="is missing; it holds the statistics"):
        released_statistics(tmp_path / "nothing.json", *target())
