"""himoe_ros.sim.xarm_protocol, xarm_report and xarm_box: bytes and behaviour with injected time, no sockets."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest
from xarm_rig import START, KinematicPlant

from himoe_ros.sim import xarm_report
from himoe_ros.sim.xarm_box import XArmBox
from himoe_ros.sim.xarm_protocol import (
    Function,
    ProtocolError,
    Request,
    Status,
    encode_reply,
    encode_request,
    pack_floats,
    split_requests,
    unpack_floats,
)

TICK = 0.004


class Bench:
    """A box, its plant, and the time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.plant = KinematicPlant()
        self.box = XArmBox(self.plant, self.now)

    def send(self, function: int, payload: bytes = b"") -> tuple[Status, bytes]:
        return self.box.handle(function, payload, self.now)

    def run(self, seconds: float) -> list[np.ndarray]:
        """Let time pass; returns the joints at each tick."""
        trail = []
        for _ in range(round(seconds / TICK)):
            self.now += TICK
            self.plant.step(TICK)
            self.box.tick(self.now)
            trail.append(self.plant.joint_positions.copy())
        return trail

    def arm(self, mode: int) -> None:
        for function, payload in (
            (Function.CLEAN_ERROR, b""),
            (Function.MOTION_ENABLE, b"\x08\x01"),
            (Function.SET_MODE, bytes([mode, 0])),
            (Function.SET_STATE, b"\0"),
        ):
            self.send(function, payload)

    def state(self) -> int:
        return self.send(Function.GET_STATE)[1][0]

    def error(self) -> int:
        return self.send(Function.GET_ERROR)[1][0]

    def servo(self, joints: np.ndarray) -> Status:
        return self.send(Function.SERVO_JOINT, pack_floats([*joints, 0.35, 8.7, 0.0]))[0]

    def move(self, joints: np.ndarray, speed: float = 1.0, acceleration: float = 10.0) -> Status:
        return self.send(Function.MOVE_JOINT, pack_floats([*joints, speed, acceleration, 0.0]))[0]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def offset(joint: int, angle: float) -> np.ndarray:
    return START + angle * np.eye(7)[joint - 1]


def test_requests_survive_any_fragmentation():
    requests = [Request(i, 3, Function.SERVO_JOINT, pack_floats(range(10))) for i in range(3)]
    stream = b"".join(map(encode_request, requests))
    found, rest = [], b""
    for byte in stream:
        more, rest = split_requests(rest + bytes([byte]))
        found += more
    assert found == requests and rest == b""


@pytest.mark.parametrize("garbage", [b"GET / HTTP/1.1\r\n", b"\xff" * 40, b"\0\1\0\3\0\0\0\0", b"\0\1\0\3\xff\xff\0\0"])
def test_garbage_is_recognised(garbage):
    with pytest.raises(ProtocolError, match="expected protocol 0-3"):
        split_requests(garbage)


def test_a_reply_repeats_the_header_and_carries_the_status():
    reply = encode_reply(Request(0x1234, 3, 13, b""), Status.ERROR, b"\4")
    assert reply == bytes.fromhex("1234 0003 0003 0d 40 04")


def test_a_short_payload_is_named():
    with pytest.raises(ProtocolError, match="at least 28 bytes, got 3"):
        unpack_floats(b"abc", 7)


def test_report_frames_have_the_lengths_the_sdk_expects(bench):
    report = bench.box.report()
    for encode, length in (
        (xarm_report.encode_normal, 145),
        (xarm_report.encode_rich, 574),
        (xarm_report.encode_real, 135),
    ):
        frame = encode(report)
        assert len(frame) == length == struct.unpack_from(">I", frame)[0]


def test_it_wakes_stopped_and_limp_and_arms_in_the_known_order(bench):
    assert bench.state() == 4
    assert bench.send(Function.SET_STATE, b"\0")[0] & Status.NOT_READY
    bench.arm(1)
    assert bench.state() == 2
    assert bench.send(Function.SET_MODE, b"\0\0")[0] & Status.NOT_READY  # a new mode wants a new set_state(0)
    assert bench.state() == 5


def test_refusals_say_why(bench):
    assert bench.servo(START) == Status.NOT_READY
    bench.arm(0)
    assert bench.servo(START) == Status.INVALID
    assert bench.send(Function.SET_MODE, b"\2\0")[0] & Status.INVALID
    bench.arm(1)
    assert bench.move(START) == Status.INVALID
    assert bench.servo(np.full(7, math.nan)) == Status.INVALID
    assert bench.error() == 0


def test_a_planned_move_keeps_speed_and_acceleration_and_ends_exactly(bench):
    bench.arm(0)
    goal = offset(1, 0.8)
    assert bench.move(goal, speed=1.0, acceleration=5.0) == Status.OK
    assert bench.state() == 1 and bench.send(Function.GET_COMMAND_COUNT)[1] == b"\0\1"
    commanded = []
    for _ in range(round(1.3 / TICK)):
        bench.run(TICK)
        commanded.append(bench.plant.target[0])
    speed = np.diff(commanded) / TICK
    assert np.max(speed) == pytest.approx(1.0, abs=1e-6)
    assert np.max(np.abs(np.diff(speed))) / TICK < 5.0 * 1.001
    assert bench.plant.target == pytest.approx(goal, abs=1e-7)  # float32 on the wire
    assert bench.state() == 2


