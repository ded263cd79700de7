"""himoe_ros.core.synchronizer: stamped streams -> one Observation, with injected time only."""

from __future__ import annotations

import math
from contextlib import suppress

import numpy as np
import pytest

from himoe_ros.core.errors import ObservationError
from himoe_ros.core.synchronizer import Stream, Synchronizer, SyncLimits

LIMITS = SyncLimits(max_age_s=0.2, max_skew_s=0.1, max_future_s=0.05, frozen_after=10)
POSE = np.eye(4)


def image(seed: int, height: int = 4) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, 6, 3), dtype=np.uint8)


def push_all(sync: Synchronizer, stamp: float, base: np.ndarray, wrist: np.ndarray) -> None:
    sync.push_image("base", stamp, base, stamp)
    sync.push_image("wrist", stamp, wrist, stamp)
    sync.push_joints(stamp, {"joint1": stamp}, stamp)
    sync.push_eef(stamp, POSE, stamp)


def synchronizer(*stamps: float) -> Synchronizer:
    """Two cameras, joints and tool pose; every stream has a value at each stamp."""
    sync = Synchronizer(["base", "wrist"], needs_eef=True, limits=LIMITS)
    for k, stamp in enumerate(stamps):
        push_all(sync, stamp, image(k), image(100 + k))
    return sync


def test_an_observation_holds_the_newest_of_every_stream():
    observation = synchronizer(10.0, 10.1).observation(10.15, "pick the pear")
    assert (observation.stamp, observation.instruction) == (10.1, "pick the pear")
    assert np.array_equal(observation.images["base"], image(1))
    assert np.array_equal(observation.images["wrist"], image(101))
    assert observation.state.joints == {"joint1": 10.1}
    assert np.array_equal(observation.state.eef, POSE)


def test_images_that_are_still_on_their_way_are_waited_for():
    """A newest image whose companion has not come yet would be seen beside one of another moment."""
    sync = synchronizer(10.0, 10.1)
    sync.push_joints(10.19, {"joint1": 10.19}, 10.19)
    sync.push_eef(10.19, POSE, 10.19)
    sync.push_image("base", 10.19, image(2), 10.19)
    assert sync.observation(10.2, "").stamp == 10.1
    sync.push_image("wrist", 10.191, image(102), 10.2)
    assert sync.observation(10.2, "").stamp == 10.19


def test_images_that_are_never_of_one_moment_are_not_waited_for():
    """Cameras half a period apart: nothing is gained by older images."""
    sync = Synchronizer(["base", "wrist"], needs_eef=False, limits=LIMITS)
    for k in range(4):
        sync.push_joints(10.0 + 0.1 * k, {"joint1": 0.0}, 10.3)
        sync.push_image("base", 10.0 + 0.1 * k, image(k), 10.3)
        if k < 3:
            sync.push_image("wrist", 10.05 + 0.1 * k, image(100 + k), 10.3)
    assert sync.observation(10.31, "").stamp == pytest.approx(10.3)


def test_images_are_not_waited_for_beyond_their_age():
    sync = synchronizer(10.0)
    sync.push_joints(10.09, {"joint1": 10.09}, 10.09)
    sync.push_eef(10.09, POSE, 10.09)
    sync.push_image("base", 10.09, image(2), 10.09)
    assert sync.observation(10.15, "").stamp == 10.0
    with pytest.raises(ObservationError, match="camera 'wrist' is 0.210 s old"):
        sync.observation(10.21, "")


def test_any_order_of_arrival_gives_the_observation_of_a_sorted_replay():
    random = np.random.default_rng(1)
    events = [
        *(("base", 10.0 + 0.1 * k, image(k)) for k in range(16)),
        *(("wrist", 10.003 + 0.1 * k, image(100 + k)) for k in range(16)),
        *(("joints", 9.99 + 0.01 * k, {"joint1": float(k)}) for k in range(152)),
        *(("eef", 9.995 + 0.03 * k, POSE * k) for k in range(50)),
    ]

    def replay(order):
        sync = Synchronizer(["base", "wrist"], needs_eef=True, limits=LIMITS)
        push = {"joints": sync.push_joints, "eef": sync.push_eef}
        for name, stamp, value in order:
            with suppress(ObservationError):  # over a second late: sorted replay has forgotten it too
                push[name](stamp, value, 11.5) if name in push else sync.push_image(name, stamp, value, 11.5)
        return sync.observation(11.55, "")

    expected = replay(sorted(events, key=lambda event: event[1]))
    assert expected.stamp == pytest.approx(11.5)
    for _ in range(100):
        found = replay([events[i] for i in random.permutation(len(events))])
        assert found.stamp == expected.stamp and found.state.joints == expected.state.joints
        assert np.array_equal(found.state.eef, expected.state.eef)
        assert all(np.array_equal(found.images[name], expected.images[name]) for name in ("base", "wrist"))


