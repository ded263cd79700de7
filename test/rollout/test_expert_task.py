"""Long plans of the scripted expert: what it would do if all went as it wants."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.rollout.expert_task import OneHand, scripted
from himoe_ros.trials.layout import draw_layout
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.things import THINGS
from himoe_ros.trials.truth import Pose

XARM7 = load_embodiment("xarm7", config("embodiments"))
FRUIT = load_protocol("xarm7/fruit_to_plate", config("trials"))
SETTING = FRUIT.settings["apple_blue"]
HOME = dict(zip(XARM7.joint_names, [*XARM7.arms[0].bounds.rest, XARM7.arms[0].gripper.open], strict=True))
NOTHING = np.empty((0, 7))


@pytest.fixture
def things() -> dict[str, Pose]:
    layout = draw_layout(FRUIT, SETTING, 0)
    return {
        n: Pose(np.array([x, y, THINGS[n].foot]), np.array([0, 0, 1.0]), 0.0, 0.0) for n, (x, y, _) in layout.items()
    }


def expert() -> OneHand:
    return scripted(XARM7, FRUIT, SETTING, np.random.default_rng(0))


def test_it_foresees_the_whole_task_and_nothing_has_happened_yet(things):
    hand = expert()
    rows, minds = hand.foresee(things, HOME, 150, NOTHING)
    apple, plate = (things[name].place for name in ("apple", "blue_plate"))
    closed = np.flatnonzero(rows[:, 6] < 0.5)
    grasped, let_go = rows[closed[0]], rows[closed[-1]]
    assert np.linalg.norm(grasped[:2] - apple[:2]) < 0.01
    assert np.linalg.norm(let_go[:2] - plate[:2]) < 0.03
    assert np.all(np.diff(closed) == 1), "the thing is picked up once"
    assert rows[closed, 2].max() > 0.09, "it is lifted"
    np.testing.assert_array_equal(hand.foresee(things, HOME, 150, NOTHING)[0], rows)
    assert not hand.done and not minds[0].done and minds[-1].done


def test_it_goes_on_from_what_is_certain(things):
    certain = np.repeat(expert().hand(HOME)[None], 5, axis=0) + np.linspace(0, 0.05, 5)[:, None] * [0, 1, 0, 0, 0, 0, 0]
    rows, _ = expert().foresee(things, HOME, 20, certain)
    np.testing.assert_array_equal(rows[:5], certain)
    assert np.linalg.norm(rows[5, :3] - rows[4, :3]) < 0.05
