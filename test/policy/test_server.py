"""himoe_ros.policy.server and .remote: openpi's client is served, ours heals, and nothing that is sent does harm."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator

import msgpack
import numpy as np
import pytest
import torch
from openpi_client.websocket_client_policy import WebsocketClientPolicy
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from himoe_ros.core.committed import Committed
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.errors import ConfigError, InferenceError
from himoe_ros.core.observation import ActionChunk, Observation, RobotState
from himoe_ros.policy.local import untrained_policy
from himoe_ros.policy.remote import RemotePolicy
from himoe_ros.policy.server import PolicyServer, Terms
from himoe_ros.policy.stopwatch import Stopwatch
from himoe_ros.policy.wire import pack
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
SPACE = XARM7.action_space("end_effector")
IMAGE = np.full((112, 112, 3), 90, np.uint8)
GOOD = {
    "observation/image": IMAGE,
    "observation/wrist_image": IMAGE,
    "observation/state": np.array([0.3, 0.1, 0.2, 0.1, 0.0, 0.2, 0.7], np.float32),
    "prompt": "lift",
}
REST = dict(zip(XARM7.joint_names, [*XARM7.arms[0].bounds.rest, 0.1], strict=True))
POSE = XARM7.arms[0].forward(XARM7.arms[0].bounds.rest)
SEEN = Observation(7.0, {"base": IMAGE, "left_wrist": IMAGE}, RobotState(REST, POSE), "lift")


class Slow:
    """A policy of known answers that takes its time; remembers how many it was asked at once."""

    space, image_size, description = SPACE, 112, "slow"

    def __init__(self, takes_s: float = 0.0) -> None:
        self.takes_s, self.together = takes_s, []

    def act_together(self, observations: list[Observation], committed: list[Committed | None]) -> list[ActionChunk]:
        self.committed = committed
        self.together.append(len(observations))
        time.sleep(self.takes_s)
        if any(o.instruction == "break" for o in observations):
            raise RuntimeError("secret of the server")
        heights = [o.state.eef[2, 3] for o in observations]
        return [ActionChunk(0.0, SPACE.names, np.full((4, 7), h), np.arange(1, 5) / 10) for h in heights]


class Running:
    """A server on a thread of its own."""

    def __init__(self, policy, **terms: object) -> None:
        self.policy, self.ready = policy, threading.Event()
        self.server = PolicyServer(policy, XARM7, Terms(**{"port": 0, **terms}))
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()))
        self._thread.start()
        assert self.ready.wait(5.0)
        self.port = self.server.port

    async def _serve(self) -> None:
        self._loop, self._ending = asyncio.get_running_loop(), asyncio.Event()
        await self.server.run(self._ending, self.ready.set)

    def end(self) -> None:
        self._loop.call_soon_threadsafe(self._ending.set)
        self._thread.join(15.0)
        assert not self._thread.is_alive()


@contextlib.contextmanager
def serving(policy=None, **terms: object) -> Iterator[Running]:
    running = Running(policy or Slow(), **terms)
    try:
        yield running
    finally:
        if running._thread.is_alive():
            running.end()


def get(port: int, path: str, token: str = "") -> tuple[int, str]:
    headers = {"Authorization": f"Api-Key {token}"} if token else {}
    try:
        with urllib.request.urlopen(urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers=headers)) as told:
            return told.status, told.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_openpis_client_is_told_of_the_policy_and_gets_actions():
    with serving() as running:
        client = WebsocketClientPolicy("127.0.0.1", running.port)
        about = client.get_server_metadata()
        assert about["embodiment"] == "xarm7" and about["names"] == list(SPACE.names)
        for height in (0.2, 0.3):
            state = GOOD["observation/state"].copy()
            state[2] = height
            answer = client.infer({**GOOD, "observation/state": state})
            np.testing.assert_allclose(answer["actions"], np.full((4, 7), height), atol=1e-6)
        assert answer["server_timing"]["infer_ms"] > 0


def test_bad_input_is_answered_with_words_and_the_connection_lives():
    with serving() as running:
        client = WebsocketClientPolicy("127.0.0.1", running.port)
        with pytest.raises(RuntimeError, match="missing are .*prompt"):
            client.infer({k: v for k, v in GOOD.items() if k != "prompt"})
        with pytest.raises(RuntimeError, match="its log tells why") as told:
            client.infer({**GOOD, "prompt": "break"})
        assert "secret" not in str(told.value) and "Traceback" not in str(told.value)
        assert client.infer(GOOD)["actions"].shape == (4, 7)
        status, metrics = get(running.port, "/metrics")
        assert status == 200
        assert {"himoe_answers_total 1", "himoe_refused_total 1", "himoe_errors_total 1"} <= set(metrics.splitlines())


def test_a_lost_client_leaves_nothing_and_connects_anew():
    with serving(Slow(0.1)) as running:
        client = WebsocketClientPolicy("127.0.0.1", running.port)
        client._ws.send(pack(GOOD))
        client._ws.socket.close()  # gone while its answer is made
        again = WebsocketClientPolicy("127.0.0.1", running.port)
        assert again.infer(GOOD)["actions"].shape == (4, 7)
        running.end()
        assert running.server._pending == 0


def test_a_token_is_asked_for_and_other_machines_never_without(tmp_path):
    with pytest.raises(ConfigError, match=r"serving at 0\.0\.0\.0 lets other machines in"):
        PolicyServer(Slow(), XARM7, Terms(host="0.0.0.0"))
    with serving(token="sesame") as running:
        for token in ("", "wrong"):
            with pytest.raises(InvalidStatus, match="401"):
                WebsocketClientPolicy("127.0.0.1", running.port, token or None)
            assert get(running.port, "/metrics", token)[0] == 401
        assert get(running.port, "/healthz") == (200, "OK\n")
        assert get(running.port, "/metrics", "sesame")[0] == 200
        client = WebsocketClientPolicy("127.0.0.1", running.port, "sesame")
        assert client.infer(GOOD)["actions"].shape == (4, 7)
        url = f"ws://127.0.0.1:{running.port}"
        with pytest.raises(ConfigError, match="refused the connection.*401"):
            RemotePolicy(url, XARM7, SPACE)
        RemotePolicy(url, XARM7, SPACE, "sesame").close()


def test_too_large_a_message_and_too_many_clients_are_refused():
    with serving(largest_bytes=100_000, clients=2) as running:
        one, _two = (WebsocketClientPolicy("127.0.0.1", running.port) for _ in range(2))
        with pytest.raises(InvalidStatus, match="503"):
            WebsocketClientPolicy("127.0.0.1", running.port)
        with pytest.raises(ConnectionClosed, match="too big"):
            one.infer({**GOOD, "observation/image": np.zeros((400, 400, 3), np.uint8)})
        time.sleep(0.1)
        assert WebsocketClientPolicy("127.0.0.1", running.port).infer(GOOD)


def test_those_that_wait_together_are_planned_together_and_nobody_is_passed_over():
    policy, answers = Slow(0.05), {}
    with serving(policy, together=3) as running:
        clients = [WebsocketClientPolicy("127.0.0.1", running.port) for _ in range(5)]
        counts = [0] * 5

        def ask(number: int) -> None:
            state = GOOD["observation/state"].copy()
            state[2] = 0.1 + 0.05 * number
            begin = time.monotonic()
            while time.monotonic() < begin + 2.0:
                answers[number] = clients[number].infer({**GOOD, "observation/state": state})["actions"][0, 0]
                counts[number] += 1

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert max(policy.together) == 3
    assert max(counts) - min(counts) <= 2, counts
    assert answers == {n: pytest.approx(0.1 + 0.05 * n, abs=1e-6) for n in range(5)}


def test_one_bad_observation_spoils_no_other():
    with serving(Slow(0.1), together=4) as running:
        clients = [WebsocketClientPolicy("127.0.0.1", running.port) for _ in range(3)]
        told: dict[int, object] = {}

        def ask(number: int, prompt: str) -> None:
            try:
                told[number] = clients[number].infer({**GOOD, "prompt": prompt})["actions"].shape
            except RuntimeError as error:
                told[number] = str(error)

        threads = [threading.Thread(target=ask, args=(n, p)) for n, p in enumerate(("lift", "break", "lift"))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert told[0] == told[2] == (4, 7) and "its log tells why" in told[1]


def test_what_is_being_answered_when_the_server_ends_is_still_answered():
    with serving(Slow(0.5)) as running:
        client = WebsocketClientPolicy("127.0.0.1", running.port)
        got = []
        thread = threading.Thread(target=lambda: got.append(client.infer(GOOD)))
        thread.start()
        time.sleep(0.2)
        running.end()
        thread.join()
    assert got and got[0]["actions"].shape == (4, 7)
    with pytest.raises(ConnectionRefusedError):
        WebsocketClientPolicy("127.0.0.1", running.port)


def test_a_remote_policy_answers_as_the_local_one_together_or_alone():
    local, served = (untrained_policy("himoe_small", config("models"), XARM7, SPACE) for _ in range(2))
    with serving(served) as running:
        remote = RemotePolicy(f"ws://127.0.0.1:{running.port}", XARM7, SPACE)
        expected, got = local.act(SEEN), remote.act(SEEN)
        assert got.stamp == 7.0 and got.names == expected.names
        np.testing.assert_allclose(got.values, expected.values, atol=1e-5)
        np.testing.assert_allclose(got.times, expected.times)
        assert "UNTRAINED" in remote.description
        remote.close()


def test_a_remote_policy_agrees_with_what_the_robot_does_as_the_local_one():
    local, served = (untrained_policy("himoe_small", config("models"), XARM7, SPACE) for _ in range(2))
    with serving(served) as running:
        remote = RemotePolicy(f"ws://127.0.0.1:{running.port}", XARM7, SPACE)
        before = local.act(SEEN)
        remote.act(SEEN)
        followed = ActionChunk(6.6, before.names, before.values + 0.02, before.times)
        committed = Committed(followed, until=7.25)
        expected, got = local.act(SEEN, committed), remote.act(SEEN, committed)
        np.testing.assert_allclose(got.values, expected.values, atol=1e-5)
        remote.close()


def test_what_is_planned_together_is_what_is_planned_alone(monkeypatch):
    policy = untrained_policy("himoe_small", config("models"), XARM7, SPACE)
    longer = Observation(8.0, SEEN.images, SEEN.state, "put the red cup into the blue cup, please")
    noise = torch.randn(2, 12, 24, generator=torch.Generator().manual_seed(1))
    sample = policy._sample
    monkeypatch.setattr(policy, "_sample", lambda inputs, *_: sample(inputs, noise, None, Stopwatch(time.monotonic)))
    together = policy.act_together([SEEN, longer])
    for one, observation, expected in zip(noise, (SEEN, longer), together, strict=True):
        monkeypatch.setattr(
            policy, "_sample", lambda inputs, *_, one=one: sample(inputs, one[None], None, Stopwatch(time.monotonic))
        )
        np.testing.assert_allclose(policy.act(observation).values, expected.values, atol=5e-3)


def test_a_remote_policy_gives_up_in_time_and_heals(monkeypatch):
    monkeypatch.setattr("himoe_ros.policy.remote.ANSWER_S", 0.3)
    policy = Slow()
    running = Running(policy)
    remote = RemotePolicy(f"ws://127.0.0.1:{running.port}", XARM7, SPACE)
    remote.warm_up()
    assert remote.act(SEEN).values.shape == (4, 7)
    policy.takes_s = 1.0
    begin = time.monotonic()
    with pytest.raises(InferenceError, match=r"no answer within 0\.3 s"):
        remote.act(SEEN)
    assert time.monotonic() - begin < 1.5
    policy.takes_s = 0.0
    time.sleep(1.0)
    assert remote.act(SEEN).stamp == SEEN.stamp, "what was late never comes for another observation"
    running.end()
    for _ in range(2):
        with pytest.raises(InferenceError, match="is lost|no policy server answers"):
            remote.act(SEEN)
    again = Running(policy, port=running.port)
    try:
        assert remote.act(SEEN).values.shape == (4, 7)
    finally:
        remote.close()
        again.end()


def test_a_policy_of_another_robot_or_action_space_is_refused():
    aloha = load_embodiment("aloha", config("embodiments"))
    with serving() as running:
        url = f"ws://127.0.0.1:{running.port}"
        for embodiment, space in ((aloha, aloha.action_space("joints")), (XARM7, XARM7.action_space("joints"))):
            with pytest.raises(ConfigError, match="is for xarm7 in end_effector .* this robot is"):
                RemotePolicy(url, embodiment, space)
    with pytest.raises(ConfigError, match="no policy server answers at .*himoe serve"):
        RemotePolicy(url, XARM7, SPACE)


def test_it_serves_over_tls(tmp_path):
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1"]
    files = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key", "-out", tmp_path / "certificate"]
    subprocess.run([*made, *files], check=True, capture_output=True)
    with serving(certificate=tmp_path / "certificate", key=tmp_path / "key") as running:
        trusting = ssl.create_default_context(cafile=tmp_path / "certificate")
        with connect(f"wss://127.0.0.1:{running.port}", ssl=trusting, compression=None) as client:
            client.recv()
            client.send(pack(GOOD))
            assert isinstance(client.recv(), bytes)
    with pytest.raises(ConfigError, match="expected a certificate|expected PEM files"):
        PolicyServer(Slow(), XARM7, Terms(certificate=tmp_path / "key", key=tmp_path / "missing"))


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_28_fuzzed_messages_do_no_harm(count, record_property):
    """Protected by wire.unpack, which takes numbers and texts alone, and by caps on sizes."""
    rng = np.random.default_rng(0)
    good = pack(GOOD)
    kinds = {"refused": 0, "answered": 0, "closed": 0}
    grown = []
    with serving(largest_bytes=200_000) as running:
        client = None
        for number in range(count):
            data = bytearray(good)
            match number % 4:
                case 0:  # some bytes are others
                    for at in rng.integers(0, 400, rng.integers(1, 8)):
                        data[at] = rng.integers(256)
                case 1:
                    data = data[: rng.integers(len(data))]
                case 2:
                    data = bytearray(rng.bytes(int(rng.integers(1, 300))))
                case 3:
                    data = bytearray(msgpack.packb(_made_up(rng, 0)))
            if client is None:
                client = connect(f"ws://127.0.0.1:{running.port}", compression=None)
                client.recv()
            try:
                client.send(bytes(data))
                answer = client.recv(timeout=10.0)
            except ConnectionClosed:
                kinds["closed"] += 1
                client = None
                continue
            kinds["answered" if isinstance(answer, bytes) else "refused"] += 1
            assert isinstance(answer, bytes) or ("Traceback" not in answer and "its log tells" not in answer), answer
            if number % (count // 4) == count // 4 - 1:
                grown.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        assert WebsocketClientPolicy("127.0.0.1", running.port).infer(GOOD)["actions"].shape == (4, 7)
        assert running.server._counts["errors"] == 0
    assert kinds["refused"] > count / 2
    assert grown[-1] - grown[0] < 20_000, f"kB at each quarter: {grown}"
    record_property("row 28", f"{count} messages: {kinds}, memory +{(grown[-1] - grown[0]) / 1e3:.1f} MB")


def _made_up(rng: np.random.Generator, depth: int) -> object:
    """A tree of what msgpack can hold."""
    keys = [*GOOD, "x", 1, b"__npgeneric__"]
    leaves = (
        lambda: int(rng.integers(-(2**62), 2**62)),
        lambda: float(rng.choice([np.nan, np.inf, -1e308, 0.5])),
        lambda: "x" * int(rng.integers(0, 100)),
        lambda: rng.bytes(int(rng.integers(0, 100))),
        lambda: {
            b"__ndarray__": True,
            b"data": rng.bytes(int(rng.integers(0, 64))),
            b"dtype": str(rng.choice(["<f8", "|u1", "|O", "<U9", "<f2"])),
            b"shape": rng.integers(-2, 9, rng.integers(0, 4)).tolist(),
        },
    )
    branches = (
        lambda: [_made_up(rng, depth + 1) for _ in range(rng.integers(0, 4))],
        lambda: {keys[int(rng.integers(len(keys)))]: _made_up(rng, depth + 1) for _ in range(rng.integers(0, 5))},
    )
    kinds = (*leaves, *branches) if depth < 4 else leaves
    return kinds[int(rng.integers(len(kinds)))]()
