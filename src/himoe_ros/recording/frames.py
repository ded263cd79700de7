"""A bag -> the observations a live policy would have built, at a fixed rate, each with what the robot was then sent to.

Messages are replayed through the live policy's own Synchronizer and unified vector, in the order and at the times
in which they were received.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..core.embodiment import Embodiment
from ..core.errors import HimoeError, ObservationError, RecordingError
from ..core.messages import pose_array, seconds
from ..core.observation import Floats, Observation, RobotState
from ..core.synchronizer import Synchronizer, SyncLimits
from ..core.unified import encode_state, named_positions
from .grippers import as_configured, read_grippers
from .pictures import PictureReader
from .reader import BagInfo, Recorded, read_messages

WORLD = "/sim/state"
COMMAND_WITHIN_S = 0.1  # of the moment that a frame's action is for
REPEATED_SHARE = 0.05  # of frames; clocks of equal rate beat against each other


@dataclass(frozen=True)
class Frame:
    """One step of an episode.

    Attributes:
        index: 0, 1, ...
        observation: as the live policy would have built it.
        state: (24,) its robot state, in the slots of every action space of the embodiment.
        action: (24,) where the robot was sent to, one period after the observation; absolute, in the same slots.
        world: true places out of a simulator, label such as `apple.x` -> m; nothing on a robot.
    """

    index: int
    observation: Observation
    state: Floats
    action: Floats
    world: Mapping[str, float]


@dataclass
class _Replay:
    """What has been received up to a moment."""

    synchronizer: Synchronizer
    instruction: str  # the task, until another one is told
    grippers: Mapping[str, tuple[float, float]]  # as the bag tells them
    pictures: PictureReader = field(default_factory=PictureReader)
    trouble: str = ""  # why there was no observation yet
    stamps: list[float] = field(default_factory=list)  # s, of commands
    commands: list[dict[str, float]] = field(default_factory=list)
    world: dict[str, float] = field(default_factory=dict)  # true places, told last


def read_frames(info: BagInfo, embodiment: Embodiment, limits: SyncLimits, rate_hz: float) -> Iterator[Frame]:
    """Frames from the first complete observation to the last with a command one period later.

    Args:
        info: of a complete bag.
        embodiment: of the robot it was recorded on.
        limits: of the live policy, from config/safety.yaml.
        rate_hz: frames a second, > 0.

    Raises:
        RecordingError: in the middle of the episode there was a moment without an observation, the cameras are slower
            than asked for, or there is nothing to learn.
    """
    pending: list[tuple[Observation, Floats, Mapping[str, float]]] = []
    index, repeated, last = 0, 0, 0.0
    synchronizer = Synchronizer([c.name for c in embodiment.cameras], embodiment.tells_tool, limits)
    replay = _Replay(synchronizer, info.about.get("task", ""), read_grippers(info.about))
    for observation in _observations(info, embodiment, replay, 1.0 / rate_hz):
        repeated, last = repeated + (observation.stamp == last), observation.stamp
        pending.append((observation, unified(embodiment, observation.state), replay.world))
        if not replay.stamps:
            pending = pending[-1:]  # nobody has moved the robot yet
        while pending and replay.stamps and replay.stamps[-1] >= pending[0][0].stamp + 1.0 / rate_hz:
            first, state, world = pending.pop(0)
            action = _command_at(embodiment, replay, first.stamp + 1.0 / rate_hz)
            if action is not None:
                yield Frame(index, first, state, action, world)
                index += 1
            elif index:
                raise RecordingError(
                    f"{info.folder}: {first.stamp - info.start:.2f} s into the episode nobody moves the robot: no "
                    f"command within {COMMAND_WITHIN_S:g} s; himoe bag trim takes a part out of it"
                )
    if repeated > max(REPEATED_SHARE * index, 1):
        raise RecordingError(
            f"{info.folder}: {repeated} of {index} frames show an image for a second time: expected a camera of at "
            f"least {rate_hz:g} Hz; choose a lower --rate-hz"
        )
    if index == 0:
        why = replay.trouble or "no observation is followed by a command on 'action'"
        raise RecordingError(f"{info.folder}: nothing to learn from: {why}")


def world_labels(info: BagInfo) -> list[str]:
    """Of the true places that a bag holds; none of a robot's."""
    topics = [t for t in info.types if t.endswith(WORLD) and info.counts.get(t)]
    first = next(read_messages(info, topics), None) if topics else None
    return [] if first is None else list(true_places(first.message.name, first.message.position))


