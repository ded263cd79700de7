"""himoe_ros.core.chunk_source: one known, healthy source made for this robot, or nothing moves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from himoe_ros.core.chunk_source import PATIENCE_S, ChunkSource, SourceWatch
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.fingerprint import fingerprint
from himoe_ros.resources import config

GOOD = ChunkSource("abc", "joints", "a policy", "", {"camera base": 0.03})


@pytest.fixture
def watch() -> SourceWatch:
    watch = SourceWatch("abc", "joints")
    watch.see(["one"])
    watch.tell(GOOD, 100.0)
    return watch


def test_one_fresh_matching_ready_source_has_no_problem(watch):
    assert watch.problems(100.0 + PATIENCE_S) == []


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"fingerprint": "xyz"}, "made for an embodiment with fingerprint xyz, this robot has abc"),
        ({"action_space": "end_effector"}, "plans in action space 'end_effector', the controller executes 'joints'"),
        ({"trouble": "camera 'base' is 0.9 s old"}, "not ready: camera 'base' is 0.9 s old"),
    ],
)
def test_a_source_that_does_not_fit_is_refused_with_the_cause(watch, change, told):
    watch.tell(replace(GOOD, **change), 100.0)
    (problem,) = watch.problems(100.0)
    assert told in problem


@pytest.mark.parametrize("endpoints", [[], ["one", "two"]])
def test_exactly_one_publisher_is_wanted(watch, endpoints):
    watch.see(endpoints)
    watch.tell(GOOD, 100.0)
    assert watch.problems(100.0) == [f"expected one publisher of action_chunk, there are {len(endpoints)}"]


def test_a_new_publisher_has_to_tell_about_itself(watch):
    """Else a robot could be armed on the word of whoever planned before."""
    watch.see([])
    assert watch.problems(100.1) == ["expected one publisher of action_chunk, there are 0"]
    watch.see(["two"])
    assert watch.problems(100.1) == ["no source of chunks has told about itself on chunk_source"]
    watch.tell(GOOD, 100.5)
    assert watch.problems(100.6) == []


def test_all_problems_are_told_at_once(watch):
    watch.see(["one", "two"])
    watch.tell(ChunkSource("xyz", "end_effector", "", "no image", {}), 100.0)
    assert len(watch.problems(110.0)) == 5
    assert len(SourceWatch("abc", "joints").problems(0.0)) == 2


@pytest.mark.parametrize(
    ("endpoints", "told"),
    [
        ([], "the policy is gone"),
        (["two"], "another publisher of action_chunk took its place"),
        (["one", "two"], "a second publisher of action_chunk appeared; there are 2"),
    ],
)
def test_a_source_that_vanishes_changes_or_gets_company_is_lost(watch, endpoints, told):
    watch.trust()
    assert watch.lost(100.0) == ""
    watch.see(endpoints)
    assert watch.lost(100.0) == told
    watch.release()
    assert watch.lost(100.0) == ""


def test_a_source_that_falls_silent_is_lost(watch):
    watch.trust()
    assert watch.lost(100.0 + PATIENCE_S) == ""
    assert watch.lost(101.0 + PATIENCE_S) == f"the policy has been silent for {1 + PATIENCE_S:.1f} s"


def test_a_fingerprint_is_the_same_for_the_same_file_and_another_for_any_other_number():
    robot = load_embodiment("xarm7", config("embodiments"))
    assert fingerprint(robot) == fingerprint(load_embodiment("xarm7", config("embodiments")))
    arm = replace(robot.arms[0], max_velocity=1.0001)
    others = {fingerprint(r) for r in (replace(robot, arms=(arm,)), load_embodiment("aloha", config("embodiments")))}
    assert len(others | {fingerprint(robot)}) == 3
