"""What the trials node asks of the other nodes, always with an end to its patience."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from ..control.states import FOLLOWING, Mode
from ..core.errors import HimoeError
from .managed import ManagedNode
from .trial_view import TrialView

ANSWER_WITHIN_S, HOME_WITHIN_S, AGAIN_S = 10.0, 30.0, 0.2
SIMULATOR = ("sim/reset", "sim/free")
CONTROLLER = ("controller/arm", "controller/disarm", "controller/home")
RECORDER = ("recorder/start", "recorder/save", "recorder/save_failure", "recorder/discard")
HOME = (Mode.DISARMED.value, "at home")
FOLLOWS = frozenset(mode.value for mode in FOLLOWING)  # in which the controller takes chunks
BAGS = "bags"  # in the session's folder


class Orders:
    """Called from the session's thread; answers come on the executor's."""

    def __init__(
        self, node: ManagedNode, view: TrialView, alive: Callable[[], None], simulated: bool, bags: bool
    ) -> None:
        """
        Args:
            node: asks.
            view: tells what is wrong where an order is not obeyed.
            alive: called often; what it raises ends the waiting.
            simulated, bags: whether a simulator and a recorder are there.
        """
        self._view, self._alive, self._simulated, self._bags = view, alive, simulated, bags
        names = [*CONTROLLER, *(SIMULATOR if simulated else []), *(RECORDER if bags else [])]
        self._triggers = {name: node.create_client(Trigger, name) for name in names}
        nodes = [*(["sim_robot"] if simulated else []), *(["recorder"] if bags else [])]
        self._parameters = {name: node.create_client(SetParameters, f"{name}/set_parameters") for name in nodes}

    def wait_for_services(self, within: float) -> None:
        for name, client in {**self._triggers, **self._parameters}.items():
            self.wait(client.service_is_ready, within, lambda name=name: f"service {name} did not appear")

    def wait(self, condition: Callable[[], bool], within: float, failure: Callable[[], str]) -> None:
        """Until the condition holds.

        Raises:
            HimoeError: it did not within so many s; told with what other nodes complain of.
        """
        deadline = time.monotonic() + within
        while not condition():
            self._alive()
            if time.monotonic() > deadline:
                raise HimoeError(f"{failure()} within {within:.0f} s. {self._told()}")
            time.sleep(0.02)

    def call(self, name: str, within: float = 0.0) -> None:
        """Ask for something, again and again for so many s while it is refused."""
        deadline = time.monotonic() + within
        while True:
            future = self._triggers[name].call_async(Trigger.Request())
            self.wait(future.done, ANSWER_WITHIN_S, lambda: f"service {name} did not answer")
            if (answer := future.result()).success:
                return
            if time.monotonic() > deadline:
                raise HimoeError(f"{name}: {answer.message}. {self._told()}")
            self._alive()
            time.sleep(AGAIN_S)

    def _told(self) -> str:
        """What other nodes complain of."""
        told = "; ".join(f"{node}: {text}" for node, text in dict(self._view.told).items())
        return told or "No node reports a problem"

    def home(self, within: float) -> None:
        """Move the arm to its home posture, and wait until it is there; the order is repeated for so long.

        A simulated arm that something holds on its way is freed once: nobody stands beside it.
        """
        try:
            self._go_home(within)
        except HimoeError as error:
            if not self._simulated or self._view.state[0] != Mode.FAULTED.value:
                raise
            print(f"\r\x1b[K{error}; every arm is freed, as a person would", flush=True)
            self.call("sim/free")
            self._go_home(0.0)

    def _go_home(self, within: float) -> None:
        self.call("controller/home", within)
        asked, seen = time.monotonic(), ("", "")

        def ended() -> bool:
            nonlocal seen
            mode, reason, at = self._view.state
            seen = mode, reason
            return at > asked and (mode == Mode.FAULTED.value or seen == HOME)

        self.wait(ended, HOME_WITHIN_S, lambda: f"the arm is not at home ({', '.join(seen)})")
        if seen != HOME:
            raise HimoeError(f"the arm is not at home ({', '.join(seen)})")

    def arm(self, within: float) -> None:
        """As soon as the controller lets us: a policy may still be loading, or wait for a fresh image."""
        self.call("controller/arm", within)
        self.wait(
            lambda: self._view.state[0] in FOLLOWS, ANSWER_WITHIN_S, lambda: "the controller did not tell it is armed"
        )

    def reset(self, setting: str, scene: int) -> None:
        """Lay the simulated scene out."""
        self._set("sim_robot", {"setting": setting, "seed": scene})
        self.call("sim/reset")

    def start_bag(self, out: Path, task: str) -> str:
        """Returns where it is written, in the session's folder."""
        self._set("recorder", {"task": task})
        self.call("recorder/start")
        return f"{BAGS}/{max(path.name for path in (out / BAGS).glob('episode_????'))}"

    def end_bag(self, order: str, about: Mapping[str, str]) -> None:
        """Save or discard it, with what is to be told about it."""
        if self._bags:
            self._set("recorder", {"about": json.dumps(about)})
            self.call(f"recorder/{order}")

    def _set(self, node: str, values: Mapping[str, str | int]) -> None:
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        future = self._parameters[node].call_async(request)
        self.wait(future.done, ANSWER_WITHIN_S, lambda: f"{node} did not take its parameters")
        if refused := [r.reason for r in future.result().results if not r.successful]:
            raise HimoeError(f"{node}: {'; '.join(refused)}")
