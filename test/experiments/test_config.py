"""Experiments as data: all that ship can be read, and what contradicts itself is named before anything is computed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import yaml

from himoe_ros.core.errors import ConfigError
from himoe_ros.experiments.cell import job_of
from himoe_ros.experiments.config import load_experiment
from himoe_ros.experiments.run import write_presets
from himoe_ros.model.config import load_model_config, preset_tokenizer
from himoe_ros.resources import share
from himoe_ros.training.config import load_training

FILES = sorted((share() / "experiments").glob("*.yaml"))
OTHER = {"data": "fruit", "action_space": "end_effector", "episodes": [0, 9]}
TRIED = {**OTHER, "action_space": "joints"}
FILE = share() / "experiments" / "action_spaces.yaml"


@pytest.mark.parametrize("quick", [False, True])
@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_every_experiment_can_be_read_and_trained(file, quick, tmp_path):
    experiment = load_experiment(file, quick)
    models = write_presets(experiment, tmp_path)
    jobs = [job_of(experiment, cell, models, tmp_path, tmp_path) for cell in experiment.cells()]
    assert len({job.folder for job in jobs}) == len(jobs) > 0
    for job in jobs:
        told = load_training(job.folder / "training.yaml")
        size = load_model_config(told.model, models)
        assert told.seed == job.cell.seed and size.image_size == experiment.size["image_size"]
        assert preset_tokenizer(told.model, models).is_file() and all(m.episodes for m in told.members)
    assert quick or len(experiment.seeds) >= 5, "a comparison of fewer seeds tells nothing"


def test_a_result_is_found_again_only_where_everything_is_the_same(tmp_path):
    experiment = load_experiment(FILE, quick=True)
    cell = next(c for c in experiment.cells() if c.arm == "himoe/co-trained")

    def result(changed) -> str:
        return job_of(changed, cell, write_presets(changed, tmp_path), tmp_path, tmp_path).result.name

    first = result(experiment)
    assert result(replace(experiment, title="another", compare=())) == first
    assert result(replace(experiment, variants={"himoe": {"base": "himoe_small", "flow_steps": 10}})) != first
    assert result(replace(experiment, training={**experiment.training, "steps": 5})) != first
    assert result(replace(experiment, trials=replace(experiment.trials, seed=1))) != first
    assert result(replace(experiment, size={**experiment.size, "image_size": 48})) != first
    elsewhere = job_of(experiment, cell, write_presets(experiment, tmp_path), tmp_path / "else", tmp_path)
    assert elsewhere.result.name == first, "wherever the work is done"
    more = {**experiment.data, "fruit": replace(experiment.data["fruit"], episodes=7)}
    assert result(replace(experiment, data=more)) != first


def test_the_sweep_stands_for_the_last_episode(tmp_path):
    experiment = load_experiment(FILE, quick=False)
    cell = next(c for c in experiment.cells() if (c.mixture, c.demonstrations) == ("co-trained", 60))
    told = job_of(experiment, cell, write_presets(experiment, tmp_path), tmp_path, tmp_path).training
    assert [m["episodes"] for m in told["mixture"]] == [[0, 60], [120, 340], [0, 110]]
    assert told["model"] == experiment.variants[cell.variant] and told["mixture"][2]["embodiment"] == "aloha"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sweep": [400]}, "from 0 to 400 of fruit, which has 360"),
        ({"sweep": []}, "sweep: expected a list"),
        ({"seeds": [0, 0]}, "seeds: expected different numbers"),
        ({"compare": [["himoe/joints", "nobody/joints"]]}, "'nobody/joints' is no variant/mixture that is run"),
        ({"compare": [["himoe/joints"]]}, "expected two arms, or four"),
        ({"arms": ["himoe/joints"]}, "'himoe/co-trained' is no variant/mixture that is run"),
        ({"trials": {"data": "bread", "action_space": "joints", "each": 1, "seed": 0}}, "one of fruit, handover"),
        ({"mixtures": {"joints": [{"data": "fruit", "action_space": "joints", "episodes": 3}]}}, "episodes: expected"),
        (
            {"mixtures": {"joints": [OTHER], "co-trained": [OTHER]}},
            "has no fruit in joints, in which it is tried",
        ),
        (
            {"mixtures": {"joints": [TRIED, TRIED], "co-trained": [TRIED, OTHER]}},
            "expected one member of that, got ['fruit', 'fruit']",
        ),
        ({"speed": 3}, "unknown ['speed']"),
    ],
)
def test_what_contradicts_itself_is_named(tmp_path, change, words):
    told = yaml.safe_load(FILE.read_text()) | {"base": str(FILE.parent / "base/small.yaml")}
    (tmp_path / "wrong.yaml").write_text(yaml.safe_dump(told | change))
    with pytest.raises(ConfigError) as error:
        load_experiment(tmp_path / "wrong.yaml", quick=False)
    assert words in str(error.value)
