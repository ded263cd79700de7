"""Listening where the SDK will look, and nowhere that it would not."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from pathlib import Path

from ..core.errors import SimulationError


def refuse_hijackers(address: str, ports: Iterable[int]) -> None:
    """The SDK prefers a unix socket named after the port alone, whatever address it was given.

    Raises:
        SimulationError: a program listens on such a socket.
    """
    for port in ports:
        path = Path(f"/tmp/xarmcontroller_uds_{port}")
        if path.exists() and _answers(path):
            raise SimulationError(
                f"expected the xArm SDK to reach {address}:{port}, but it would go to the program that "
                f"listens on {path}. End that program, or connect with XArmAPI(address, forbid_uds=True)"
            )


def listen(address: str, port: int) -> socket.socket:
    """A socket that listens there, not blocking.

    Raises:
        SimulationError: the address or the port cannot be had.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise SimulationError(f"cannot listen on {address}:{port}: {error.strerror}. {_advice(error)}") from error
    listener.setblocking(False)
    return listener


def _advice(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "Another box or controller runs there: end it, or give this one an address of its own, such as 127.0.0.3"
    if error.errno in (errno.EACCES, errno.EPERM):
        return (
            "Only root may: allow it once with `sudo sysctl net.ipv4.ip_unprivileged_port_start=502`, or choose "
            "control_port above 1023 and set XCONF.SocketConf.TCP_CONTROL_PORT of the SDK to it"
        )
    return "Choose an address of this machine, such as 127.0.0.2"


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except OSError:  # a leftover file; the SDK, too, then falls back to TCP
            return False
    return True
