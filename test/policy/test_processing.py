"""Images, words, states and actions on their way into the model and out of it."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, ObservationError
from himoe_ros.core.unified import scatter
from himoe_ros.policy.processing import action_chunk, model_actions, model_image, resize_with_pad, robot_targets
from himoe_ros.policy.statistics import Normalizer, Statistics, statistics_from_limits
from himoe_ros.policy.tokenizer import InstructionTokenizer, learn, prompt
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ALOHA = load_embodiment("aloha", config("embodiments"))
SPACES = [(XARM7, "end_effector"), (XARM7, "joints"), (ALOHA, "joints")]


def test_resize_keeps_the_aspect_and_pads_with_black():
    image = np.full((480, 640, 3), 200, np.uint8)
    out = resize_with_pad(image, 224)
    assert out.shape == (224, 224, 3)
    assert (out[:28] == 0).all()
    assert (out[-28:] == 0).all()
    assert (out[28:-28] == 200).all()


def test_pixels_become_minus_one_to_one():
    image = np.zeros((8, 8, 3), np.uint8)
    image[..., 0] = 255
    out = model_image(image, 8)
    assert out.shape == (3, 8, 8)
    assert (out[0] == 1.0).all()
    assert (out[1:] == -1.0).all()


@pytest.mark.parametrize(("embodiment", "name"), SPACES)
def test_actions_survive_the_way_in_and_out(embodiment, name):
    space = embodiment.action_space(name)
    statistics = statistics_from_limits(embodiment, space).action
    wide = Normalizer(statistics.mean, statistics.std, statistics.q01 - 10, statistics.q99 + 10)
    rng = np.random.default_rng(0)
    state = scatter(space, rng.uniform(-1, 1, len(space.names)))
    targets = np.array([scatter(space, rng.uniform(-0.5, 0.5, len(space.names))) for _ in range(12)])
    actions = model_actions(space, targets, state, wide)
    assert (actions[:, space.mask == 0] == 0).all()
    back = robot_targets(space, actions, state, wide)
    np.testing.assert_allclose(back, targets[:, space.slots], atol=1e-5)


def test_garbage_in_masked_slots_never_reaches_a_robot():
    space = XARM7.action_space("end_effector")
    statistics = statistics_from_limits(XARM7, space).action
    actions = np.full((2, 24), np.nan, np.float32)
    actions[:, space.slots] = 0.1
    targets = robot_targets(space, actions, np.zeros(24), statistics)
    assert targets.shape == (2, 7)
    assert np.isfinite(targets).all()


def test_orientation_deltas_take_the_short_way_round():
    space = XARM7.action_space("end_effector")
    identity = Normalizer(np.zeros(24), np.ones(24), np.full(24, -10.0), np.full(24, 10.0))
    state, target = np.zeros(24), np.zeros((1, 24))
    state[5], target[0, 5] = 3.1, -3.1
    (action,) = model_actions(space, target, state, identity)
    assert action[5] == pytest.approx(2 * np.pi - 6.2, abs=1e-4)


def test_a_chunk_starts_one_step_after_its_observation():
    space = XARM7.action_space("end_effector")
    chunk = action_chunk(space, np.zeros((3, 7)), stamp=5.0)
    assert chunk.stamp == 5.0
    assert chunk.times == pytest.approx([0.1, 0.2, 0.3])


def test_statistics_are_saved_and_belong_to_one_robot(tmp_path):
    space = XARM7.action_space("end_effector")
    statistics = statistics_from_limits(XARM7, space)
    statistics.save(tmp_path / "stats.json")
    loaded = Statistics.load(tmp_path / "stats.json")
    np.testing.assert_array_equal(loaded.action.std, statistics.action.std)
    loaded.require(XARM7, space)
    with pytest.raises(ConfigError, match="trained for xarm7/end_effector.*this robot is aloha/joints"):
        loaded.require(ALOHA, ALOHA.action_space("joints"))
    with pytest.raises(ConfigError, match=r"stats\.json are missing"):
        Statistics.load(tmp_path / "none" / "stats.json")


@pytest.fixture(scope="module")
def tokenizer() -> InstructionTokenizer:
    return InstructionTokenizer.load(config("models") / "himoe_small.tokenizer.json", 96)


def test_prompts_are_one_lower_case_line_that_ends():
    assert prompt("  Pick_up the\nApple ") == "pick up the apple."
    assert prompt("Where is it?") == "where is it?"


def test_known_words_are_one_token_each(tokenizer):
    ids = tokenizer("Pick up the apple and place it onto the blue plate")
    assert len(ids) == 1 + 11 + 1 + 1  # bos, words, full stop, newline
    assert len(set(ids)) == len(ids) - 1  # "the" stands twice


def test_unknown_words_have_a_spelling(tokenizer):
    assert tokenizer("Lift the ukulele") != tokenizer("Lift the zither")


@pytest.mark.parametrize("text", ["", "   ", "word " * 200, "x" * 1_000_000])
def test_empty_and_endless_instructions_are_refused(tokenizer, text):
    with pytest.raises(ObservationError, match="instruction"):
        tokenizer(text)


def test_the_shipped_tokenizer_is_what_learn_makes_of_its_words():
    words = (config("models") / "himoe_small.words.txt").read_text()
    shipped = (config("models") / "himoe_small.tokenizer.json").read_text()
    assert learn([words], 1024).to_str(pretty=True) == shipped
