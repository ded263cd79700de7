"""The task without physics: layouts and the judge."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from himoe_ros.sim import fruit_to_plate as task

APPLE_ON_BLUE = task.INSTRUCTIONS[0]
AT_REST = {
    "apple": np.array([0.34, 0.10, 0.031]),
    "orange": np.array([0.34, -0.10, 0.027]),
    "blue_plate": np.array([0.53, 0.13, 0.0]),
    "pink_plate": np.array([0.53, -0.13, 0.0]),
}
START = task.Truth(0.0, AT_REST, dict.fromkeys(AT_REST, 0.0), 1.0, np.array([0.36, 0.0, 0.26]))
ON_TOP = np.array([0.0, 0.0, 0.035])


def judge_after(*moments: task.Truth) -> task.Verdict:
    """The verdict on `moments`, each held for a second at 10 Hz, after the start."""
    judge = task.FruitToPlateJudge(APPLE_ON_BLUE)
    judge.observe(START)
    for index, moment in enumerate(moments):
        for tick in range(10):
            judge.observe(replace(moment, time_s=index + 0.1 * (tick + 1)))
    return judge.verdict


def held(name: str, at: np.ndarray) -> task.Truth:
    return replace(START, positions={**AT_REST, name: at}, gripper_opening=0.7, tcp=at - [0, 0, 0.01])


def let_go(name: str, at: np.ndarray, speed: float = 0.0) -> task.Truth:
    return replace(START, positions={**AT_REST, name: at}, speeds={**START.speeds, name: speed})


HIGH = np.array([0.45, 0.1, 0.15])
ON_BLUE = AT_REST["blue_plate"] + ON_TOP
ON_PINK = AT_REST["pink_plate"] + ON_TOP


def test_four_sentences():
    assert [i.sentence for i in task.INSTRUCTIONS] == [
        "Pick up the apple and place it onto the blue plate",
        "Pick up the apple and place it onto the pink plate",
        "Pick up the orange and place it onto the blue plate",
        "Pick up the orange and place it onto the pink plate",
    ]


def test_lifted_let_go_and_resting_on_the_plate_is_success():
    assert judge_after(held("apple", HIGH), let_go("apple", ON_BLUE)) == task.Verdict(pick=True, place=True)


def test_nothing_done_is_nothing():
    assert judge_after(START) == task.Verdict()


@pytest.mark.parametrize(
    "end",
    [
        held("apple", ON_BLUE),
        let_go("apple", ON_BLUE + [0.08, 0.0, -0.004]),
        let_go("apple", ON_BLUE, speed=0.05),
        let_go("apple", ON_BLUE + [0.0, 0.0, 0.05]),
    ],
    ids=["still held", "next to the plate", "still rolling", "in the air"],
)
def test_not_yet_placed(end):
    assert judge_after(held("apple", HIGH), end) == task.Verdict(pick=True)


def test_resting_takes_half_a_second():
    judge = task.FruitToPlateJudge(APPLE_ON_BLUE)
    judge.observe(START)
    judge.observe(replace(held("apple", HIGH), time_s=1.0))
    down = let_go("apple", ON_BLUE)
    assert not judge.observe(replace(down, time_s=2.0)).place
    assert not judge.observe(replace(down, time_s=2.4)).place
    assert not judge.observe(replace(let_go("apple", ON_BLUE, speed=0.1), time_s=2.45)).place
    assert not judge.observe(replace(down, time_s=2.5)).place
    assert not judge.observe(replace(down, time_s=2.9)).place
    assert judge.observe(replace(down, time_s=3.0)).place


def test_dropped_on_the_wrong_plate():
    verdict = judge_after(held("apple", HIGH), let_go("apple", ON_PINK))
    assert verdict == task.Verdict(pick=True, wrong_plate=True)


def test_wrong_plate_can_be_mended():
    verdict = judge_after(held("apple", HIGH), let_go("apple", ON_PINK), held("apple", HIGH), let_go("apple", ON_BLUE))
    assert verdict == task.Verdict(pick=True, place=True)


def test_wrong_fruit():
    verdict = judge_after(held("orange", HIGH), let_go("orange", ON_BLUE))
    assert verdict == task.Verdict(wrong_fruit=True)


def test_pushed_onto_the_plate_without_a_lift_does_not_count():
    assert judge_after(let_go("apple", ON_BLUE)) == task.Verdict()


def test_thrown_up_is_not_picked():
    assert judge_after(let_go("apple", HIGH)) == task.Verdict()


def test_layouts_keep_their_distances_and_use_both_sides():
    rng = np.random.default_rng(0)
    apple_left = 0
    for _ in range(300):
        places = {name: np.array(place[:2]) for name, place in task.sample_layout(rng).items()}

        def gap(a, b, places=places):
            return np.linalg.norm(places[a] - places[b])

        assert gap("apple", "orange") >= task.FRUIT_GAP_M
        assert gap("blue_plate", "pink_plate") >= task.PLATE_GAP_M
        for fruit in ("apple", "orange"):
            assert abs(places[fruit][0] - 0.34) <= 0.07
            assert 0.03 <= abs(places[fruit][1]) <= 0.17
            for plate in ("blue_plate", "pink_plate"):
                assert gap(fruit, plate) >= task.FRUIT_PLATE_GAP_M
        apple_left += places["apple"][1] > 0
    assert 100 < apple_left < 200


def test_the_same_seed_draws_the_same_layout():
    first, second = (task.sample_layout(np.random.default_rng(5)) for _ in range(2))
    assert first == second
