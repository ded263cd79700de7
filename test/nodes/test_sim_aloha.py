"""The simulated ALOHA behind the stand-in for xs_sdk: the expert hands a cup over, and one arm fails meanwhile."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
from graph import end, himoe, watcher
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from screen import Screen
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.messages import seconds
from himoe_ros.nodes.conversions import joint_message
from himoe_ros.nodes.managed import LATCHED, RECORD
from himoe_ros.recording.lerobot_reader import LeRobotData
from himoe_ros.resources import config
from himoe_ros.trials.session import read_session
from himoe_ros.trials.truth import Truth, truth_from_state

ALOHA = load_embodiment("aloha", config("embodiments"))
ASKED = "Pick up the blue cup, switch hands, and place it on the plate"


def test_when_one_arm_falls_silent_the_other_holds_its_cup():
    process = himoe("up", "aloha", "--policy", "expert", "--camera-rate-hz", "2")
    try:
        with watcher() as watching:
            states = watching.collect(JointState, "sim/state")

            def truth() -> Truth:
                m = states[-1]
                return truth_from_state(seconds(m.header.stamp), ALOHA.arms, m.name, m.position, m.velocity)

            def mode() -> str:
                return watching.diagnostics.get("/aloha_controller", ("", {}))[1].get("mode", "")

            faults = watching.node.create_client(SetParameters, "sim_robot/set_parameters")

            def inject(fault: str) -> None:
                """What it does is waited for, not the answer."""
                parameter = Parameter("fault", value=fault).to_parameter_msg()
                faults.call_async(SetParameters.Request(parameters=[parameter]))

            say = watching.node.create_publisher(String, "instruction", LATCHED)
            say.publish(String(data=ASKED))
            watching.wait(lambda: states and mode(), 30.0)
            deadline = time.monotonic() + 20.0
            while not (answer := watching.call("controller/arm")).success:
                assert time.monotonic() < deadline, answer.message
            watching.wait(lambda: truth().things["blue_beaker"].place[2] > 0.08, 20.0)
            inject("silent follower_left")
            watching.wait(lambda: mode() == "faulted", 5.0)
            assert "'follower_left' is lost" in watching.diagnostics["/aloha_controller"][1]["reason"]
            time.sleep(0.5)
            before = truth()
            time.sleep(2.0)
            after = truth()
            assert after.things["blue_beaker"].place == pytest.approx(before.things["blue_beaker"].place, abs=0.003)
            assert after.things["blue_beaker"].place[2] > 0.07, "the right hand holds it"
            for arm in ("left", "right"):
                assert after.hands[arm].tcp == pytest.approx(before.hands[arm].tcp, abs=0.003)
            inject("heal follower_left")
            watching.wait(lambda: watching.call("controller/arm").success, 10.0)  # arming connects again
    finally:
        code, output = end(process)
    assert code in (0, 130), output


@pytest.mark.slow  # three cameras, a device and a recorder beside it: on two busy cores an image may be too late
def test_a_person_with_both_leaders_shows_an_episode_that_becomes_a_training_set(tmp_path):
    """The leaders are two topics, as xs_sdk publishes them; the test moves them."""
    processes = [
        himoe("up", "aloha", "--policy", "none", "--image-width", "112", "--image-height", "112"),
        himoe("teleop", "aloha", "--device", "aloha_leaders"),
    ]
    places = {side: np.array([*arm.bounds.rest, 0.8]) for side, arm in zip(("left", "right"), ALOHA.arms, strict=True)}
    names = ("waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper")
    try:
        with watcher() as watching, Screen("record", "aloha", "--out", tmp_path / "bags", "--task", ASKED) as screen:
            node, joints = watching.node, watching.collect(JointState, "joint_states")
            leaders = {
                side: node.create_publisher(JointState, f"leader_{side}/joint_states", RECORD) for side in places
            }

            def tell() -> None:
                now = node.get_clock().now().nanoseconds * 1e-9
                for side, place in places.items():
                    leaders[side].publish(joint_message(names, place, now))

            node.create_timer(0.02, tell)
            watching.wait(lambda: joints, 30.0)
            watching.wait(lambda: watching.call("controller/arm").success, 20.0)
            screen.press("r")
            screen.see("recording episode_0000")
            goals = places["left"].copy(), places["right"].copy()
            for goal, turn in zip(goals, (0.25, -0.25), strict=True):
                goal[0] += turn
            for share in np.linspace(0.02, 1.0, 50):
                for side, goal in zip(places, goals, strict=True):
                    places[side][0] = share * goal[0]
                time.sleep(0.04)
            places["right"][6] = 0.0

            def followed() -> bool:
                at = dict(zip(joints[-1].name, joints[-1].position, strict=True))
                waists = abs(at["left_waist"] - 0.25) < 0.01 and abs(at["right_waist"] + 0.25) < 0.01
                return waists and ALOHA.arms[1].gripper.opening(at["right_gripper_joint"]) < 0.15

            watching.wait(followed, 5.0)
            time.sleep(0.5)  # at rest there
            screen.press("s")
            screen.see("saved episode_0000")
            screen.press("q")
            assert screen.ended() == 0
    finally:
        codes = [end(process)[0] for process in reversed(processes)]
    assert set(codes) <= {0, 130}
    made = himoe("export", "--robot", "aloha", "--rate-hz", "5", str(tmp_path / "bags"), str(tmp_path / "data"))
    output, _ = made.communicate(timeout=60)
    assert made.returncode == 0, output
    data = LeRobotData(tmp_path / "data")
    state = data.columns(0, ["observation.state"])["observation.state"]
    used = {n: i for i, n in enumerate(data.features["observation.state"]["names"]) if not n.startswith("unused")}
    assert list(used.values()) == [*range(8, 15), *range(16, 23)] and len(data) >= 10
    at = {name.removeprefix("joints."): state[:, i] for name, i in used.items()}
    assert at["left_waist"][-1] == pytest.approx(0.25, abs=0.02)
    assert at["right_waist"][-1] == pytest.approx(-0.25, abs=0.02)
    assert at["right_gripper"][-1] < 0.2 and at["left_gripper"][-1] > 0.8


@pytest.mark.slow
def test_the_expert_does_trials_of_cup_handover_and_an_arm_that_is_held_costs_one(tmp_path):
    out = tmp_path / "session"
    options = ("--policy", "expert", "--trials", "1", "--out", str(out), "--json", str(tmp_path / "told.json"))
    process = himoe("trials", "run", "aloha/cup_handover", *options)
    with watcher() as watching:  # during the first trial something holds an arm; before the second it is freed
        watching.wait(lambda: list(out.glob("*_start.jpg")), 120.0)
        assert watching.set_parameter("sim_robot", "fault", "held follower_right").successful
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    _, results, _ = read_session(out)
    assert len(results) == 3 and all(list(r.stages) == ["grasp", "transfer", "place"] for r in results)
    assert not results[0].success and sum(r.success for r in results[1:]) >= 1, results
    assert json.loads((tmp_path / "told.json").read_text())
