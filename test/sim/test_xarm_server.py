"""himoe_ros.sim.xarm_server: strangers, busy ports, clean ends. The SDK is the well-behaved client."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from xarm.wrapper import XArmAPI
from xarm_rig import ADDRESSES, KinematicPlant, Rig

from himoe_ros.core.errors import SimulationError
from himoe_ros.sim.xarm_box import XArmBox
from himoe_ros.sim.xarm_server import XArmServer


@pytest.fixture
def arm(rig: Rig) -> Iterator[XArmAPI]:
    arm = XArmAPI(rig.address, is_radian=True, forbid_uds=True)
    yield arm
    arm.disconnect()


def test_garbage_and_vanishing_clients_do_not_harm_the_others(rig, arm):
    for garbage in (b"GET / HTTP/1.1\r\n\r\n", bytes(64), b"\xff" * 5000, b"\0"):
        with socket.create_connection((rig.address, 502), timeout=1.0) as stranger:
            stranger.sendall(garbage)
            if len(garbage) > 1:
                assert stranger.recv(1) == b""  # closed
    for port in (502, 30003):
        socket.create_connection((rig.address, port), timeout=1.0).close()
    assert arm.get_state() == (0, 4)


def test_a_client_that_does_not_read_is_dropped(rig, arm):
    with socket.socket() as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        lazy.connect((rig.address, 502))
        lazy.setblocking(False)
        requests = left = bytes.fromhex("0001 0002 0001 01") * 1000
        deadline = time.monotonic() + 30.0  # s, until what the kernel keeps of both sides is full
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            while time.monotonic() < deadline:
                try:
                    left = left[lazy.send(left) :] or requests  # a request is never cut short
                except BlockingIOError:
                    time.sleep(0.001)
    assert arm.get_state() == (0, 4)


def test_a_busy_port_is_named_and_close_frees_it(rig):
    box = XArmBox(KinematicPlant(), time.monotonic())
    with pytest.raises(SimulationError, match=rf"{rig.address}:502: Address already in use.*address of its own"):
        XArmServer(box, rig.address)
    rig.server.close()
    rig.server.close()
    XArmServer(box, rig.address).close()


def test_an_address_that_is_not_ours_is_named():
    with pytest.raises(SimulationError, match=r"192\.0\.2\.1:502"):
        XArmServer(XArmBox(KinematicPlant(), time.monotonic()), "192.0.2.1")


def test_close_leaves_no_thread():
    before = set(threading.enumerate())  # threads of clients before may end at any time
    with XArmServer(XArmBox(KinematicPlant(), time.monotonic()), next(ADDRESSES)):
        (own,) = set(threading.enumerate()) - before
    assert not own.is_alive()


def test_a_port_open_to_everyone_works_with_the_unmodified_sdk(monkeypatch):
    from xarm.core.config.x_config import XCONF

    monkeypatch.setattr(XCONF.SocketConf, "TCP_CONTROL_PORT", 15502)
    address = next(ADDRESSES)
    with XArmServer(XArmBox(KinematicPlant(), time.monotonic()), address, control_port=15502):
        arm = XArmAPI(address, is_radian=True, forbid_uds=True)
        assert arm.get_state() == (0, 4)
        arm.disconnect()


def test_a_unix_socket_that_would_hijack_the_sdk_is_named_and_a_leftover_file_is_not():
    path = Path("/tmp/xarmcontroller_uds_15503")  # the SDK's naming, at a port that nobody uses
    box, address = XArmBox(KinematicPlant(), time.monotonic()), next(ADDRESSES)
    try:
        with socket.socket(socket.AF_UNIX) as hijacker:
            hijacker.bind(str(path))
            hijacker.listen()
            with pytest.raises(SimulationError, match="forbid_uds=True"):
                XArmServer(box, address, control_port=15503)
        XArmServer(box, address, control_port=15503).close()
    finally:
        path.unlink(missing_ok=True)
