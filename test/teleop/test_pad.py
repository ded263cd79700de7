"""Gamepads and 3D mice, by recorded events."""

from __future__ import annotations

import numpy as np
import pytest
import yaml

from himoe_ros.core.errors import ConfigError
from himoe_ros.resources import config
from himoe_ros.teleop.pad import ABS, CODES, DROPPED, EVENT, KEY, REL, SYN, Pad, find_device, load_pad


def event(kind: int, code: str, value: int) -> bytes:
    return EVENT.pack(0, 0, kind, CODES[code], value)


@pytest.fixture
def gamepad():
    return Pad(load_pad(config("teleop") / "gamepad.yaml"))


def feed(pad: Pad, *events: bytes, now: float = 1.0) -> list[str]:
    return list(pad.feed(b"".join(events), now))


def test_nothing_moves_unless_the_button_is_held(gamepad):
    assert feed(gamepad, event(ABS, "ABS_Y", -32768)) == []
    assert not gamepad.share(1.0).any()
    feed(gamepad, event(KEY, "BTN_TR", 1))
    assert gamepad.share(1.0) == pytest.approx([0.8, 0, 0, 0, 0, 0]), "the stick away from you is forward"
    feed(gamepad, event(KEY, "BTN_TR", 0))
    assert not gamepad.share(1.0).any()


def test_a_stick_near_its_middle_is_at_rest_and_its_way_has_no_jump(gamepad):
    feed(gamepad, event(KEY, "BTN_TR", 1))
    ways = []
    for value in range(-32768, 32768, 64):
        feed(gamepad, event(ABS, "ABS_X", value))
        ways.append(gamepad.share(1.0)[1])
    assert ways[0] == pytest.approx(0.8) and ways[-1] == pytest.approx(-0.8, abs=0.01)
    assert np.abs(np.diff(ways)).max() < 0.005
    assert np.mean(np.array(ways) == 0) == pytest.approx(0.15, abs=0.01)


def test_buttons_are_orders_once_however_the_bytes_are_cut(gamepad):
    data = (
        event(KEY, "BTN_SOUTH", 1) + event(KEY, "BTN_SOUTH", 2) + event(KEY, "BTN_SOUTH", 0) + event(KEY, "BTN_EAST", 1)
    )
    told = [order for i in range(len(data)) for order in gamepad.feed(data[i : i + 1], 1.0)]
    assert told == ["gripper", "stop"]


def test_events_that_the_kernel_dropped_let_everything_go(gamepad):
    """A release may be among them."""
    feed(gamepad, event(KEY, "BTN_TR", 1), event(ABS, "ABS_Y", -32768))
    assert gamepad.share(1.0).any()
    feed(gamepad, EVENT.pack(0, 0, SYN, DROPPED, 0))
    assert not gamepad.share(1.0).any()


def test_a_mouse_that_says_nothing_has_been_let_go():
    mouse = Pad(load_pad(config("teleop") / "spacemouse.yaml"))
    feed(mouse, event(REL, "REL_Y", -350), event(REL, "REL_RZ", 175), now=1.0)
    assert mouse.share(1.1)[0] == pytest.approx(0.8) and mouse.share(1.1)[5] < 0
    assert not mouse.share(1.2).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"axes": {"w": {"code": "ABS_X", "range": [0, 1]}}}, "axes must be among"),
        ({"axes": {"x": {"code": "ABS_Q", "range": [0, 1]}}}, "expected one of.*ABS_X"),
        ({"axes": {"x": {"code": "ABS_X", "range": [1, 0]}}}, "lower < upper"),
        ({"dead_zone": 1.0}, "dead_zone must be a share >= 0 and < 1, got 1"),
        ({"buttons": {"BTN_SOUTH": "explode"}}, "must be one of.*gripper.*got 'explode'"),
    ],
)
def test_a_file_that_cannot_be_is_told_with_its_place(tmp_path, change, words):
    data = yaml.safe_load((config("teleop") / "gamepad.yaml").read_text()) | change
    (tmp_path / "pad.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(ConfigError, match=words):
        load_pad(tmp_path / "pad.yaml")


def test_a_device_that_is_not_there_lists_those_that_are():
    with pytest.raises(ConfigError, match="no input device has 'NoSuchPad' in its name; there are:"):
        find_device("NoSuchPad")
