"""The paper's protocols as files, and the order in which their trials are run."""

from __future__ import annotations

from collections import Counter

import pytest
import yaml

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError
from himoe_ros.resources import config
from himoe_ros.trials.protocol import load_protocol, protocols
from himoe_ros.trials.schedule import hide, plan

FOLDER = config("trials")
PAPER = {  # settings, trials a setting (appendix B.2), stages (Tables 3 and 4)
    "xarm7/fruit_to_plate": (4, 4, ["pick", "place"]),
    "xarm7/cup_in_cup": (6, 3, ["pick", "insert"]),
    "xarm7/block_on_block": (6, 3, ["pick", "stack"]),
    "xarm7/cup_in_cup_distractors": (6, 3, ["pick", "insert"]),
    "xarm7/fruit_to_plate_novel": (4, 4, ["pick", "place"]),
    "aloha/fold_shorts": (1, 15, ["once", "twice"]),
    "aloha/cup_handover": (3, 5, ["grasp", "transfer", "place"]),
    "aloha/scoop": (3, 5, ["scoop", "pour"]),
    "aloha/scoop_distractors": (3, 3, ["scoop", "pour"]),
    "aloha/fold_shorts_novel": (1, 15, ["once", "twice"]),
}


def test_there_are_the_papers_protocols_and_an_outside_judges():
    assert set(protocols(FOLDER)) == {*PAPER, "aloha/transfer_cube"}


@pytest.mark.parametrize("name", PAPER)
def test_a_protocol_is_the_papers(name):
    protocol = load_protocol(name, FOLDER)
    settings, each, stages = PAPER[name]
    assert (len(protocol.settings), protocol.trials_per_setting, list(protocol.stages)) == (settings, each, stages)
    assert protocol.embodiment == name.split("/")[0]
    load_embodiment(protocol.embodiment, config("embodiments"))
    assert len({s.instruction for s in protocol.settings.values()}) == settings
    assert bool(protocol.distractors) == ("distractors" in name)
    for setting in protocol.settings.values():
        for role, thing in setting.roles.items():
            word = "glutinous" if thing == "sticky_rice" else thing.split("_")[0]
            only_one = protocol.embodiment == "aloha" and ("shorts" in thing or role == "plate")
            assert word in setting.instruction or only_one


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"stages": {}}, "stages: expected named entries"),
        ({"settings": {"a": {"instruction": "go"}}}, "expected an instruction and at least one role"),
        ({"settings": {"a": {"instruction": "go", "fruit": "melon"}}}, r"names \['melon'\]; objects are"),
        ({"time_limit_s": 0}, "time_limit_s: expected a number > 0"),
        (
            {"wordings": ["Lay the {cup} down"]},
            r"'Lay the \{cup\} down' may name \{fruit\}, \{plate\}",
        ),
        ({"trials": 3}, r"unknown \['trials'\]"),
        ({"reset": {"recipe": "r", "places": {"fruit": {"x_m": 0.3, "y_m": [], "spread_m": 0.1}}}}, "at least one y_m"),
    ],
)
def test_what_is_no_protocol_is_told_with_its_place(tmp_path, change, words):
    data = yaml.safe_load((FOLDER / "xarm7/fruit_to_plate.yaml").read_text()) | change
    (tmp_path / "xarm7").mkdir()
    (tmp_path / "xarm7/mine.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=words):
        load_protocol("xarm7/mine", tmp_path)
    with pytest.raises(ConfigError, match="'xarm7/yours' is no protocol in .*; there are: xarm7/mine"):
        load_protocol("xarm7/yours", tmp_path)


def test_a_protocol_may_be_asked_for_in_other_words():
    protocol = load_protocol("xarm7/fruit_to_plate", FOLDER)
    asked = protocol.worded("Lay the {fruit} on the {plate}, please").settings["orange_pink"]
    assert asked.instruction == "Lay the orange on the pink plate, please"
    assert asked.roles == protocol.settings["orange_pink"].roles
    assert protocol.worded("") is protocol
    for wording in ("Lay the {cup} down", "Lay {} down", "Lay {fruit"):
        with pytest.raises(ConfigError, match="in braces"):
            protocol.worded(wording)


def test_every_round_has_every_setting_and_policy_once_in_the_same_scenes():
    protocol = load_protocol("xarm7/cup_in_cup", FOLDER)
    session = plan(protocol, policies=2, seed=7)
    assert [t.index for t in session] == list(range(36)) and session == plan(protocol, policies=2, seed=7)
    for start in range(0, 36, 12):
        part = session[start : start + 12]
        assert Counter((t.setting, t.label) for t in part) == Counter(
            (s, label) for s in protocol.settings for label in "AB"
        )
        assert len({t.scene for t in part}) == 6, "both policies meet a setting's scene"
    orders = {tuple(t.label for t in plan(protocol, policies=2, seed=s)) for s in range(5)}
    assert len(orders) == 5, "nobody can tell the policy by its place"


def test_labels_hide_the_policies():
    told = [hide(["ours", "theirs"], seed) for seed in range(20)]
    assert {t["A"] for t in told} == {"ours", "theirs"} and all(sorted(t.values()) == ["ours", "theirs"] for t in told)