def test_moves_queue_pause_and_stop(bench):
    bench.arm(0)
    bench.move(offset(1, 0.5))
    bench.move(offset(1, 0.0))
    bench.run(0.2)
    assert bench.send(Function.GET_COMMAND_COUNT)[1] == b"\0\2"
    bench.send(Function.SET_STATE, b"\3")
    bench.run(0.5)
    paused = bench.run(0.2)
    assert bench.state() == 3 and np.ptp(paused, axis=0).max() < 1e-4
    bench.send(Function.SET_STATE, b"\0")
    bench.run(2.0)
    assert bench.state() == 2 and bench.plant.joint_positions == pytest.approx(START, abs=1e-3)
    bench.move(offset(1, 0.5))
    bench.run(0.2)
    bench.send(Function.SET_STATE, b"\4")
    bench.run(TICK)
    bench.send(Function.SET_STATE, b"\0")
    bench.run(0.5)
    assert bench.state() == 2 and bench.plant.joint_positions[0] < 0.3  # a stopped move does not resume


def test_an_infinite_joint_stays_where_it_is(bench):
    bench.arm(0)
    goal = np.full(7, math.inf)
    goal[1] = 0.0
    bench.move(goal)
    bench.run(1.0)
    assert bench.plant.target == pytest.approx(np.where(np.isinf(goal), START, goal), abs=1e-9)


def test_servo_goes_to_the_latest_command_at_once(bench):
    bench.arm(1)
    bench.servo(offset(7, -0.03))
    bench.servo(offset(7, 0.03))
    bench.run(0.1)
    assert bench.plant.joint_positions == pytest.approx(offset(7, 0.03), abs=1e-4)
    assert bench.error() == 0


def test_a_jump_of_a_joint_trips_24_and_holds(bench):
    bench.arm(1)
    assert bench.servo(offset(7, 0.2)) & Status.ERROR
    assert bench.error() == 24 and bench.state() == 4
    bench.run(0.2)
    assert bench.plant.joint_positions == pytest.approx(START, abs=1e-6)
    _, info = bench.send(Function.GET_COMMON_INFO, bytes([104]))
    assert info[0] == 7 and unpack_floats(info, 1, 1)[0] == pytest.approx(10.0, rel=1e-5)


def test_a_fast_stream_of_a_far_tool_trips_60_and_a_slow_one_does_not(bench):
    bench.arm(0)
    stretched = np.array([0.0, 1.4, 0.0, 2.8, 0.0, 0.4, 0.0])  # the flange 0.77 m from the axis of joint 1
    bench.move(stretched, speed=3.0)
    bench.run(2.0)
    bench.arm(1)
    for speed, expected in ((1.0, 0), (2.5, 60)):
        q = bench.plant.target.copy()
        for _ in range(30):
            q[0] += speed * 0.012
            bench.servo(q)
            bench.run(0.012)
        assert bench.error() == expected


def test_late_commands_in_quick_succession_do_not_trip(bench):
    bench.arm(1)
    for k in range(0, 60, 2):  # 100 Hz at 1.5 rad/s on average, but in pairs
        bench.servo(offset(7, 0.015 * k))
        bench.servo(offset(7, 0.015 * (k + 1)))
        bench.run(0.02)
    assert bench.error() == 0


def test_joint_limits_trip_23_in_the_box_too(bench):
    bench.arm(1)
    assert bench.servo(offset(2, 3.0)) & Status.ERROR
    assert bench.error() == 23
    bench.arm(0)
    assert bench.move(offset(4, -3.0)) & Status.ERROR
    assert bench.error() == 23


def test_an_emergency_stop_cuts_the_motors_and_rearms(bench):
    bench.arm(1)
    bench.box.trip(1)
    assert bench.error() == 1 and bench.box.report().enabled == 0
    bench.send(Function.SET_STATE, b"\0")
    assert bench.state() == 4
    bench.arm(1)
    assert bench.servo(START) == Status.OK


def test_unknown_functions_and_short_payloads_are_answered(bench):
    for function in set(range(256)):
        status, payload = bench.send(function)
        assert isinstance(payload, bytes) and isinstance(status, Status)
    assert bench.send(99)[0] & Status.INVALID and bench.send(Function.GET_FK)[0] & Status.INVALID


def test_the_gripper_moves_at_its_speed(bench):
    def write(address: int, *values: int) -> None:
        body = struct.pack(f">BBHHB{len(values)}H", 8, 0x10, address, len(values), 2 * len(values), *values)
        assert bench.send(Function.TOOL_RS485, b"\x09" + body)[1] == b"\x09" + body[:6]

    def position() -> int:
        answer = bench.send(Function.TOOL_RS485, bytes.fromhex("09 08 03 0702 0002"))[1]
        return struct.unpack(">i", answer[4:])[0]

    write(0x0700, 0, 850)
    bench.run(0.5)
    assert position() == 425  # not enabled
    write(0x0100, 1)
    write(0x0303, 2500)
    write(0x0700, 0, 850)
    bench.run(0.4)
    assert position() == pytest.approx(425 + 200, abs=15)
    bench.run(1.0)
    assert position() == 850 and bench.plant.gripper_opening == pytest.approx(1.0, abs=1e-3)
