"""One connection to an xArm's controller through the vendor's SDK, on which no call waits for long.

The SDK waits 2 s for an answer, 200 s for the first one, and notices a closed socket after half a
second at best. Here an answer may take `PATIENCE_S`, asked for again every `ASK_AGAIN_S`: the
controller is known to be silent for 190 ms at times, while a closed socket shows at the second asking.
Every request of ours may be repeated safely: a servo target is a place, not a step.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..core.errors import DriverError
from .xarm_codes import NO_ANSWER, NOT_CONNECTED, NOT_SENT, OK, call_words
from .xarm_sdk import XCONF, XArmAPI

CONTROL_PORT = 502
ASK_AGAIN_S = 0.08
PATIENCE_S = 0.3  # without an answer for so long, a connection counts as lost
SETTING_S = 2.0  # the vendor's own patience, for requests that release brakes or write to the tool
CONNECT_S = 4.0
DISCONNECT_S = 0.3


class Refused(DriverError):
    """The controller, or the SDK, refused a call with this code."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


class XArmLink:
    """A connection that is open, lost (until opened again), or closed. Calls may come from several threads."""

    def __init__(self, address: str) -> None:
        """
        Args:
            address: of the controller box, host or host:port.
        """
        self.address = address
        self._api: XArmAPI | None = None
        self._lost = "it was never opened"

    @property
    def api(self) -> XArmAPI:
        """The SDK's object, for what it knows from reports.

        Raises:
            DriverError: the connection is lost or closed.
        """
        if self._api is not None and not self._lost and not self._api.connected:
            self._lost = "the controller closed it"
        if self._api is None or self._lost:
            raise DriverError(
                f"the connection to the xArm at {self.address} is lost: {self._lost}. "
                "Check its power and cable, then arm again"
            )
        return self._api

    @property
    def alive(self) -> bool:
        """Whether the connection is open, as far as known."""
        return self._api is not None and not self._lost and bool(self._api.connected)

    def open(self) -> None:
        """Connect anew. Moves nothing and changes no setting of the robot."""
        self.close()
        host, _, port = self.address.partition(":")
        try:
            # The SDK takes a host name for the name of a serial port, and has its TCP port built in.
            host = socket.gethostbyname(host)
            XCONF.SocketConf.TCP_CONTROL_PORT = int(port or CONTROL_PORT)
        except (OSError, ValueError) as error:
            raise DriverError(f"'{self.address}' is no address of an xArm: {error}. Give host or host:port") from error
        api = XArmAPI(
            host,
            is_radian=True,
            do_not_open=True,
            report_type="rich",
            forbid_uds=True,  # a leftover socket file would lead elsewhere
            timed_comm=False,  # a thread that keeps an idle connection alive; ours is never idle
            check_is_pause=False,  # else some calls wait for the end of a pause, without limit
            check_simulation_mode=False,  # else a damaged report makes calls succeed that were never sent
            baud_checkset=False,  # else reading the gripper may reprogram the tool and clear errors
        )
        failure = _connect(api)
        if failure:
            _disconnect(api)
            raise DriverError(
                f"no xArm controller answers at {self.address}: {failure}. "
                "Check the address, the cable and that the control box is on"
            )
        api.set_timeout(ASK_AGAIN_S)
        self._api, self._lost = api, ""

    def close(self) -> None:
        """Disconnect; safe to call at any time."""
        api, self._api = self._api, None
        self._lost = "it was closed"
        if api is not None:
            _disconnect(api)

    def ask(self, call: str, *arguments: Any, allowed: tuple[int, ...] = (OK,), **options: Any) -> Any:
        """Call a method of the SDK by name.

        Args:
            call: name of the method; it returns a code, or a code and a value.
            allowed: codes that count as success.

        Returns:
            The value, None where there is none.

        Raises:
            DriverError: any other code, or no answer within `PATIENCE_S`.
        """
        method = getattr(self.api, call)
        deadline = time.monotonic() + PATIENCE_S
        while True:
            code, value = _answer(method(*arguments, **options))
            if code in allowed:
                return value
            if code in (NOT_CONNECTED, NOT_SENT):
                self._lose("the controller closed it")
            elif code != NO_ANSWER:
                raise Refused(f"xArm at {self.address}: {call}: {call_words(code)}", code)
            elif time.monotonic() > deadline:
                self._lose(f"no answer for {PATIENCE_S:g} s")

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within, answers may take as long as the vendor allows."""
        self.api.set_timeout(SETTING_S)
        try:
            yield
        finally:
            if self._api is not None:
                self._api.set_timeout(ASK_AGAIN_S)

    def _lose(self, reason: str) -> None:
        self._lost = self._lost or reason
        raise DriverError(
            f"the connection to the xArm at {self.address} is lost: {self._lost}. "
            "Check its power and cable, then arm again"
        )


def _answer(returned: Any) -> tuple[int, Any]:
    if isinstance(returned, (tuple, list)):
        return int(returned[0]), returned[1] if len(returned) > 1 else None
    return int(returned), None


def _connect(api: XArmAPI) -> str:
    """Let the SDK connect within `CONNECT_S`.

    Returns:
        What went wrong, or "".
    """
    failures: list[str] = []

    def attempt() -> None:
        try:
            api.connect()
        except Exception as error:  # the SDK raises a bare Exception
            failures.append(str(error))

    # On a thread of its own: at a box that accepts and never answers the SDK would wait for minutes.
    # Disconnecting, which the caller does then, ends it.
    attempting = threading.Thread(target=attempt, name="xarm connect", daemon=True)
    attempting.start()
    attempting.join(CONNECT_S)
    if attempting.is_alive():
        return f"it accepted the connection, but no answer came within {CONNECT_S:g} s"
    return failures[0] if failures else "" if api.connected else "the connection was closed at once"


def _disconnect(api: XArmAPI) -> None:
    """Close the sockets at once, and give the SDK's threads `DISCONNECT_S` to end.

    Now and then its report thread takes the end for a failure and sleeps for 2 s before it looks again;
    it ends by itself then.
    """
    ending = threading.Thread(target=api.disconnect, name="xarm disconnect", daemon=True)
    ending.start()
    ending.join(DISCONNECT_S)
