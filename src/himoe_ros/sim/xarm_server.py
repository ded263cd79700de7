"""The network side of the simulated controller box: port 502 and the report ports, on one thread.

The SDK has its ports built in, so boxes side by side need addresses of their own: 127.0.0.2, 127.0.0.3, ...
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ..core.errors import SimulationError
from .xarm_box import XArmBox
from .xarm_listening import listen, refuse_hijackers
from .xarm_protocol import (
    CONTROL_PORT,
    HEARTBEAT,
    STANDARD_MODBUS,
    ProtocolError,
    encode_illegal_function,
    encode_reply,
    split_requests,
)
from .xarm_report import (
    NORMAL_PORT,
    REAL_PORT,
    RICH_PORT,
    Report,
    encode_normal,
    encode_real,
    encode_rich,
)

_log = logging.getLogger(__name__)

_UNREAD_BYTES = 65536  # a client that leaves this much unread is dropped
_OBEYED_WITHIN_S = 1.0  # unless the server is being closed
_REPORTS: dict[int, tuple[float, Callable[[Report], bytes]]] = {  # port -> period, s, and encoder
    NORMAL_PORT: (0.2, encode_normal),
    RICH_PORT: (0.2, encode_rich),
    REAL_PORT: (0.01, encode_real),
}


@dataclass(eq=False)
class _Client:
    """One connection: what it sent and we did not use yet, what we owe it, when its next report is due (s)."""

    socket: socket.socket
    port: int
    inbox: bytes = b""
    outbox: bytearray = field(default_factory=bytearray)
    due: float = 0.0


class XArmServer:
    """Serves one box to any number of clients until it is closed.

    Args:
        box: what answers.
        address: IPv4 address to listen on, one for each box.
        clock: s; the clock on which the box's `tick` is called too.
        control_port: 502, the one the SDK uses. Where only root may listen there, choose another and set
            `xarm.core.config.x_config.XCONF.SocketConf.TCP_CONTROL_PORT` to it before connecting.

    Raises:
        SimulationError: the address or a port cannot be had, or the SDK would be led elsewhere.
    """

    def __init__(
        self,
        box: XArmBox,
        address: str,
        clock: Callable[[], float] = time.monotonic,
        control_port: int = CONTROL_PORT,
    ) -> None:
        self._box = box
        self._address = address
        self._clock = clock
        self._control_port = control_port
        self._clients: set[_Client] = set()
        self._selector = selectors.DefaultSelector()
        self._listeners: list[socket.socket] = []
        self._closing = False
        self._orders: deque[tuple[Callable[[], None], threading.Event]] = deque()
        self._stalled_until = self._silent_until = self._refusing_until = 0.0  # s, time.monotonic; see xarm_faults
        self._waiting = False  # requests may stand in inboxes
        self._spoiled = 0  # reports still to garble
        refuse_hijackers(address, (control_port, *_REPORTS))
        try:
            self._listen()
        except SimulationError:
            self._close_sockets()
            raise
        self._alarm, self._wake = socket.socketpair()
        self._selector.register(self._alarm, selectors.EVENT_READ, None)
        self._thread = threading.Thread(target=self._serve, name=f"xarm-box-{address}", daemon=True)
        self._thread.start()

    def __enter__(self) -> XArmServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect every client and end the thread. May be called twice."""
        if self._closing:
            return
        self._closing = True
        self._wake.send(b"\0")
        self._thread.join()
        self._close_sockets()
        self._wake.close()
        self._alarm.close()

    def stall(self, seconds: float) -> None:
        """Let requests wait for so many s; then they are answered in order."""
        self._stalled_until = time.monotonic() + seconds
        self._waiting = True
        self._order(lambda: None)

    def silence(self, seconds: float) -> None:
        """Send nothing for so many s; then requests are answered in order."""
        self._silent_until = time.monotonic() + seconds
        self._waiting = True
        self._order(lambda: None)

    def drop(self) -> None:
        """Close every connection."""
        self._order(self._drop_all)

    def refuse(self, seconds: float) -> None:
        """Close every connection and accept none for so many s."""
        until = time.monotonic() + seconds
        self._order(lambda: self._refuse_until(until))

    def garble(self, count: int) -> None:
        """Cut short, or scramble, the next so many reports."""
        self._spoiled = count

    def _listen(self) -> None:
        for port in (self._control_port, *_REPORTS):
            listener = listen(self._address, port)
            self._listeners.append(listener)
            self._selector.register(listener, selectors.EVENT_READ, port)

    def _close_sockets(self) -> None:
        self._drop_all()
        for listener in self._listeners:
            listener.close()
        self._selector.close()

    def _serve(self) -> None:
        while not self._closing:
            for key, events in self._selector.select(self._time_to_wake()):
                if isinstance(key.data, _Client):
                    self._attend(key.data, events)
                elif key.fileobj is self._alarm:
                    self._alarm.recv(4096)
                elif isinstance(key.fileobj, socket.socket):
                    self._welcome(key.fileobj, key.data)
            self._obey()
            self._send_reports()

    def _time_to_wake(self) -> float | None:
        due = [client.due for client in self._clients if client.port in _REPORTS]
        now = time.monotonic()
        due += [until for until in (self._stalled_until, self._silent_until, self._refusing_until) if until > now]
        return max(0.0, min(due) - now) if due else None

    def _order(self, order: Callable[[], None]) -> None:
        """Have the server's own thread do something, and wait until it has: no request is answered in between."""
        obeyed = threading.Event()
        self._orders.append((order, obeyed))
        self._wake.send(b"\0")
        obeyed.wait(_OBEYED_WITHIN_S)

    def _obey(self) -> None:
        while self._orders:
            order, obeyed = self._orders.popleft()
            order()
            obeyed.set()
        if self._waiting and time.monotonic() >= max(self._stalled_until, self._silent_until):
            self._waiting = False
            for client in list(self._clients):
                if client.port == self._control_port and client.inbox:
                    self._answer(client, b"")
        if not self._listeners and time.monotonic() >= self._refusing_until:
            self._listen()

    def _refuse_until(self, time_s: float) -> None:
        self._refusing_until = time_s
        self._drop_all()
        for listener in self._listeners:
            self._selector.unregister(listener)
            listener.close()
        self._listeners.clear()

    def _drop_all(self) -> None:
        for client in list(self._clients):
            self._drop(client)

    def _welcome(self, listener: socket.socket, port: int) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # gone again before we came
            return
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = _Client(connection, port, due=time.monotonic())
        self._clients.add(client)
        self._selector.register(connection, selectors.EVENT_READ, client)

    def _attend(self, client: _Client, events: int) -> None:
        if events & selectors.EVENT_WRITE:
            self._flush(client)
        if client not in self._clients or not events & selectors.EVENT_READ:
            return
        try:
            data = client.socket.recv(65536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(client)
        elif client.port == self._control_port:
            self._answer(client, data)

    def _answer(self, client: _Client, data: bytes) -> None:
        if time.monotonic() < max(self._stalled_until, self._silent_until):
            client.inbox += data
            return
        try:
            requests, client.inbox = split_requests(client.inbox + data)
        except ProtocolError as error:
            _log.warning("xArm box %s: closing a connection that does not speak the protocol: %s", self._address, error)
            self._drop(client)
            return
        for request in requests:
            if request.protocol == HEARTBEAT:
                continue
            if request.protocol == STANDARD_MODBUS:
                client.outbox += encode_illegal_function(request)
                continue
            status, payload = self._box.handle(request.function, request.payload, self._clock())
            client.outbox += encode_reply(request, status, payload)
        self._flush(client)

    def _send_reports(self) -> None:
        now = time.monotonic()
        due = [client for client in self._clients if client.port in _REPORTS and client.due <= now]
        if not due or now < self._silent_until:
            for client in due:
                client.due = now + _REPORTS[client.port][0]
            return
        report = self._box.report()
        frames = {port: _REPORTS[port][1](report) for port in {client.port for client in due}}
        for client in due:
            period = _REPORTS[client.port][0]
            client.due = max(client.due + period, now)  # after a stall, go on in step instead of catching up
            client.outbox += self._spoil(frames[client.port])
            self._flush(client)

    def _spoil(self, frame: bytes) -> bytes:
        if self._spoiled <= 0:
            return frame
        self._spoiled -= 1
        return frame[: len(frame) // 2] if self._spoiled % 2 else frame[:4] + bytes([0xFF]) * (len(frame) - 4)

    def _flush(self, client: _Client) -> None:
        try:
            if client.outbox:
                sent = client.socket.send(client.outbox)
                del client.outbox[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._drop(client)
            return
        if len(client.outbox) > _UNREAD_BYTES:
            _log.warning("xArm box %s: dropping a client of port %d that does not read", self._address, client.port)
            self._drop(client)
            return
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if client.outbox else 0)
        if self._selector.get_key(client.socket).events != events:
            self._selector.modify(client.socket, events, client)

    def _drop(self, client: _Client) -> None:
        self._clients.discard(client)
        self._selector.unregister(client.socket)
        client.socket.close()
