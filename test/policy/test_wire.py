"""himoe_ros.policy.wire: what openpi's own client packs is read, what is packed is read by it, and nothing else is."""

from __future__ import annotations

import cv2
import msgpack
import numpy as np
import pytest
from openpi_client import msgpack_numpy

from himoe_ros.core.committed import Committed
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, ObservationError
from himoe_ros.core.observation import ActionChunk
from himoe_ros.core.unified import encode_state
from himoe_ros.policy.wire import COMMITTED, chunk_of, committed_of, observation_of, pack, read_token, request, unpack
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
ALOHA = load_embodiment("aloha", config("embodiments"))
SPACE = XARM7.action_space("end_effector")
IMAGE = np.stack(np.broadcast_arrays(np.arange(48)[:, None] * 4, np.arange(64) * 3, 90), -1).astype(np.uint8)
STATE = np.array([0.3, 0.1, 0.2, 0.1, 0.0, 0.2, 0.7])
GOOD = {
    "observation/image": IMAGE,
    "observation/wrist_image": IMAGE,
    "observation/state": STATE.astype(np.float32),
    "prompt": "lift",
}


@pytest.mark.parametrize(
    "value", [IMAGE, STATE, STATE.astype(np.float32), np.arange(6).reshape(2, 3), np.zeros((0, 7)), np.array(True)]
)
def test_arrays_cross_to_openpis_packer_and_back(value):
    for there, back in ((pack, msgpack_numpy.unpackb), (msgpack_numpy.packb, unpack)):
        got = back(there({"x": value, "n": np.float32(2.5), "s": "text"}))
        np.testing.assert_array_equal(got["x"], value)
        assert got["x"].dtype == value.dtype and got["n"] == 2.5 and got["s"] == "text"


def test_an_observation_arrives_as_it_was_sent():
    sent = observation_of(GOOD, XARM7, SPACE)
    values = encode_state(XARM7, SPACE, sent.state)[SPACE.slots]
    np.testing.assert_allclose(values, STATE, atol=1e-6)
    for jpeg, off in ((0, 0), (95, 12)):
        got = observation_of(unpack(pack(request(XARM7, values, sent, jpeg))), XARM7, SPACE)
        assert got.instruction == "lift" and set(got.images) == {"base", "left_wrist"}
        np.testing.assert_allclose(encode_state(XARM7, SPACE, got.state)[SPACE.slots], STATE, atol=1e-6)
        assert np.abs(got.images["base"].astype(int) - IMAGE).max() <= off


def test_the_state_may_be_the_unified_vector():
    unified = np.zeros(24)
    unified[SPACE.slots] = STATE
    got = observation_of({**GOOD, "observation/state": unified}, XARM7, SPACE)
    np.testing.assert_allclose(encode_state(XARM7, SPACE, got.state)[SPACE.slots], STATE)


def test_colours_of_a_jpeg_are_not_exchanged():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 250
    told = unpack(pack(request(XARM7, STATE, observation_of({**GOOD, "observation/image": red}, XARM7, SPACE), 95)))
    assert cv2.imdecode(np.frombuffer(told["observation/image"], np.uint8), 1)[0, 0, 2] > 200
    assert observation_of(told, XARM7, SPACE).images["base"][0, 0, 0] > 200


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"prompt": None}, "prompt: expected a text"),
        ({"prompt": ""}, "prompt: expected a text"),
        ({"prompt": "x" * 5000}, "of 1 to 2000 characters, got str of 5000"),
        ({"observation/state": STATE[:5]}, r"7 in the order x, y, z, .* got an array \(5,\)"),
        ({"observation/state": np.full(7, np.nan)}, "expected finite numbers"),
        ({"observation/state": [0.0] * 7}, "expected finite numbers.*got list"),
        ({"observation/image": IMAGE[..., :1]}, r"expected \(H, W, 3\) uint8"),
        ({"observation/image": IMAGE.astype(np.float32)}, r"expected \(H, W, 3\) uint8.*float32"),
        ({"observation/image": np.zeros((1, 5000, 3), np.uint8)}, "of at most 4096 px"),
        ({"observation/wrist_image": b"no picture"}, "or JPEG bytes, got NoneType"),
    ],
)
def test_a_wrong_value_is_named_with_its_key(change, told):
    with pytest.raises(ObservationError, match=told):
        observation_of({**GOOD, **change}, XARM7, SPACE)