@pytest.mark.parametrize(
    ("stamp", "told"),
    [
        *[(stamp, f"stamp must be set, got {stamp}") for stamp in (0.0, -1.0, math.nan)],
        (10.06, "0.060 s in the future"),
        (math.inf, "inf s in the future"),
        (10.0, "two messages carry the stamp 10.0"),
        (8.9, "1.100 s behind the newest"),
    ],
)
def test_stamps_not_set_future_twice_or_outdated_are_refused_by_name_and_change_nothing(stamp, told):
    for stream, value in (("images", image(9)), ("joints", {"joint1": 9.0}), ("eef", 9 * POSE)):
        sync = synchronizer(10.0)
        push = {"joints": sync.push_joints, "eef": sync.push_eef}.get(stream)
        name = {"images": "camera 'wrist'", "joints": "joint_states", "eef": "eef_pose"}[stream]
        with pytest.raises(ObservationError, match=f"^{name}: .*{told}"):
            push(stamp, value, 10.0) if push else sync.push_image("wrist", stamp, value, 10.0)
        observation = sync.observation(10.0, "")
        assert observation.state.joints == {"joint1": 10.0} and observation.state.eef[0, 0] == 1.0
        assert np.array_equal(observation.images["wrist"], image(100))


def test_a_silent_stream_is_named():
    sync = Synchronizer(["base", "wrist"], needs_eef=True, limits=LIMITS)
    sync.push_image("base", 10.0, image(0), 10.0)
    with pytest.raises(ObservationError, match="nothing received yet from: camera 'wrist', joint_states, eef_pose"):
        sync.observation(10.0, "")


@pytest.mark.parametrize("late", ["camera 'base'", "camera 'wrist'", "joint_states", "eef_pose"])
def test_nothing_over_the_age_limit_becomes_part_of_an_observation(late):
    sync = Synchronizer(["base", "wrist"], needs_eef=True, limits=LIMITS)
    for name in ("base", "wrist"):
        sync.push_image(name, 9.95 if name in late else 10.0, image(0), 10.0)
    sync.push_joints(9.95 if late == "joint_states" else 10.0, {}, 10.0)
    sync.push_eef(9.95 if late == "eef_pose" else 10.0, POSE, 10.0)
    assert sync.observation(10.149, "").state.eef is not None
    with pytest.raises(ObservationError, match=f"^{late} is 0.201 s old, allowed 0.2 s$"):
        sync.observation(10.151, "")


def test_streams_apart_by_more_than_the_skew_limit_give_no_observation():
    sync = Synchronizer(["base"], needs_eef=False, limits=LIMITS)
    sync.push_image("base", 10.0, image(0), 10.0)
    sync.push_joints(9.89, {}, 10.0)
    with pytest.raises(ObservationError, match="joint_states is 0.110 s away from camera 'base', allowed 0.1 s"):
        sync.observation(10.0, "")
    sync.push_joints(9.91, {"joint1": 1.0}, 10.0)
    state = sync.observation(10.0, "").state
    assert state.joints == {"joint1": 1.0} and state.eef is None  # a robot driven in joints needs no tool pose


def test_the_newest_moment_all_streams_share_is_chosen():
    sync = synchronizer(10.0)
    sync.push_image("base", 10.15, image(1), 10.15)  # the others have nothing within 0.1 s of it
    assert sync.observation(10.16, "").stamp == 10.0


