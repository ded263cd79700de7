"""Rows 11, 12, 18 and 27 of the fault table: the policy's process fails."""

from __future__ import annotations

import shutil
import signal
import time

import numpy as np
import pytest
from box_log import ARMING
from diagnostic_msgs.msg import DiagnosticStatus
from fault_graph import fault_graph
from policy_graph import PolicyGraph
from rcl_interfaces.srv import GetParameters

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.model.config import load_model_config
from himoe_ros.model.folder import save_model
from himoe_ros.model.himoe import HiMoEVLA
from himoe_ros.policy.statistics import statistics_from_limits
from himoe_ros.resources import config

INJECTIONS = 100
TOLD_WITHIN_S = 1.3


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    with fault_graph(tmp_path_factory.mktemp("policy"), PolicyGraph) as graph:
        yield graph


@pytest.fixture
def graph(running):
    running.run()
    yield running
    assert running.watching.call("controller/disarm").success
    running.check_always()


def test_11_a_killed_policy_disarms_and_a_restarted_one_moves_nothing(graph, record_property):
    """Protected by SourceWatch, the plan's end and explicit arming."""
    killed = time.monotonic()
    graph.end("policy", signal.SIGKILL)
    late = graph.check_held(graph.planned_until())
    told = graph.told("no fresh one came", killed, 1.2 + TOLD_WITHIN_S)  # of a plan of 1.2 s
    graph.holds("disarmed", 5.0)
    rest = graph.sentinel()
    graph.restart_policy()
    graph.log.check_rest(rest, graph.sentinel())
    assert graph.mode() == "disarmed"
    restarted = time.monotonic()
    graph.watching.wait(lambda: graph.arm().success, 10.0)
    record_property(
        "row 11",
        f"at rest {1e3 * late:+.0f} ms from the last step, told {told:.1f} s after; restarted: no command, "
        f"armed again after {time.monotonic() - restarted:.1f} s",
    )


def test_19_a_policy_that_needs_joint_states_does_not_keep_a_lost_robot_from_being_armed(graph, record_property):
    """Protected by ControlLoop.reconnect: joint states come only over a connection."""
    sources = graph.watching.collect(DiagnosticStatus, "chunk_source")
    graph.fault("drop")
    graph.watching.wait(lambda: sources and "joint_states is" in str(sources[-1]), 5.0)
    asked = time.monotonic()
    answer = graph.arm()
    assert not answer.success and "the source of chunks is not ready: joint_states is" in answer.message
    graph.watching.wait(lambda: graph.arm().success, 5.0)
    record_property("row 19", f"with a policy: armed {time.monotonic() - asked:.1f} s after a person asked for it")


@pytest.mark.slow
def test_18_a_partition_of_five_seconds_holds_and_ends_without_a_burst(graph, record_property):
    """The policy's process is stopped and goes on: for the others a network that is gone and comes back.

    Protected by the plan's end, SourceWatch's patience, and stamps, by which what has waited is too old.
    """
    graph.watching.wait(lambda: len(graph.chunks) > 5, 5.0)
    graph.send_signal("policy", signal.SIGSTOP)
    late = graph.check_held(graph.planned_until())
    stopped = time.monotonic()
    graph.told("the policy has been silent", stopped, 6.0)
    time.sleep(5.0)
    rest = graph.sentinel()
    graph.send_signal("policy", signal.SIGCONT)
    plans = len(graph.chunks)
    graph.watching.wait(lambda: len(graph.chunks) > plans + 4, 10.0)
    graph.log.check_rest(rest, graph.sentinel())
    graph.watching.wait(lambda: graph.arm().success, 10.0)
    armed = graph.log.last(ARMING).time
    graph.watching.wait(lambda: graph.log.travelled(armed) > 0.02, 5.0)
    graph.log.check_rate()
    record_property("row 18", f"at rest {1e3 * late:+.0f} ms from the last step; back: no command until armed")


def parameter(graph: PolicyGraph, name: str) -> int:
    request = GetParameters.Request(names=[name])
    (value,) = graph.watching.ask(GetParameters, "policy/get_parameters", request).values
    return value.integer_value


def starve(graph: PolicyGraph, on: bool) -> None:
    assert graph.watching.set_parameter("policy", "starve", on).successful


@pytest.mark.slow
def test_12_memory_that_runs_out_in_inference_holds_the_robot_and_kills_nobody(graph, record_property):
    """Protected by LocalPolicy, which makes a named error of it, and the policy's loop, which goes on."""
    graph.restart_policy("starving_policy", replan_period_s=0.05)
    graph.run()
    starve(graph, True)
    begin = time.monotonic()
    took = graph.complained("policy", "its inference failed", begin, TOLD_WITHIN_S)
    late = graph.check_held(graph.planned_until())
    graph.holds()
    answer = graph.arm()
    assert not answer.success and "its inference failed" in answer.message
    graph.watching.wait(lambda: parameter(graph, "starved") >= INJECTIONS, 30.0)
    plans = len(graph.chunks)
    starve(graph, False)
    graph.watching.wait(lambda: len(graph.chunks) > plans + 2, 10.0)
    assert graph.alive("policy") and graph.alive("controller")
    record_property(
        "row 12",
        f"{INJECTIONS} times: told {took:.2f} s after, at rest {1e3 * late:+.0f} ms from the last step, "
        "policy and controller alive",
    )
    graph.restart_policy()


@pytest.mark.slow
@pytest.mark.parametrize(("robot", "space"), [("aloha", "joints"), ("xarm7", "end_effector")])
def test_27_a_policy_of_another_robot_or_action_space_is_refused_at_configure(
    graph, tmp_path, robot, space, record_property
):
    """Protected by Statistics.require."""
    assert graph.watching.call("controller/disarm").success
    graph.end("policy")
    models, embodiment = config("models"), load_embodiment(robot, config("embodiments"))
    folder = tmp_path / "policy"
    save_model(HiMoEVLA(load_model_config("himoe_small", models)).initialise(0), folder)
    shutil.copy(models / "himoe_small.tokenizer.json", folder / "tokenizer.json")
    statistics_from_limits(embodiment, embodiment.action_space(space)).save(folder / "stats.json")
    time.sleep(0.2)
    rest, plans = graph.sentinel(), len(graph.chunks)
    graph.start_policy(policy=str(folder))
    graph.watching.wait(lambda: not graph.alive("policy"), 40.0)
    assert graph.exit_code("policy") == 2
    words = f"the policy was trained for {robot}/{space}, this robot is xarm7/joints"
    assert words in graph.output("policy")
    answer = graph.arm()
    assert not answer.success and "expected one publisher of action_chunk, there are 0" in answer.message
    assert len(graph.chunks) == plans
    graph.log.check_rest(rest, graph.sentinel())
    assert np.isfinite(graph.joints[-1].position).all()
    record_property("row 27", f"{robot}/{space}: exit code 2 at configure, arming refused")
    graph.restart_policy()
