"""The judges against constructed end states, and what they see on the way there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.core.errors import ConfigError
from himoe_ros.resources import config
from himoe_ros.trials.judge import Judge
from himoe_ros.trials.judges import judge_of
from himoe_ros.trials.layout import draw_layout
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.things import NESTED_M, PLATE, THINGS
from himoe_ros.trials.truth import Hand, Pose, Truth
from himoe_ros.trials.verdict import Verdict

UP = np.array([0.0, 0.0, 1.0])
HAND = np.array([0.36, 0.0, 0.26])
HIGH = np.array([0.45, 0.1, 0.2])
PLACES = {  # m, x and y of everything that a task's trials may need
    "apple": (0.34, 0.10),
    "orange": (0.34, -0.10),
    "blue_plate": (0.53, 0.13),
    "pink_plate": (0.53, -0.13),
    "red_cup": (0.42, -0.16),
    "yellow_cup": (0.42, 0.0),
    "blue_cup": (0.42, 0.16),
    "red_block": (0.42, -0.16),
    "yellow_block": (0.42, 0.0),
    "blue_block": (0.42, 0.16),
}
TASKS = {
    "place": ("xarm7/fruit_to_plate", "apple_blue"),
    "insert": ("xarm7/cup_in_cup", "red_blue"),
    "stack": ("xarm7/block_on_block", "red_blue"),
}


def pose(name: str, place, up=UP, speed: float = 0.0) -> Pose:
    return Pose(np.asarray(place, float), np.asarray(up, float) / np.linalg.norm(up), 0.0, speed)


def start(task: str) -> Truth:
    protocol = load_protocol(TASKS[task][0], config("trials"))
    things = {n: pose(n, [*PLACES[n], THINGS[n].foot]) for n in protocol.objects}
    return Truth(0.0, things, {"arm": Hand(1.0, HAND)})


class Scene:
    """Moments of one task."""

    def __init__(self, task: str) -> None:
        name, setting = TASKS[task]
        self.protocol = load_protocol(name, config("trials"))
        self.setting = self.protocol.settings[setting]
        self.named, self.target = self.setting.roles.values()
        self.other = {"place": "pink_plate", "insert": "yellow_cup", "stack": "yellow_block"}[task]
        self.start = start(task)
        self.task = task

    def brought(self, target: str = "") -> np.ndarray:
        """(3,) m, of the named thing where it belongs on the target."""
        rest = {"place": PLATE.top + THINGS[self.named].foot, "insert": NESTED_M, "stack": 0.04}[self.task]
        return self.start.things[target or self.target].place + [0, 0, rest]

    def with_(self, name: str, place, opening: float = 1.0, tool=HAND, **how) -> Truth:
        things = {**self.start.things, name: pose(name, place, **how)}
        return replace(self.start, things=things, hands={"arm": Hand(opening, tool)})

    def held(self, name: str = "", place=HIGH) -> Truth:
        name = name or self.named
        return self.with_(name, place, 0.7, tool=np.asarray(place) + [0, 0, THINGS[name].top - 0.02])

    def after(self, *moments: Truth) -> Verdict:
        """The verdict on the moments, each lasting a second at 10 Hz, after the start."""
        judge = Judge(self.protocol, self.setting)
        judge.observe(self.start)
        for index, moment in enumerate(moments):
            for tick in range(10):
                judge.observe(replace(moment, time_s=index + 0.1 * (tick + 1)))
        return judge.verdict


def reached(verdict: Verdict) -> list[bool]:
    return list(verdict.stages.values())


@pytest.fixture(params=TASKS)
def scene(request) -> Scene:
    return Scene(request.param)


def test_lifted_let_go_and_at_rest_where_it_belongs_is_success(scene):
    verdict = scene.after(scene.held(), scene.with_(scene.named, scene.brought()))
    assert reached(verdict) == [True, True] and verdict.success
    assert (verdict.wrong_object, verdict.wrong_target) == ("", "")


ENDS = {  # task -> what it looks like -> what became of the named thing
    "place": {
        "next to the plate": lambda s: s.with_("apple", s.brought() + [0.08, 0, -0.004]),
        "still rolling": lambda s: s.with_("apple", s.brought(), speed=0.05),
        "in the air over the plate": lambda s: s.with_("apple", s.brought() + [0, 0, 0.05]),
        "under the plate": lambda s: s.with_("apple", s.brought() - [0, 0, 0.03]),
        "still held on the plate": lambda s: s.with_("apple", s.brought(), 0.6, tool=s.brought()),
        "back on the table": lambda s: s.with_("apple", [0.3, 0.0, 0.031]),
        "rolled over the edge": lambda s: s.with_("apple", [1.3, 0.0, -0.7]),
        "the plate is upside down": lambda s: replace(
            s.with_("apple", s.brought()),
            things={**s.with_("apple", s.brought()).things, "blue_plate": pose("blue_plate", [0.53, 0.13, 0], -UP)},
        ),
    },
    "insert": {
        "standing beside": lambda s: s.with_("red_cup", s.start.things["blue_cup"].place + [0.075, 0, 0]),
        "lying in the mouth": lambda s: s.with_("red_cup", s.brought() + [0, 0, 0.05], up=[1, 0, 0.1]),
        "askew in the mouth": lambda s: s.with_("red_cup", s.brought() + [0.012, 0, 0.015], up=[0.4, 0, 1]),
        "not all the way in": lambda s: s.with_("red_cup", s.brought() + [0, 0, 0.02]),
        "still held inside": lambda s: s.with_("red_cup", s.brought(), 0.82, tool=s.brought() + [0, 0, 0.052]),
        "both have fallen over": lambda s: replace(
            s.start,
            things={
                **s.start.things,
                "red_cup": pose("red_cup", [0.45, 0.16, 0.03], [1, 0, 0]),
                "blue_cup": pose("blue_cup", [0.42, 0.16, 0.03], [1, 0, 0]),
            },
        ),
        "upside down over it": lambda s: s.with_("red_cup", s.brought() + [0, 0, 0.12], up=-UP),
        "the other way round": lambda s: s.with_("blue_cup", s.start.things["red_cup"].place + [0, 0, NESTED_M]),
        "still sliding in": lambda s: s.with_("red_cup", s.brought(), speed=0.1),
    },
    "stack": {
        "beside it": lambda s: s.with_("red_block", s.start.things["blue_block"].place + [0.045, 0, 0]),
        "nearly stacked, about to fall": lambda s: s.with_("red_block", s.brought() + [0.022, 0, 0]),
        "leaning against it": lambda s: s.with_("red_block", s.brought() + [0.03, 0, -0.012], up=[0.7, 0, 0.7]),
        "on an edge": lambda s: s.with_("red_block", s.brought() + [0, 0, 0.008], up=[0.7, 0, 0.7]),
        "still held on it": lambda s: s.with_("red_block", s.brought(), 0.5, tool=s.brought()),
        "in the air above": lambda s: s.with_("red_block", s.brought() + [0, 0, 0.03]),
        "under it": lambda s: s.with_("red_block", s.start.things["blue_block"].place - [0, 0, 0.04]),
        "fell off": lambda s: s.with_("red_block", [0.47, 0.16, 0.02]),
        "rocking": lambda s: s.with_("red_block", s.brought(), speed=0.06),
    },
}


@pytest.mark.parametrize(("task", "end"), [(t, e) for t, ends in ENDS.items() for e in ends])
def test_not_brought(task, end):
    scene = Scene(task)
    assert reached(scene.after(scene.held(), ENDS[task][end](scene))) == [True, False]


def test_let_go_of_with_the_gripper_half_open_counts_once_the_hand_is_away(scene):
    near = scene.with_(scene.named, scene.brought(), 0.85, tool=scene.brought())
    away = scene.with_(scene.named, scene.brought(), 0.85)
    assert reached(scene.after(scene.held(), near)) == [True, False]
    assert reached(scene.after(scene.held(), near, away)) == [True, True]


def test_dropped_on_the_wrong_target(scene):
    verdict = scene.after(scene.held(), scene.with_(scene.named, scene.brought(scene.other)))
    assert reached(verdict) == [True, False] and verdict.wrong_target == scene.other


def test_a_wrong_target_can_be_mended(scene):
    wrong, right = (scene.with_(scene.named, scene.brought(t)) for t in (scene.other, scene.target))
    verdict = scene.after(scene.held(), wrong, scene.held(), right)
    assert reached(verdict) == [True, True] and verdict.wrong_target == ""


def test_what_falls_right_after_it_was_let_go_was_never_there(scene):
    judge = Judge(scene.protocol, scene.setting)
    judge.observe(scene.start)
    judge.observe(replace(scene.held(), time_s=1.0))
    there = scene.with_(scene.named, scene.brought())
    for k in range(5):
        assert not judge.observe(replace(there, time_s=2.0 + 0.1 * k)).success, "it rested for less than half a second"
    fallen = scene.with_(scene.named, [0.3, 0.0, THINGS[scene.named].foot])
    for k in range(10):
        assert not judge.observe(replace(fallen, time_s=2.5 + 0.1 * k)).success


def test_another_thing_was_lifted(scene):
    others = [n for n in scene.protocol.objects if n not in (scene.named, scene.target)]
    verdict = scene.after(scene.held(others[0]))
    assert reached(verdict) == [False, False] and verdict.wrong_object == others[0]


def test_the_target_lifted_is_a_wrong_object_too(scene):
    assert scene.after(scene.held(scene.target)).wrong_object == scene.target


def test_pushed_there_without_a_lift_does_not_count(scene):
    assert reached(scene.after(scene.with_(scene.named, scene.brought()))) == [False, False]


def test_thrown_up_is_not_picked(scene):
    assert reached(scene.after(scene.with_(scene.named, HIGH))) == [False, False]


def test_lifted_a_little_is_not_picked(scene):
    place = scene.start.things[scene.named].place + [0, 0, 0.04]
    assert reached(scene.after(scene.held(place=place))) == [False, False]


SPOON, BOWL = [0.1, 0.0, 0.15], [0.0, 0.02, 0.0]


class Scooping:
    """Moments of beans that go by spoon into a bowl."""

    protocol = load_protocol("aloha/scoop", config("trials"))

    def moment(self, beans, spoon=SPOON, bowl=BOWL, material: str = "mung_beans") -> Truth:
        things = {
            "spoon": pose("spoon", spoon),
            "bowl": pose("bowl", bowl),
            material: pose(material, [0.12, 0.13, 0.0]),
        }
        grains = {f"{material}.{n}": pose(material, place) for n, place in enumerate(beans)}
        return Truth(0.0, things | grains, {})

    def after(self, *moments: Truth) -> Verdict:
        judge = judge_of(self.protocol, self.protocol.settings["mung_beans"])
        for index, moment in enumerate(moments):
            for tick in range(10):
                judge.observe(replace(moment, time_s=index + 0.1 * tick))
        return judge.verdict


IN_BOX, IN_SPOON, IN_BOWL = [0.12, 0.13, 0.01], [0.105, 0.0, 0.14], [0.01, 0.0, 0.01]


def test_beans_go_by_spoon_into_the_bowl():
    scene = Scooping()
    way = [scene.moment([IN_SPOON] * 3 + [IN_BOX]), scene.moment([IN_BOWL] * 3 + [IN_BOX])]
    assert reached(scene.after(*way)) == [True, True]
    assert reached(scene.after(way[1])) == [False, False], "they were never scooped"
    assert reached(scene.after(way[0], scene.moment([IN_BOX] * 4))) == [True, False]
    assert reached(scene.after(way[0], scene.moment([IN_BOWL] + [IN_BOX] * 3))) == [True, False], "one is not some"
    aside = [-0.15, 0.0, 0.0]
    beans = [np.add(aside, [0, 0, 0.01])] * 3
    assert reached(scene.after(way[0], scene.moment(beans, bowl=aside))) == [True, False], (
        "the bowl is not in the middle"
    )


def test_a_spoon_in_its_box_has_scooped_nothing_and_rice_is_no_beans():
    scene = Scooping()
    low = [0.12, 0.13, 0.03]
    assert reached(scene.after(scene.moment([low] * 5, spoon=low))) == [False, False]
    verdict = scene.after(scene.moment([IN_SPOON] * 3, material="black_rice"))
    assert reached(verdict) == [False, False] and verdict.wrong_object == "black_rice"


class Handover:
    """Moments of a cup that goes from hand to hand."""

    protocol = load_protocol("aloha/cup_handover", config("trials"))
    on_table, on_plate = [0.15, 0.0, 0.0], [-0.15, 0.0, PLATE.top]

    def moment(self, place, *holders: str, cup: str = "red_beaker", up=UP) -> Truth:
        cups = {n: pose(n, [0.15, y, 0.0]) for n, y in (("red_beaker", 0.0), ("blue_beaker", 0.1))}
        things = {**cups, "blue_plate": pose("blue_plate", [-0.15, 0.0, 0.0]), cup: pose(cup, place, up)}
        away = {"left": np.array([-0.4, 0.0, 0.3]), "right": np.array([0.4, 0.0, 0.3])}
        tool = np.asarray(place) + [0, 0, 0.05]
        return Truth(0.0, things, {a: Hand(0.7, tool) if a in holders else Hand(1.0, away[a]) for a in away})

    def after(self, *moments: Truth) -> Verdict:
        judge = Judge(self.protocol, self.protocol.settings["red"])
        for index, moment in enumerate([self.moment(self.on_table), *moments]):
            for tick in range(10):
                judge.observe(replace(moment, time_s=index + 0.1 * tick))
        return judge.verdict


HIGH_UP = [0.0, 0.0, 0.2]
HANDOVERS = {  # what happens after the cup stood on the table -> stages
    "handed over and placed": ([("right",), ("right", "left"), ("left",)], True, [True, True, True]),
    "carried there by the right hand": ([("right",)], True, [True, False, False]),
    "never let go by the right hand": ([("right",), ("right", "left")], True, [True, False, False]),
    "taken by the left hand alone": ([("left",)], True, [False, False, False]),
    "never placed": ([("right",), ("right", "left"), ("left",)], False, [True, True, False]),
}


@pytest.mark.parametrize("case", HANDOVERS)
def test_a_cup_goes_from_the_right_hand_to_the_left_and_onto_the_plate(case):
    holders, placed, expected = HANDOVERS[case]
    scene = Handover()
    end = [scene.moment(scene.on_plate)] if placed else []
    assert reached(scene.after(*(scene.moment(HIGH_UP, *who) for who in holders), *end)) == expected


def test_a_cup_that_lies_on_the_plate_or_is_another_was_not_handed_over():
    scene = Handover()
    way = [scene.moment(HIGH_UP, *who) for who in (("right",), ("right", "left"), ("left",))]
    assert reached(scene.after(*way, scene.moment(scene.on_plate, up=[1, 0, 0]))) == [True, True, False]
    verdict = scene.after(scene.moment(HIGH_UP, "right", cup="blue_beaker"))
    assert reached(verdict) == [False, False, False] and verdict.wrong_object == "blue_beaker"


class Folding:
    """Moments of shorts between two open hands."""

    protocol = load_protocol("aloha/fold_shorts", config("trials"))

    def moment(self, middle=0.0, legs=0.0, up=UP, folding=0.0, hands=((1.0, 0.02), (1.0, 0.02))) -> Truth:
        """Hands: opening, and m over the table."""
        hinges = {"middle": middle, "left_leg": -legs, "right_leg": legs}
        garment = replace(pose("black_shorts", [0.0, 0.0, 0.0], up=up), hinges=hinges, folding=folding)
        held = {
            arm: Hand(opening, np.array([0.0, 0.0, z]))
            for arm, (opening, z) in zip(("left", "right"), hands, strict=True)
        }
        return Truth(0.0, {"black_shorts": garment}, held)

    def after(self, *moments: Truth) -> Verdict:
        judge = judge_of(self.protocol, self.protocol.settings["black"])
        for index, moment in enumerate(moments):
            for tick in range(10):
                judge.observe(replace(moment, time_s=index + 0.1 * tick))
        return judge.verdict


def test_shorts_are_folded_once_then_twice():
    scene = Folding()
    once, twice = scene.moment(3.06), scene.moment(3.14, legs=3.1)
    assert reached(scene.after(scene.moment(), once, twice)) == [True, True]
    assert reached(scene.after(once)) == [True, False]
    assert reached(scene.after(scene.moment(2.0), scene.moment(legs=3.1))) == [False, False], "across is not along"
    assert reached(scene.after(once, scene.moment(0.5, legs=3.1))) == [True, False], "it came open again"
    assert reached(scene.after(once, scene.moment(3.14, legs=1.6))) == [True, False]


@pytest.mark.parametrize(
    "unready",
    [
        {"hands": ((1.0, 0.02), (0.3, 0.02))},
        {"middle": 2.69, "hands": ((0.3, 0.074), (0.3, 0.067))},
        {"folding": 2.0},
        {"up": [0.0, 0.7, 0.7]},
    ],
    ids=str,
)
def test_shorts_that_are_held_or_move_or_stand_are_not_folded(unready):
    scene = Folding()
    assert reached(scene.after(scene.moment(**{"middle": 3.06, **unready}))) == [False, False]


def test_a_closed_hand_over_the_table_holds_no_shorts():
    scene = Folding()
    assert reached(scene.after(scene.moment(3.06, hands=((0.0, 0.25), (0.0, 0.12))))) == [True, False]


def test_no_judge_pretends_to_know_a_task():
    protocol = replace(load_protocol("aloha/fold_shorts", config("trials")), stages={"iron": "", "hang": ""})
    with pytest.raises(
        ConfigError, match=r"no judge knows .* it knows some of pick, grasp, transfer, then one of place"
    ):
        judge_of(protocol, next(iter(protocol.settings.values())))


@pytest.mark.parametrize("name", ["fruit_to_plate", "cup_in_cup", "block_on_block"])
def test_layouts_keep_their_distances_and_use_every_place(name):
    protocol = load_protocol(f"xarm7/{name}", config("trials"))
    setting = next(iter(protocol.settings.values()))
    sides = []
    for seed in range(200):
        layout = draw_layout(protocol, setting, seed)
        assert set(layout) == set(protocol.objects)
        for a in layout:
            kind = protocol.places[THINGS[a].kind]
            assert abs(layout[a][0] - kind.x) <= kind.spread
            assert min(abs(layout[a][1] - y) for y in kind.y) <= kind.spread
            for b in layout:
                if a != b:
                    gap = np.hypot(layout[a][0] - layout[b][0], layout[a][1] - layout[b][1])
                    assert gap >= THINGS[a].radius + THINGS[b].radius + 0.017
        sides.append(layout[protocol.objects[0]][1] > 0)
    assert 50 < sum(sides) < 150
    assert draw_layout(protocol, setting, 5) == draw_layout(protocol, setting, 5)


def test_places_may_be_widened():
    protocol = load_protocol("xarm7/fruit_to_plate", config("trials"))
    setting = protocol.settings["apple_blue"]
    far = [draw_layout(protocol.widened(0.1), setting, s)["apple"][0] - 0.34 for s in range(100)]
    assert 0.07 < np.abs(far).max() <= 0.1
    assert protocol.widened(0.0) is protocol
    with pytest.raises(ConfigError, match="spread_m must be from 0 to 0.12, got 0.2"):
        protocol.widened(0.2)


def test_novel_objects_are_laid_out_with_one_other_of_each_kind():
    protocol = load_protocol("xarm7/fruit_to_plate_novel", config("trials"))
    seen = set()
    for seed in range(40):
        layout = draw_layout(protocol, protocol.settings["pomegranate_blue"], seed)
        assert {"pomegranate", "blue_plate"} < set(layout) and len(layout) == 4
        seen |= set(layout)
    assert seen == {"pomegranate", "apple", "orange", "blue_plate", "pink_plate", "purple_plate"}


def test_one_distractor_is_drawn():
    protocol = load_protocol("xarm7/cup_in_cup_distractors", config("trials"))
    drawn = [set(draw_layout(protocol, protocol.settings["red_blue"], seed)) for seed in range(30)]
    assert all(len(things) == 4 for things in drawn)
    assert {"pomegranate", "green_cup"} == set.union(*drawn) - {"red_cup", "yellow_cup", "blue_cup"}


def test_an_impossible_reset_is_told():
    protocol = load_protocol("xarm7/cup_in_cup", config("trials"))
    cup = protocol.places["cup"]
    setting = protocol.settings["red_blue"]
    tight = replace(protocol, places={"cup": replace(cup, y=np.array([0.0, 0.01, 0.02]), spread=0.01)})
    with pytest.raises(ConfigError, match="leaves no room for"):
        draw_layout(tight, setting, 0)
    few = replace(protocol, places={"cup": replace(cup, y=np.array([0.0, 0.2]))})
    with pytest.raises(ConfigError, match="2 places for 3 of 'cup'"):
        draw_layout(few, setting, 0)
    unknown = replace(load_protocol("aloha/fold_shorts", config("trials")), objects=("kilt",))
    with pytest.raises(ConfigError, match="no size is known of"):
        draw_layout(unknown, next(iter(unknown.settings.values())), 0)
