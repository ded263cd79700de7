"""himoe_ros.bench.latency: parts of both nodes are put together, and drawn."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from himoe_ros.bench.latency import joined, spread, sums, waterfall

POLICY = {
    1.0: {"image": 0.002, "prefix": 0.04},
    2.0: {"image": 0.004, "prefix": 0.06},
    3.0: {"image": 0.1, "prefix": 0},
}
CONTROLLER = {1.0: {"transport": 0.05, "first command": 0.003}, 2.0: {"transport": 0.07, "first command": 0.005}}


def test_parts_add_up_to_the_whole_and_unmatched_plans_are_left_out():
    plans = joined(POLICY, CONTROLLER)
    assert len(plans) == 2 and list(plans[0]) == ["image", "prefix", "transport", "first command"]
    assert plans[0]["transport"] == pytest.approx(0.008) and sum(plans[0].values()) == pytest.approx(0.053)
    assert spread(plans)["image to first command"][0] == pytest.approx((53 + 75) / 2)
    assert spread([]) == {}


def test_what_ros_adds_is_told_of_each_plan():
    plan = {"image": 0.002, "waiting": 0.003, "prefix": 0.04, "transport": 0.001, "first command": 0.004}
    told = sums([plan, {**plan, "waiting": 0.001, "prefix": 0.2}])
    assert told["image to observation"] == pytest.approx([0.005, 0.003])
    assert told["plan to first command"] == pytest.approx([0.005, 0.005])


def test_the_picture_is_svg_with_a_bar_for_every_part():
    svg = ElementTree.fromstring(waterfall(spread(joined(POLICY, CONTROLLER)), "from image to command"))
    texts = [t.text for t in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert {"image", "prefix", "transport", "first command", "image to first command"} <= set(texts)
    assert len(list(svg.iter("{http://www.w3.org/2000/svg}rect"))) == 1 + 2 * 5
