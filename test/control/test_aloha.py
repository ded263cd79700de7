"""The ALOHA driver against the stand-in for Interbotix's packages, which has the real ones' names and traps."""

from __future__ import annotations

import importlib
import inspect
import json
import time
from pathlib import Path

import numpy as np
import pytest
import rclpy
from aloha_rig import JOINTS, SLEEP, Follower, use_standin

from himoe_ros.control.aloha import MODEL, AlohaDriver
from himoe_ros.control.aloha_preflight import judge_followers
from himoe_ros.control.aloha_survey import survey_followers
from himoe_ros.control.drivers import make_driver
from himoe_ros.control.finding import Finding, Level
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import DriverError
from himoe_ros.resources import config

ALOHA = load_embodiment("aloha", config("embodiments"))
CONTRACT = json.loads((Path(__file__).parents[1] / "data/aloha_contract.json").read_text())["signatures"]
NAMES = ("follower_left", "follower_right")


@pytest.fixture(scope="module", autouse=True)
def ros():
    use_standin()
    rclpy.init()
    yield
    rclpy.shutdown()


@pytest.fixture
def arms():
    made: list[Follower] = []

    def make(name: str, **options) -> Follower:
        made.append(Follower(name, **options))
        return made[-1]

    yield make
    for arm in made:
        arm.close()


@pytest.fixture
def driver():
    made = make_driver(ALOHA, ",".join(NAMES))
    yield made
    made.close()


def test_the_standin_has_the_signatures_of_the_real_one():
    told = {}
    for part in ("xs_modules.xs_robot.arm", "xs_modules.xs_robot.core", "xs_modules.xs_robot.gripper"):
        module = importlib.import_module(f"interbotix_{part}")
        for owner in (c for c in vars(module).values() if inspect.isclass(c) and c.__module__ == module.__name__):
            for name, method in vars(owner).items():
                if inspect.isfunction(method) and name not in ("_ask",):
                    told[f"{module.__name__}.{owner.__name__}.{name}"] = str(inspect.signature(method))
    assert len(told) > 10 and {name: CONTRACT[name] for name in told} == told


def moved(arm: Follower, to: np.ndarray) -> bool:
    deadline = time.monotonic() + 3.0
    while time.monotonic() < deadline and not np.allclose(arm.positions, to, atol=1e-3):
        time.sleep(0.01)
    return np.allclose(arm.positions, to, atol=1e-3)


def test_both_arms_are_set_up_read_by_name_moved_and_held(arms, driver):
    left, right = arms(NAMES[0], gripper=1.0), arms(NAMES[1], gripper=1.2)
    driver.connect()
    assert not [service for service, _ in left.sdk.asked if service != "get_robot_info"], "connecting changes nothing"
    assert driver.read().positions == pytest.approx([*SLEEP, 1.0, *SLEEP, 1.2])
    with pytest.raises(DriverError, match="arm again before commands are sent"):
        driver.send(np.zeros(14))
    driver.enable()
    for arm in (left, right):
        told = [(service, values["name"]) for service, values in arm.sdk.asked if service != "get_robot_info"]
        assert told == [
            ("reboot_motors", "gripper"),
            ("set_operating_modes", "arm"),
            ("set_operating_modes", "gripper"),
            ("torque_enable", "gripper"),
            ("set_motor_registers", "gripper"),
            ("torque_enable", "arm"),
            ("torque_enable", "gripper"),
        ]
        assert arm.sdk.modes == {"arm": "position", "gripper": "current_based_position"}
        assert arm.sdk.current_limit == 300, "written while torque was off, else the motor ignores it"
    goal = np.array([*SLEEP, 0.8, *SLEEP, 1.4], np.float32)
    goal[0], goal[7] = 0.3, -0.4
    driver.send(goal)  # numpy's numbers: the API must get plain ones
    assert moved(left, goal[:7]) and moved(right, goal[7:])
    driver.stop()
    assert left.sdk.torque == right.sdk.torque == {"arm": True, "gripper": True}, "what is held does not fall"
    with pytest.raises(DriverError, match="arm again"):
        driver.send(goal)
    left.sdk.asked.clear()
    driver.enable()
    assert {service for service, _ in left.sdk.asked} == {"torque_enable"}, "no mode is set again: torque would go"


