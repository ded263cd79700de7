"""A policy in another process or machine, over openpi's websocket protocol: `himoe serve`, or any openpi server."""

from __future__ import annotations

import ssl
import time
from collections.abc import Mapping
from contextlib import ExitStack
from statistics import median
from typing import Any

import numpy as np
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import ClientConnection, connect

from ..core.committed import Committed
from ..core.embodiment import ActionSpace, Embodiment
from ..core.errors import ConfigError, InferenceError, ObservationError
from ..core.fingerprint import fingerprint
from ..core.observation import ActionChunk, Observation, RobotState
from ..core.unified import encode_state
from .processing import require_cameras, resize_with_pad
from .stopwatch import Stopwatch
from .wire import chunk_of, pack, request, unpack

SCHEMES = ("ws://", "wss://")
CONNECT_S = 3.0
ANSWER_S = 2.0  # later answers are of no use: the connection is given up, and nothing late can come over a new one
FIRST_S = 60.0  # the first answer may wait for a model that warms up
JPEG = 90  # quality
TRIES = 3  # of each way to send images, of which the faster one is kept


class RemotePolicy:
    """See Policy. A lost connection is made anew at the next observation; meanwhile the robot holds."""

    def __init__(self, url: str, embodiment: Embodiment, space: ActionSpace, token: str = "") -> None:
        """
        Args:
            url: ws://host:port or wss://host:port.
            token: that the server asks for; "" for none.

        Raises:
            ConfigError: no policy answers there, or it is of another robot or action space.
        """
        self._url, self._embodiment, self.space = url, embodiment, space
        self._headers = {"Authorization": f"Api-Key {token}"} if token else {}
        self._open = ExitStack()
        self._connection: ClientConnection | None = None
        self._jpeg = 0
        self.took: Mapping[str, float] = {}
        try:
            about = self._connect()
        except InferenceError as error:
            raise ConfigError(str(error)) from error
        self._check(about)
        self._size = int(about.get("image_size", 0))
        self._ours = "names" in about
        self.description = f"{about.get('policy', 'an openpi policy')} at {url}"

    def act(self, observation: Observation, committed: Committed | None = None) -> ActionChunk:
        """See Policy.act. A server that is none of ours is not told what is committed."""
        return self._act(observation, ANSWER_S, committed)

    def warm_up(self) -> None:
        """See Policy.warm_up. Of raw images and JPEG the faster one is kept, where the server takes both."""
        size = self._size or 224
        noise = np.random.default_rng(0).integers(0, 255, (size // 8, size // 8, 3), dtype=np.uint8)
        images = {c.name: np.kron(noise, np.ones((8, 8, 1), np.uint8)) for c in self._embodiment.cameras}
        rest = {n: v for arm in self._embodiment.arms for n, v in zip(arm.joints, arm.bounds.rest, strict=True)}
        rest |= {arm.gripper.joint: arm.gripper.open for arm in self._embodiment.arms}
        arm = self._embodiment.arms[0]
        pose = arm.forward(np.array([rest[name] for name in arm.joints])) if self._embodiment.tells_tool else None
        made_up = Observation(0.0, images, RobotState(rest, pose), "warm up")
        self._act(made_up, FIRST_S)
        if self._ours:
            took = {}
            for self._jpeg in (JPEG, 0):
                took[self._jpeg] = median(self._timed(made_up) for _ in range(TRIES))
            self._jpeg = min(took, key=lambda quality: took[quality])

    def close(self) -> None:
        """End the connection; safe to call at any time."""
        self._connection = None
        self._open.close()

    def _act(self, observation: Observation, within: float, committed: Committed | None = None) -> ActionChunk:
        watch = Stopwatch(time.monotonic)
        require_cameras(self._embodiment, observation)
        if self._size:  # the model sees no more than this
            images = {name: resize_with_pad(image, self._size) for name, image in observation.images.items()}
            observation = Observation(observation.stamp, images, observation.state, observation.instruction)
        values = encode_state(self._embodiment, self.space, observation.state)[self.space.slots]
        if self._connection is None:
            self._check(self._connect())
        committed = committed if self._ours else None
        message = pack(request(self._embodiment, values, observation, self._jpeg, committed))
        watch.mark("inputs")
        told = self._ask(message, within)
        watch.mark("network and server")
        try:
            plan = chunk_of(told, self.space, observation.stamp)
        except ObservationError as error:
            raise InferenceError(f"the policy server {self._url} answers what is no plan: {error}") from error
        watch.mark("targets")
        self.took = watch.took
        return plan

    def _timed(self, observation: Observation) -> float:
        begin = time.monotonic()
        self._act(observation, FIRST_S)
        return time.monotonic() - begin

    def _ask(self, message: bytes, within: float) -> dict[str, Any]:
        try:
            self._connection.send(message)
            answer = self._connection.recv(timeout=within)
        except (OSError, WebSocketException) as error:
            self.close()
            what = f"no answer within {within:g} s" if isinstance(error, TimeoutError) else _words(error)
            raise InferenceError(f"the policy server {self._url} is lost ({what}); it is tried again") from error
        if isinstance(answer, str):
            raise InferenceError(f"the policy server {self._url} refused the observation: {answer[:500]}")
        return unpack(answer)

    def _connect(self) -> dict[str, Any]:
        """What the server tells of itself.

        Raises:
            InferenceError: it cannot be reached, or does not answer.
        """
        secure = ssl.create_default_context() if self._url.startswith("wss:") else None
        try:
            made = connect(
                self._url,
                ssl=secure,
                compression=None,
                max_size=None,
                open_timeout=CONNECT_S,
                close_timeout=1.0,
                additional_headers=self._headers,
                proxy=None,
            )
            self._connection = self._open.enter_context(made)
            about = self._connection.recv(timeout=CONNECT_S)
        except InvalidHandshake as error:
            raise InferenceError(f"the policy server {self._url} refused the connection: {_words(error)}") from error
        except (OSError, WebSocketException, ValueError) as error:
            self.close()
            raise InferenceError(
                f"no policy server answers at {self._url} ({_words(error)}); start one: himoe serve POLICY"
            ) from error
        return unpack(about) if isinstance(about, bytes) else {}

    def _check(self, about: dict[str, Any]) -> None:
        """A server of ours tells for which robot it plans; of another one, its order must be that of the embodiment."""
        if "names" not in about:
            return
        mine = (self._embodiment.name, self.space.name, list(self.space.names), fingerprint(self._embodiment))
        theirs = tuple(about.get(key) for key in ("embodiment", "action_space", "names", "config"))
        if theirs != mine:
            self.close()
            raise ConfigError(
                f"the policy at {self._url} is for {theirs[0]} in {theirs[1]} (configuration {theirs[3]}), this robot "
                f"is {mine[0]} in {mine[1]} ({mine[3]}); serve one that fits, from the same embodiment file"
            )


def _words(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
