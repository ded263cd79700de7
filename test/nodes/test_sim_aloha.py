"""The simulated ALOHA behind the stand-in for xs_sdk: the expert hands a cup over, and one arm fails meanwhile."""

from __future__ import annotations

import json
import time

import pytest
from graph import end, himoe, watcher
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.messages import seconds
from himoe_ros.nodes.managed import LATCHED
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


@pytest.mark.slow
def test_the_expert_does_trials_of_cup_handover(tmp_path):
    out = tmp_path / "session"
    options = ("--policy", "expert", "--trials", "1", "--out", str(out), "--json", str(tmp_path / "told.json"))
    process = himoe("trials", "run", "aloha/cup_handover", *options)
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 0, output
    _, results, _ = read_session(out)
    assert len(results) == 3 and all(list(r.stages) == ["grasp", "transfer", "place"] for r in results)
    assert sum(r.success for r in results) >= 2, results
    assert json.loads((tmp_path / "told.json").read_text())