def test_a_missing_key_is_named():
    with pytest.raises(ObservationError, match=r"missing are \['observation/wrist_image2'\]"):
        observation_of(GOOD, ALOHA, ALOHA.action_space("joints"))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"hello",
        msgpack.packb([1, 2]),
        msgpack.packb({"x": {b"__ndarray__": True, b"data": b"12", b"dtype": "<f8", b"shape": [1]}}),
        msgpack.packb({"x": {b"__ndarray__": True, b"data": b"", b"dtype": "|O", b"shape": [0]}}),
        msgpack.packb({"x": {b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [-1, 0]}}),
        msgpack.packb({"x": {b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [2**40, 2**40, 0, 1.5]}}),
        msgpack.packb({"x": {b"__npgeneric__": True, b"data": "rm", b"dtype": "<f8"}}),
        b"\x91" * 100_000,
    ],
    ids=range(10),
)
def test_what_is_no_map_of_numbers_and_texts_is_refused(data):
    with pytest.raises(ObservationError, match="expected a msgpack map"):
        unpack(data)


def test_a_servers_answer_becomes_a_chunk_or_is_refused():
    values = np.random.default_rng(0).normal(size=(5, 7))
    chunk = chunk_of({"actions": values}, SPACE, 3.0)
    assert chunk.stamp == 3.0 and chunk.names == SPACE.names and chunk.times[0] == pytest.approx(1 / SPACE.rate_hz)
    np.testing.assert_array_equal(chunk.values, values)
    np.testing.assert_array_equal(chunk_of({"actions": np.zeros((5, 32))}, SPACE, 0.0).values, np.zeros((5, 7)))
    for bad in ({}, {"actions": [[1.0]]}, {"actions": np.zeros(7)}, {"actions": np.zeros((0, 7))}):
        with pytest.raises(ObservationError, match="expected 'actions'"):
            chunk_of(bad, SPACE, 0.0)
    with pytest.raises(ObservationError, match="expected 7 values a step, x, y, .* the server sent 6"):
        chunk_of({"actions": np.zeros((5, 6))}, SPACE, 0.0)


PLAN = {"values": np.full((4, 7), 0.1), "times": np.array([-0.1, 0.0, 0.1, 0.2]), "until": 0.05}


def test_what_the_robot_goes_on_doing_arrives_by_the_clock_of_the_observation():
    seen = observation_of(GOOD, XARM7, SPACE)
    seen = type(seen)(50.0, seen.images, seen.state, seen.instruction)
    sent = Committed(ActionChunk(49.5, SPACE.names, PLAN["values"], np.array([0.4, 0.5, 0.6, 0.7])), until=50.05)
    got = committed_of(unpack(pack(request(XARM7, STATE, seen, committed=sent))), SPACE)
    assert got.plan.stamp == 0.0 and got.until == pytest.approx(0.05)
    np.testing.assert_allclose(got.plan.times, PLAN["times"], atol=1e-12)
    np.testing.assert_allclose(got.plan.values, PLAN["values"])
    assert committed_of(unpack(pack(request(XARM7, STATE, seen))), SPACE) is None


@pytest.mark.parametrize(
    "change",
    [
        {"values": np.zeros((4, 6))},
        {"values": np.full((4, 7), np.nan)},
        {"values": "far"},
        {"times": np.array([0.0, 0.0, 0.1, 0.2])},
        {"times": np.zeros(0), "values": np.zeros((0, 7))},
        {"until": 0.2},
        {"until": float("nan")},
        {"until": None},
    ],
)
def test_a_plan_that_binds_nothing_or_cannot_be_is_refused(change):
    with pytest.raises(ObservationError, match="himoe/committed: expected a map of values"):
        committed_of({COMMITTED: {**PLAN, **change}}, SPACE)
    with pytest.raises(ObservationError, match="himoe/committed"):
        committed_of({COMMITTED: [1, 2]}, SPACE)


def test_a_token_is_read_or_its_file_is_named(tmp_path):
    assert read_token("") == ""
    (tmp_path / "token").write_text(" abc\n")
    assert read_token(tmp_path / "token") == "abc"
    (tmp_path / "none").write_text("\n")
    for name in ("none", "missing"):
        with pytest.raises(ConfigError, match=name):
            read_token(tmp_path / name)
