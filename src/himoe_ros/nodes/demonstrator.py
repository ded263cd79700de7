"""One simulated demonstration after another, in simulated time: the scripted expert, the control loop, a bag each."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
from rclpy.serialization import serialize_message
from std_msgs.msg import String

from ..core.embodiment import load_embodiment
from ..core.errors import GuardError, SimulationError
from ..core.fingerprint import fingerprint
from ..core.safety import load_safety
from ..recording.bag import Topic
from ..recording.contract import load_contract
from ..recording.episode import Episode
from ..recording.grippers import GRIPPERS, told_grippers
from ..resources import config, version
from ..rollout.expert_task import scripted
from ..rollout.workplace import Workplace
from ..sim.expert import STEP_S
from ..sim.renderer import CameraRenderer
from ..sim.sensor_noise import SensorNoise
from ..sim.starts import sample_posture, sample_start
from ..teleop.tool import tools_chunk
from ..trials.judges import judge_of
from ..trials.layout import Layout, draw_layout
from ..trials.protocol import Setting, load_protocol
from ..trials.things import THINGS
from .conversions import chunk_message, image_message, joint_message, pose_message
from .shrinking import ImageShrinker

ATTEMPTS = 5  # at an episode that fails
PRELUDE_S = (0.8, 2.5)
AFTER_S = 0.3  # of rest, once the thing is placed
WORLD_EVERY = 2  # ticks: 50 Hz, as the simulator tells it
PUSH_RAD = 0.03  # of each joint
PARTIAL = ".partial"  # beside the episodes: those being recorded
KEPT = ({"durability": "transient_local"},)  # quality of service of latched topics


@dataclass(frozen=True)
class Collection:
    """What to record; see `himoe sim record --help`."""

    out: str
    protocol: str
    episodes: int
    workers: int
    seed: int
    width: int
    height: int
    camera_rate_hz: float
    images: str
    switch: float
    push: float


class Demonstrator:
    """Shows one episode after another, in one process."""

    def __init__(self, wanted: Collection) -> None:
        self._wanted = wanted
        self._protocol = load_protocol(wanted.protocol, config("trials"))
        self._embodiment = load_embodiment(self._protocol.embodiment, config("embodiments"))
        self._space = next(iter(self._embodiment.action_spaces.values()))
        self._contract = load_contract(config("recording.yaml"), self._embodiment)
        self._shrink = ImageShrinker(wanted.images, self._contract)
        self._dt = 1.0 / self._embodiment.control_rate_hz
        self._picture_every = round(self._embodiment.control_rate_hz / wanted.camera_rate_hz)
        self._settings = tuple(self._protocol.settings.values())
        safety = load_safety(config("safety.yaml"))
        self._workplace = Workplace(self._protocol, self._embodiment, self._space, safety)
        self._renderer = CameraRenderer(self._workplace.world.model, wanted.width, wanted.height)
        self._episode: Episode | None = None

    def record(self, index: int) -> int:
        """Record the episode of this number, whole or not at all; returns how many attempts at it failed.

        Raises:
            SimulationError: the expert failed again and again.
        """
        place = Path(self._wanted.out) / f"episode_{index:04d}"
        partial = place.parent / PARTIAL / place.name
        for attempt in range(ATTEMPTS):
            shutil.rmtree(partial, ignore_errors=True)
            rng = np.random.default_rng([self._wanted.seed, index, attempt])
            if self._show(self._settings[index % len(self._settings)], rng, partial):
                partial.rename(place)
                return attempt
        shutil.rmtree(partial, ignore_errors=True)
        raise SimulationError(f"the expert failed {ATTEMPTS} times at episode {index}; choose another --seed")

    def _show(self, asked: Setting, rng: np.random.Generator, folder: Path) -> bool:
        """One attempt; True where it ended with the thing in its place."""
        self._rng, self._pushed = rng, 0
        self._noise = SensorNoise(self._wanted.height, self._wanted.width)
        seed = int(rng.integers(1 << 31))
        layout = draw_layout(self._protocol, asked, seed)
        self._workplace.lay_out(layout)
        self._place_arms(layout)
        self._workplace.begin()
        others = [s for s in self._settings if _named(s) != _named(asked)]
        if rng.random() < self._wanted.switch and others:  # on the way to another thing, before anybody records
            for _ in self._plans(others[rng.integers(len(others))], rng.uniform(*PRELUDE_S)):
                continue
        judge = judge_of(self._protocol, asked)
        self._begin(asked, folder, f"{self._protocol.name}, layout {seed}")
        plans = self._plans(asked, self._protocol.time_limit + AFTER_S)
        for done in plans:
            if judge.observe(self._workplace.truth()).success and done:
                break
        for _ in islice(plans, round(AFTER_S / STEP_S)):
            judge.observe(self._workplace.truth())
        verdict = judge.verdict
        good = verdict.success and not verdict.wrong_object and not verdict.wrong_target
        self._episode.close({"complete": "yes", "outcome": "success" if good else "failure"})
        self._episode = None
        return good

    def _place_arms(self, layout: Layout) -> None:
        """Somewhere to begin from, at rest."""
        tops = [np.array([x, y, THINGS[n].foot + THINGS[n].top]) for n, (x, y, _) in layout.items()]
        for servos, arm in zip(self._workplace.world.arms, self._embodiment.arms, strict=True):
            tool = self._embodiment.tells_tool
            servos.place(*(sample_start(self._rng, arm, tops) if tool else sample_posture(self._rng, arm)))

    def _plans(self, asked: Setting, seconds: float) -> Iterator[bool]:
        """One plan of the expert after another, each followed for STEP_S; whether it has finished."""
        expert = scripted(self._embodiment, self._protocol, asked, self._rng)
        for _ in range(round(seconds / STEP_S)):
            now, joints = self._workplace.now, self._workplace.joints()
            rows = expert.plan(self._workplace.truth().things, joints)
            times = STEP_S * np.arange(1, len(rows) + 1)
            chunk = tools_chunk(self._embodiment, self._space, joints, rows, times, now)
            try:
                self._workplace.loop.accept(chunk, now, now)
            except GuardError:  # a robot would refuse it, too: the attempt ends here
                return
            self._put("action_chunk", chunk_message(chunk))
            self._push()
            for _ in range(round(STEP_S / self._dt)):
                self._tick()
            yield expert.done

    def _push(self) -> None:
        """Now and then something holds the arms away from where they are sent, for a few plans."""
        if self._pushed > 0:
            self._pushed -= 1
        elif self._rng.random() < self._wanted.push:
            self._pushed = int(self._rng.integers(1, 4))
            self._workplace.driver.push = [
                self._rng.uniform(-PUSH_RAD, PUSH_RAD, len(a.joints)) for a in self._embodiment.arms
            ]
        else:
            self._workplace.driver.push = [np.zeros(len(arm.joints)) for arm in self._embodiment.arms]

    def _begin(self, asked: Setting, folder: Path, simulation: str) -> None:
        """From now on messages go into a bag."""
        self._shrink.begin()
        topics = {
            s.topic: Topic(*self._shrink.topic(f"/{s.topic}", s.type), KEPT if s.latched else ())
            for s in self._contract.streams
        }
        about = {
            "embodiment": self._embodiment.name,
            "config": fingerprint(self._embodiment),
            GRIPPERS: told_grippers(self._embodiment),
            "operator": "scripted expert",
            "task": asked.instruction,
            "instruction": asked.instruction,
            "version": version(),
            "ros_distro": os.environ.get("ROS_DISTRO", "kilted"),
            "simulation": simulation,
        }
        self._episode = Episode(folder, about, topics, about["ros_distro"])
        self._sent: Counter[str] = Counter()
        self._started = self._workplace.ticks
        self._put("instruction", String(data=asked.instruction))

    def _tick(self) -> None:
        """One command, and the physics until the next."""
        place, world, now = self._workplace, self._workplace.world, self._workplace.now
        tick = place.act()
        names, joints = self._embodiment.joint_names, tick.reading.positions
        self._put("joint_states", joint_message(names, joints, now))
        if self._embodiment.tells_tool:
            pose = self._embodiment.arms[0].forward(np.asarray(joints[: len(self._embodiment.arms[0].joints)]))
            self._put("eef_pose", pose_message(pose, now, "base"))
        if place.ticks % WORLD_EVERY == 0:
            state = joint_message(world.state_names(), world.state(), now)
            state.velocity = world.state_velocity().tolist()
            self._put("sim/state", state)
        if tick.command is not None:
            self._put("action", joint_message(names, tick.command, now))
        if self._episode is not None and (place.ticks - self._started) % self._picture_every == 0:
            for camera in self._embodiment.cameras:
                image = self._noise(self._renderer.render(world.data, camera.name))
                self._put(camera.topic, image_message(image, now, camera.name))
        place.advance()

    def _put(self, topic: str, message: object) -> None:
        if self._episode is None:
            return
        data = self._shrink(topic, serialize_message(message))
        self._sent[topic] += 1
        now = round(self._workplace.now * 1e9)
        self._episode.write(topic, data, now, now, self._sent[topic], b"")


def _named(setting: Setting) -> str:
    """What a setting asks to pick up."""
    return next(iter(setting.roles.values()))
