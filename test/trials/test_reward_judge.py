"""himoe_ros.trials.reward_judge: what another simulator has rewarded once stays reached."""

from __future__ import annotations

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.trials.judges import judge_of
from himoe_ros.trials.layout import draw_layout
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.truth import Truth, truth_from_state

CUBE = load_protocol("aloha/transfer_cube", config("trials"))
SETTING = CUBE.settings["cube"]
ALOHA = load_embodiment("aloha", config("embodiments"))


def moment(reward: float | None) -> Truth:
    return Truth(0.0, {}, {}, reward)


def test_stages_are_reached_by_rewards_and_stay():
    judge = judge_of(CUBE, SETTING)
    reached = []
    for reward in (None, 0.0, 2.0, 0.0, 4.0, 1.0):
        reached.append(list(judge.observe(moment(reward)).stages.values()))
    assert reached[1] == [False] * 4
    assert reached[2] == reached[3] == [True, True, False, False]
    assert reached[4] == reached[5] == [True] * 4 and judge.verdict.success


def test_the_reward_comes_with_the_state():
    names = (*ALOHA.joint_names, "reward")
    values = [*[0.0] * len(ALOHA.joint_names), 3.0]
    assert truth_from_state(0.0, ALOHA.arms, names, values, values).reward == 3.0
    assert truth_from_state(0.0, ALOHA.arms, names[:-1], values[:-1], values[:-1]).reward is None


def test_the_cube_is_laid_where_the_environment_lays_it():
    places = [draw_layout(CUBE, SETTING, seed)["red_block"] for seed in range(200)]
    x, y = ([place[axis] for place in places] for axis in (0, 1))
    assert 0.0 <= min(x) < 0.01 and 0.19 < max(x) <= 0.2
    assert -0.1 <= min(y) < -0.09 and 0.09 < max(y) <= 0.1
