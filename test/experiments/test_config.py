"""Experiments as data: all that ship can be read, and what contradicts itself is named before anything is computed."""

from __future__ import annotations

import pytest
import yaml

from himoe_ros.core.errors import ConfigError
from himoe_ros.experiments.cell import training_config
from himoe_ros.experiments.config import load_experiment
from himoe_ros.experiments.run import write_presets
from himoe_ros.model.config import load_model_config, preset_tokenizer
from himoe_ros.resources import config, share
from himoe_ros.training.config import load_training
from himoe_ros.trials.protocol import load_protocol

FILES = sorted((share() / "experiments").glob("*.yaml"))
FILE = share() / "experiments" / "action_spaces.yaml"


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_experiment_can_be_read_and_trained(file, quick, tmp_path):
    experiment = load_experiment(file, quick)
    models = write_presets(experiment, tmp_path)
    assert len(experiment.cells()) == len(set(experiment.cells())) > 0
    for cell in experiment.cells():
        (tmp_path / "cell.yaml").write_text(yaml.safe_dump(training_config(experiment, cell, tmp_path)))
        told = load_training(tmp_path / "cell.yaml")
        size = load_model_config(told.model, models)
        assert told.seed == cell.seed and size.image_size == experiment.size["image_size"]
        assert preset_tokenizer(told.model, models).is_file()
        assert all(m.episodes is not None for m in told.members)
    if not quick:
        assert len(experiment.seeds) >= 3, "a comparison without several seeds tells nothing"
        shown = experiment.data[experiment.trials.data]
        assert experiment.trials.seed > 100 * shown.episodes, "scenes are not those of demonstrations"
        load_protocol(shown.protocol, config("trials"))


def test_the_sweep_stands_for_the_last_episode(tmp_path):
    experiment = load_experiment(FILE, quick=False)
    cell = next(c for c in experiment.cells() if (c.mixture, c.demonstrations) == ("co-trained", 30))
    told = training_config(experiment, cell, tmp_path)
    assert [m["episodes"] for m in told["mixture"]] == [[0, 30], [120, 340], [0, 110]]
    assert told["model"] == experiment.variants[cell.variant] and told["mixture"][2]["embodiment"] == "aloha"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sweep": [400]}, "from 0 to 400 of fruit, which has 360"),
        ({"sweep": []}, "sweep: expected a list"),
        ({"compare": [["himoe/joints", "nobody/joints"]]}, "'nobody/joints' is no variant/mixture that is run"),
        ({"compare": [["himoe/joints"]]}, "expected pairs"),
        ({"arms": ["himoe/joints"]}, "'himoe/co-trained' is no variant/mixture that is run"),
        ({"trials": {"data": "bread", "action_space": "joints", "each": 1, "seed": 0}}, "one of fruit, handover"),
        ({"mixtures": {"joints": [{"data": "fruit", "action_space": "joints", "episodes": 3}]}}, "episodes: expected"),
        ({"speed": 3}, "unknown ['speed']"),
    ],
)
def test_what_contradicts_itself_is_named(tmp_path, change, words):
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(yaml.safe_load(FILE.read_text()) | change))
    with pytest.raises(ConfigError) as error:
        load_experiment(tmp_path / "wrong.yaml", quick=False)
    assert words in str(error.value)