def true_places(names: Sequence[str], values: Sequence[float]) -> dict[str, float]:
    """Where things are, out of a simulator's state, which names joints and `apple.x` .. `apple.qz`."""
    return {n: float(v) for n, v in zip(names, values, strict=True) if n.endswith((".x", ".y", ".z"))}


def unified(embodiment: Embodiment, state: RobotState) -> Floats:
    """(24,) the robot's state in the slots of all its action spaces, which agree where they overlap."""
    values = np.zeros(24)
    for space in embodiment.action_spaces.values():
        values[space.slots] = encode_state(embodiment, space, state)[space.slots]
    return values


def _observations(info: BagInfo, embodiment: Embodiment, replay: _Replay, period: float) -> Iterator[Observation]:
    """One a period, of what had been received by then."""
    due: float | None = None  # s; none before the first complete observation
    for message in read_messages(info):
        while due is not None and message.received > due:
            try:
                yield replay.synchronizer.observation(due, replay.instruction)
            except ObservationError as error:
                raise RecordingError(
                    f"{info.folder}: {due - info.start:.2f} s into the episode there is no observation: {error}; "
                    "himoe bag check tells more"
                ) from error
            due += period
        _take(message, embodiment, replay)
        if due is None and _complete(replay, message.received):
            # Half a period after images come, so that their jitter makes no frame see one twice and miss the next.
            due = message.received + period / 2


def _complete(replay: _Replay, now: float) -> bool:
    try:
        observation = replay.synchronizer.observation(now, replay.instruction)
    except ObservationError as error:
        replay.trouble = str(error)
        return False
    replay.trouble = "" if replay.instruction else "no instruction was told, and no task is written in the bag"
    states = [s for s in (replay.synchronizer.joints, replay.synchronizer.eef) if s.stamps]
    # A live policy had heard of the robot before; here that begins with the bag, perhaps after the first image.
    return bool(replay.instruction) and all(s.stamps[0] <= observation.stamp for s in states)


def _take(message: Recorded, embodiment: Embodiment, replay: _Replay) -> None:
    """As the policy node does with a message; what it would drop is dropped here too."""
    topic, body, now = message.topic, message.message, message.received
    try:
        for camera in embodiment.cameras:
            if topic.endswith((f"/{camera.topic}", f"/{camera.topic}/compressed")):
                replay.synchronizer.push_image(
                    camera.name, seconds(body.header.stamp), replay.pictures(topic, body), now
                )
                return
        if topic.endswith("/joint_states"):
            positions = named_positions(body.name, body.position, embodiment.joint_names)
            positions = as_configured(positions, replay.grippers, embodiment)
            replay.synchronizer.push_joints(seconds(body.header.stamp), positions, now)
        elif topic.endswith("/eef_pose"):
            replay.synchronizer.push_eef(seconds(body.header.stamp), pose_array(body), now)
        elif topic.endswith("/instruction"):
            replay.instruction = body.data
        elif topic.endswith(WORLD):
            replay.world = true_places(body.name, body.position)
        elif topic.endswith("/action"):
            command = named_positions(body.name, body.position, embodiment.joint_names)
            replay.stamps.append(seconds(body.header.stamp))
            replay.commands.append(as_configured(command, replay.grippers, embodiment))
    except ObservationError:
        return  # the live policy complains and goes on; `himoe bag check` counts what is wrong


def _command_at(embodiment: Embodiment, replay: _Replay, stamp: float) -> Floats | None:
    """(24,) the command nearest to a moment that the commands have reached; None where none is near."""
    after = bisect_left(replay.stamps, stamp)
    nearest = min({max(after - 1, 0), after}, key=lambda i: abs(replay.stamps[i] - stamp))
    if abs(replay.stamps[nearest] - stamp) > COMMAND_WITHIN_S:
        return None
    joints = replay.commands[nearest]
    eef = embodiment.arms[0].tool(joints) if embodiment.tells_tool else None
    try:
        return unified(embodiment, RobotState(joints, eef))
    except HimoeError as error:
        raise RecordingError(f"a command cannot be told in unified slots: {error}") from error