@pytest.mark.parametrize(
    ("profile", "again"), [("velocity", {"gripper"}), ("time", {"arm", "gripper"})], ids=["ALOHA's", "Interbotix's own"]
)
def test_an_xs_sdk_that_was_started_again_is_set_up_again_where_its_modes_differ(arms, driver, profile, again):
    left, right = arms(NAMES[0]), arms(NAMES[1])
    driver.connect()
    driver.enable()
    for sdk in (left.sdk, right.sdk):  # as its own file says, whatever it was told before
        sdk.modes, sdk.profiles["arm"] = {"arm": "position", "gripper": "linear_position"}, profile
        sdk.torque["gripper"], sdk.current_limit = False, 1193
        sdk.asked.clear()
    driver.connect()
    driver.enable()
    for sdk in (left.sdk, right.sdk):
        set_again = {values["name"] for service, values in sdk.asked if service == "set_operating_modes"}
        assert set_again == again, "an arm that is as it should be keeps its torque"
        assert "reboot_motors" not in {service for service, _ in sdk.asked}
        assert sdk.modes == {"arm": "position", "gripper": "current_based_position"}
        assert sdk.profiles == {"arm": "velocity", "gripper": "velocity"} and sdk.current_limit == 300
    goal = np.array([*SLEEP, 0.8, *SLEEP, 1.4])
    goal[0], goal[7] = 0.3, -0.4
    driver.send(goal)
    assert moved(left, goal[:7]) and moved(right, goal[7:])


def test_one_arm_that_falls_silent_is_named_and_the_other_holds(arms, driver):
    left, right = arms(NAMES[0]), arms(NAMES[1])
    driver.connect()
    driver.enable()
    goal = np.array([*SLEEP, 0.7, *SLEEP, 0.7])
    goal[[0, 7]] = 1.0
    driver.send(goal)
    time.sleep(0.1)
    left.sdk.silent = True
    time.sleep(0.05)
    with pytest.raises(DriverError, match="'follower_left' is lost: it has not told where its joints are"):
        for _ in range(100):
            driver.read()
            time.sleep(0.01)
    with pytest.raises(DriverError, match="follower_left"):
        driver.stop()
    time.sleep(0.1)
    held = right.positions.copy()
    time.sleep(0.1)
    assert np.allclose(right.positions[:6], held[:6]) and right.sdk.torque["gripper"], "the right one holds"
    left.sdk.silent = False
    time.sleep(0.1)
    with pytest.raises(DriverError, match="arm again"):
        driver.read()
    driver.enable()
    assert len(driver.read().positions) == 14


def test_an_arm_that_nobody_has_commanded_is_heard_again(arms, driver):
    """A busy machine is silent for a moment when everything starts; nobody arms there."""
    sdk, _right = arms(NAMES[0]).sdk, arms(NAMES[1])
    driver.connect()
    sdk.silent = True
    with pytest.raises(DriverError, match="'follower_left' is lost: it has not told where its joints are"):
        for _ in range(100):
            driver.read()
            time.sleep(0.01)
    sdk.silent = False
    time.sleep(0.1)
    assert len(driver.read().positions) == 14


def test_nothing_that_is_not_finite_leaves(arms, driver):
    left, _right = arms(NAMES[0]), arms(NAMES[1])
    driver.connect()
    driver.enable()
    bad = np.array([*SLEEP, 0.7, *SLEEP, np.nan])
    with pytest.raises(DriverError, match="expected finite positions"):
        driver.send(bad)
    time.sleep(0.1)
    assert left.positions == pytest.approx([*SLEEP, 1.0])


