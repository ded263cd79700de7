"""A policy for clients in other processes or machines, over openpi's websocket protocol; clients are not trusted."""

from __future__ import annotations

import asyncio
import hmac
import http
import logging
import ssl
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from statistics import median
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from ..core.committed import Committed
from ..core.embodiment import Embodiment
from ..core.errors import ConfigError, HimoeError
from ..core.fingerprint import fingerprint
from ..core.observation import ActionChunk, Observation
from .local import LocalPolicy
from .wire import ACTIONS, committed_of, observation_of, pack, unpack

LOG = logging.getLogger("himoe serve")
DRAIN_S = 10.0  # for what is being answered when the server ends
RECENT = 1000  # answers that the metrics look back on
HEALTH, METRICS = "/healthz", "/metrics"


@dataclass(frozen=True)
class Terms:
    """How a policy is served.

    Attributes:
        host, port: where; 0 is any free port.
        token: that clients must send; "" for none, which only this machine itself may be served with.
        certificate, key: PEM files, for wss; None without.
        largest_bytes: of a message.
        clients: at a time.
        together: observations that are planned from at once, at most.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str = ""
    certificate: Path | None = None
    key: Path | None = None
    largest_bytes: int = 16 << 20
    clients: int = 16
    together: int = 4


@dataclass
class _Asked:
    observation: Observation
    committed: Committed | None
    answer: asyncio.Future[ActionChunk]


class PolicyServer:
    """Answers each client in turn: whoever waits longest is next, and those that wait together are planned together."""

    def __init__(self, policy: LocalPolicy, embodiment: Embodiment, terms: Terms) -> None:
        """
        Raises:
            ConfigError: other machines would be served without a token, or the certificate cannot be read.
        """
        if not terms.token and not _loopback(terms.host):
            raise ConfigError(f"serving at {terms.host} lets other machines in: give a --token-file, or use 127.0.0.1")
        self._policy, self._embodiment, self._terms = policy, embodiment, terms
        self._secure = _context(terms)
        self._waiting: asyncio.Queue[_Asked] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="policy")
        self._clients = self._pending = 0
        self._draining = False
        self._counts = {"answers": 0, "refused": 0, "errors": 0}
        self._took: deque[float] = deque(maxlen=RECENT)  # s, from observation to answer
        self._together: deque[int] = deque(maxlen=RECENT)
        self.port = terms.port

    async def run(self, ending: asyncio.Event, ready: Callable[[], None] = lambda: None) -> None:
        """Serve until `ending` is set; what is being answered then is still answered.

        Raises:
            ConfigError: the address is not free.
        """
        terms = self._terms
        try:
            server = await serve(
                self._serve_one,
                terms.host,
                terms.port,
                ssl=self._secure,
                process_request=self._admit,
                compression=None,
                max_size=terms.largest_bytes,
                max_queue=1,
                server_header=None,
            )
        except OSError as error:
            raise ConfigError(
                f"cannot serve at {terms.host}:{terms.port}: {error.strerror or error}; choose another --port"
            ) from error
        self.port = server.sockets[0].getsockname()[1]
        planner = asyncio.create_task(self._plan())
        ready()
        try:
            await ending.wait()
            await self._drain()
        finally:
            planner.cancel()
            server.close()
            await server.wait_closed()
            self._thread.shutdown()

    async def _drain(self) -> None:
        self._draining = True
        deadline = time.monotonic() + DRAIN_S
        while self._pending and time.monotonic() < deadline:
            await asyncio.sleep(0.01)

    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        """Health for everybody; metrics and the policy for those with the token."""
        if request.path == HEALTH:
            return connection.respond(http.HTTPStatus.OK, "OK\n")
        given = request.headers.get("Authorization", "")
        if self._terms.token and not hmac.compare_digest(given.encode(), f"Api-Key {self._terms.token}".encode()):
            return connection.respond(
                http.HTTPStatus.UNAUTHORIZED, "expected the header Authorization: Api-Key TOKEN\n"
            )
        if request.path == METRICS:
            return connection.respond(http.HTTPStatus.OK, self._metrics())
        if self._draining:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "the server is about to end\n")
        if self._clients >= self._terms.clients:
            return connection.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, f"{self._clients} clients are served\n")
        return None

    async def _serve_one(self, connection: ServerConnection) -> None:
        self._clients += 1
        try:
            await connection.send(pack(self._about()))
            async for message in connection:
                self._pending += 1
                try:
                    await connection.send(await self._answer(message))
                finally:
                    self._pending -= 1
                if self._draining:
                    return
        except ConnectionClosed:
            return
        finally:
            self._clients -= 1

    async def _answer(self, message: str | bytes) -> str | bytes:
        """Actions, or words that say what was wrong: openpi's clients take a text for an error."""
        since = time.monotonic()
        try:
            told = unpack(message) if isinstance(message, bytes) else {}
            space = self._policy.space
            asked = _Asked(observation_of(told, self._embodiment, space), committed_of(told, space), _future())
            await self._waiting.put(asked)
            chunk = await asked.answer
        except HimoeError as error:
            self._counts["refused"] += 1
            return str(error)
        except Exception:
            self._counts["errors"] += 1
            LOG.exception("an observation could not be answered")
            return "the server failed at this observation; its log tells why"
        took = time.monotonic() - since
        self._counts["answers"] += 1
        self._took.append(took)
        return pack({ACTIONS: chunk.values, "server_timing": {"infer_ms": 1e3 * took}})

    async def _plan(self) -> None:
        """Whoever waits, in the order in which they came; a client has one observation waiting at most."""
        while True:
            asked = [await self._waiting.get()]
            while len(asked) < self._terms.together and not self._waiting.empty():
                asked.append(self._waiting.get_nowait())
            self._together.append(len(asked))
            if not await self._plan_together(asked) and len(asked) > 1:
                for one in asked:  # so that one bad observation spoils no other
                    await self._plan_together([one])

    async def _plan_together(self, asked: list[_Asked]) -> bool:
        """Whether they are answered; a single one is, be it with an error."""
        observations, committed = [one.observation for one in asked], [one.committed for one in asked]
        loop = asyncio.get_running_loop()
        try:
            chunks = await loop.run_in_executor(self._thread, self._policy.act_together, observations, committed)
        except Exception as error:
            if len(asked) == 1 and not asked[0].answer.cancelled():
                asked[0].answer.set_exception(error)
            return False
        for one, chunk in zip(asked, chunks, strict=True):
            if not one.answer.cancelled():
                one.answer.set_result(chunk)
        return True

    def _about(self) -> dict[str, Any]:
        space = self._policy.space
        return {
            "policy": self._policy.description,
            "embodiment": self._embodiment.name,
            "action_space": space.name,
            "names": list(space.names),
            "rate_hz": space.rate_hz,
            "image_size": self._policy.image_size,
            "config": fingerprint(self._embodiment),
        }

    def _metrics(self) -> str:
        """In the text format of Prometheus."""
        figures = {f"himoe_{name}_total": count for name, count in self._counts.items()}
        figures |= {"himoe_clients": self._clients, "himoe_waiting": self._waiting.qsize()}
        if self._took:
            figures["himoe_answer_seconds_median"] = round(median(self._took), 6)
            figures["himoe_answer_seconds_max"] = round(max(self._took), 6)
            figures["himoe_together_mean"] = round(sum(self._together) / len(self._together), 3)
        return "".join(f"{name} {value}\n" for name, value in figures.items())


def _future() -> asyncio.Future:
    return asyncio.get_running_loop().create_future()


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _context(terms: Terms) -> ssl.SSLContext | None:
    if terms.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(terms.certificate, terms.key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"expected PEM files of a certificate and its key, got {terms.certificate}: {error}"
        ) from error
    return context
