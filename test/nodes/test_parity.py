"""What a policy is trained on is what it sees: a recorded run, exported, against what the live policy node built."""

from __future__ import annotations

from bisect import bisect_left
from pathlib import Path

import numpy as np
import pytest
from fault_graph import XARM7, FaultGraph, fault_graph
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from himoe_ros.core.errors import RecordingError
from himoe_ros.core.messages import seconds
from himoe_ros.core.observation import RobotState
from himoe_ros.core.safety import load_safety
from himoe_ros.core.unified import named_positions
from himoe_ros.nodes.managed import LATCHED
from himoe_ros.recording.export import Terms, export
from himoe_ros.recording.frames import Frame, read_frames, unified
from himoe_ros.recording.lerobot_reader import LeRobotData
from himoe_ros.recording.reader import BagInfo, read_info
from himoe_ros.recording.samples import Samples, own_layout
from himoe_ros.resources import config

LIMITS = load_safety(config("safety.yaml")).sensors
SPACE = XARM7.action_space("joints")
INSTANTS, RATE = 100, 10
EPISODE, ATTEMPTS = 40, 16  # plans of an episode; episodes at most
INSTRUCTION = "Pick up the apple and place it onto the blue plate"
CODEC_ERROR = 8.0  # of 255, mean over a picture


class Recorded(FaultGraph):
    """The whole graph of the simulated robot, with a recorder and a policy that writes down what it sees."""

    def make_source(self) -> None:
        return None

    def begin(self) -> None:
        self.observations = self._folder / "observations"
        self.observations.mkdir()
        self.action = self.watching.collect(JointState, "action")
        self._instruction = self.watching.node.create_publisher(String, "instruction", LATCHED)
        self._instruction.publish(String(data=INSTRUCTION))
        self.start("sim_cameras", embodiment="xarm7", width=112, height=112)
        self.start("recorder", embodiment="xarm7", out=str(self._folder / "session"), task="sway")
        policy = {"embodiment": "xarm7", "action_space": SPACE.name, "replan_period_s": 0.05}
        self.start("policy", "telling_policy", observations=str(self.observations), **policy)
        self.watching.wait(lambda: self.arm().success, 40.0)

    def instants(self) -> int:
        """From how many instants the live policy has planned."""
        return len({path.name.split("_")[0] for path in self.observations.glob("*.npz")})

    def seen(self) -> list[dict[str, np.ndarray]]:
        """Everything that the live policy built."""
        return [dict(np.load(path)) for path in sorted(self.observations.glob("*.npz"))]


def of(stamp: float) -> int:
    """us, to compare."""
    return round(float(stamp) * 1e6)


def recorded(graph: Recorded, episode: Path) -> BagInfo:
    """A short episode."""
    assert graph.watching.call("recorder/start").success
    before = graph.instants()
    graph.watching.wait(lambda: graph.instants() >= before + EPISODE, 90.0)
    assert graph.watching.call("recorder/save").success
    return read_info(episode)


def frames_of(info: BagInfo) -> dict[int, Frame]:
    """By stamp."""
    return {of(f.observation.stamp): f for f in read_frames(info, XARM7, LIMITS, RATE)}


def planned(frames: dict[int, Frame], seen: list[dict[str, np.ndarray]]) -> dict[int, dict[str, np.ndarray]]:
    """What the live policy planned from while the episode lasted, by stamp."""
    return {stamp: live for live in seen if min(frames) <= (stamp := of(live["stamp"])) <= max(frames)}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Bags, live observations by stamp, and the commands that were sent.

    Where the machine stands still for a moment no policy could have planned, or an image comes after its frame: an
    episode with such a moment is not compared.
    """
    folder: Path = tmp_path_factory.mktemp("parity")
    kept, instants = [], 0
    with fault_graph(folder, Recorded) as graph:
        for attempt in range(ATTEMPTS):
            info = recorded(graph, folder / "session" / f"episode_{attempt:04d}")
            try:
                frames = frames_of(info)
            except RecordingError as error:
                print(error)
                continue
            live = planned(frames, graph.seen())
            if missed := live.keys() - frames.keys():
                print(f"{info.folder}: planned from {len(missed)} instants that are no frames")
                continue
            kept.append(info)
            instants += len(live)
            if instants >= INSTANTS:
                break
        assert graph.watching.call("controller/disarm").success
        assert instants >= INSTANTS, f"only {instants} instants in undisturbed episodes of {ATTEMPTS}"
        return kept, graph.seen(), list(graph.action)


def test_frames_are_bit_by_bit_what_the_live_policy_built(run):
    kept, seen, commands = run
    stamps = [seconds(m.header.stamp) for m in commands]
    for frames in map(frames_of, kept):
        for stamp, live in planned(frames, seen).items():
            frame = frames[stamp]
            assert frame.observation.instruction == INSTRUCTION
            for camera, image in frame.observation.images.items():
                assert np.array_equal(image, live[camera])
            assert np.array_equal(frame.state * SPACE.mask, live["values"]) and np.array_equal(SPACE.mask, live["mask"])
            due = frame.observation.stamp + 1 / RATE
            after = bisect_left(stamps, due)
            sent = min((commands[i] for i in (after - 1, after)), key=lambda m: abs(seconds(m.header.stamp) - due))
            joints = named_positions(sent.name, sent.position, XARM7.joint_names)
            pose = XARM7.arms[0].forward(np.array([joints[j] for j in XARM7.arms[0].joints]))
            assert np.array_equal(frame.action, unified(XARM7, RobotState(joints, pose)))


def test_an_exported_dataset_is_the_same_within_the_codecs_error(run, tmp_path):
    kept, seen, _ = run
    export([info.folder for info in kept], tmp_path / "data", XARM7, LIMITS, Terms(RATE), lambda progress: None)
    samples = Samples(LeRobotData(tmp_path / "data"), own_layout(XARM7), SPACE, chunk_steps=1)
    frames = [frame for info in kept for frame in read_frames(info, XARM7, LIMITS, RATE)]
    assert len(samples) == len(frames)
    compared, built = 0, {of(live["stamp"]): live for live in seen}
    for index, frame in enumerate(frames):
        live = built.get(of(frame.observation.stamp))
        if live is None:
            continue
        sample = samples[index]
        assert np.array_equal(np.float32(sample.state), np.float32(live["values"]))
        for camera, image in sample.images.items():
            assert np.abs(image.astype(float) - live[camera]).mean() < CODEC_ERROR
        compared += 1
    assert compared >= INSTANTS