def test_a_camera_is_frozen_after_ten_equal_images_under_new_stamps_until_it_moves_again():
    sync = synchronizer()
    for k in range(9):
        push_all(sync, 10.0 + 0.03 * k, image(k), image(0))
        assert sync.observation(10.0 + 0.03 * k, "").stamp == 10.0 + 0.03 * k
    push_all(sync, 10.3, image(9), image(0))
    with pytest.raises(ObservationError, match="camera frozen: wrist sent 10 equal images"):
        sync.observation(10.3, "")
    push_all(sync, 10.33, image(10), image(1))
    assert sync.observation(10.33, "").stamp == 10.33


def test_ten_minutes_of_a_still_scene_with_sensor_noise_raise_no_alarm_and_fill_no_memory():
    random = np.random.default_rng(2)
    sync, still = synchronizer(), image(0) // 2
    for k in range(18_000):
        noisy = still + random.integers(0, 2, still.shape, dtype=np.uint8)
        push_all(sync, 10.0 + k / 30, noisy, noisy)
        assert sync.observation(10.0 + k / 30, "").stamp == 10.0 + k / 30
    streams = [*sync.images.values(), sync.joints, sync.eef]
    assert all(len(stream.stamps) == len(stream.values) <= 31 for stream in streams)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (image(1, height=8), r"image size changed from \(4, 6\) to \(8, 6\)"),
        (image(1)[..., 0], r"expected \(H, W, 3\) uint8, got \(4, 6\)"),
        (np.zeros((4, 6, 4), np.uint8), r"expected \(H, W, 3\) uint8, got \(4, 6, 4\)"),
        (np.zeros((4, 6, 3)), r"expected \(H, W, 3\) uint8, got .* float64"),
    ],
)
def test_an_image_of_another_size_or_kind_is_refused_by_name(picture, told):
    sync = synchronizer(10.0)
    with pytest.raises(ObservationError, match=f"camera 'base': {told}"):
        sync.push_image("base", 10.1, picture, 10.1)
    assert sync.observation(10.1, "").stamp == 10.0


def test_a_clock_jumping_back_clears_everything_and_starts_over():
    sync = synchronizer(*(10.0 + 0.1 * k for k in range(9)))
    with pytest.raises(ObservationError, match="nothing received yet from: camera 'base', camera 'wrist', joint"):
        sync.observation(0.8, "")
    push_all(sync, 0.9, image(1, height=8), image(0))  # even the size is new
    assert sync.observation(0.9, "").stamp == 0.9


@pytest.mark.parametrize("jumps", [1, 50])
def test_small_jumps_of_the_clock_back_leave_no_image_from_the_future(jumps):
    sync = synchronizer(100.0)
    for k in range(1, jumps + 1):
        with pytest.raises(ObservationError, match="nothing received yet"):
            sync.observation(100.0 - 0.19 * k, "")


def test_a_clear_forgets_the_equal_images_too():
    sync = synchronizer()
    for k in range(9):
        push_all(sync, 10.0 + 0.01 * k, image(0), image(0))
    sync.clear()
    push_all(sync, 10.1, image(0), image(0))
    assert sync.observation(10.1, "").stamp == 10.1


def test_nearest_is_the_closest_stamp_and_the_earlier_of_two_equally_close():
    stream: Stream[float] = Stream("test")
    for stamp in (2.5, 2.0, 2.25):
        stream.push(stamp, stamp, 3.0, 0.0)
    assert stream.stamps == [2.0, 2.25, 2.5]
    stream.push(2.94, 2.94, 2.9, max_future=0.05)  # slightly ahead of the clock is no fault
    asked = [1.0, 2.0, 2.1, 2.125, 2.2, 2.375, 2.4, 9.0]
    assert [stream.nearest(t)[1] for t in asked] == [2.0, 2.0, 2.0, 2.0, 2.25, 2.25, 2.5, 2.94]


def test_ages_are_told_of_every_stream_also_of_silent_ones():
    assert synchronizer(10.0, 10.1).ages(10.25) == pytest.approx(
        {"camera 'base'": 0.15, "camera 'wrist'": 0.15, "joint_states": 0.15, "eef_pose": 0.15}
    )
    assert set(synchronizer().ages(1.0).values()) == {math.inf}