def test_one_arm_that_is_missing_is_named(arms, driver):
    arms(NAMES[0])
    begin = time.monotonic()
    with pytest.raises(DriverError, match="no xs_sdk of 'follower_right' was found: service /follower_right/"):
        driver.connect()
    assert time.monotonic() - begin < 8.0


def test_a_service_that_never_answers_is_named_in_bounded_time(arms, driver):
    left, _right = arms(NAMES[0]), arms(NAMES[1])
    driver.connect()
    left.sdk.mute.add("torque_enable")
    begin = time.monotonic()
    with pytest.raises(DriverError, match="xs_sdk of 'follower_left' did not answer torque_enable within 2 s"):
        driver.enable()
    assert time.monotonic() - begin < 4.0


def test_an_xs_sdk_that_does_not_tell_where_the_joints_are_is_named(arms, driver):
    arms(NAMES[0]).sdk.silent = True
    arms(NAMES[1])
    with pytest.raises(DriverError, match=r"/follower_left/joint_states is silent"):
        driver.connect()


def test_an_arm_with_other_joints_is_refused(arms, driver):
    arms(NAMES[0], joints=JOINTS[:5])
    arms(NAMES[1])
    with pytest.raises(DriverError, match="expected joints .* of 'follower_left', it has"):
        driver.connect()


def test_a_gripper_of_another_convention_is_found_before_anything_moves(arms, driver):
    arms(NAMES[0], gripper=-0.55)
    arms(NAMES[1])
    with pytest.raises(DriverError, match=r"gripper of 'follower_left' stands at -0.550 rad, .* -0.6213 .. 1.4910"):
        driver.connect()


@pytest.mark.parametrize("address", ["follower_left", "a,a", "a,b,c"])
def test_both_followers_must_be_named(address):
    with pytest.raises(DriverError, match="expected 2 different followers in robot_ip"):
        AlohaDriver(address, ALOHA)


def test_without_the_packages_it_is_said_what_to_install(driver, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "interbotix_xs_modules.xs_robot.arm", None)
    with pytest.raises(DriverError, match="driving an ALOHA needs Interbotix's packages .* install"):
        driver.connect()


def findings(arms, **options) -> dict[str, Finding]:
    arms(NAMES[0], **options)
    arms(NAMES[1])
    return {f.check: f for f in judge_followers(survey_followers(list(NAMES), MODEL), ALOHA)}


def test_a_preflight_tells_what_both_arms_are_like_and_sets_nothing(arms):
    left = arms(NAMES[0])
    arms(NAMES[1])
    found = judge_followers(survey_followers(list(NAMES), MODEL), ALOHA)
    assert {f.level for f in found} == {Level.OK}, [str(f) for f in found]
    assert [f.check for f in found[:5]] == [
        "left arm",
        *(f"left arm: {what}" for what in ("joints", "limits", "gripper", "joint states")),
    ]
    assert {service for service, _ in left.sdk.asked} == {"get_robot_info"}


def test_a_preflight_names_a_wrong_convention_other_joints_and_a_missing_arm(arms):
    found = findings(arms, gripper=-0.6)
    assert found["left arm: gripper"].level is Level.UNSAFE and "-0.600 rad" in found["left arm: gripper"].found
    missing = judge_followers(survey_followers(["follower_middle", NAMES[1]], MODEL), ALOHA)
    assert missing[0].level is Level.UNSAFE and "no xs_sdk of 'follower_middle'" in missing[0].found
    assert missing[1].level is Level.OK


def test_a_preflight_sees_swapped_arms(arms):
    arms(NAMES[0])
    arms(NAMES[1])
    found = judge_followers(survey_followers([NAMES[1], NAMES[0]], MODEL), ALOHA)
    assert [f.level for f in found if f.check in ("left arm", "right arm")] == [Level.UNSAFE] * 2
    assert "left arm first" in found[0].advice
