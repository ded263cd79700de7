"""What every node of himoe_ros shares: lifecycle with autostart, diagnostics, and a clean end."""

from __future__ import annotations

import gc
import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from ..core.errors import ConfigError, HimoeError
from ..leaving import remove_abandoned
from .conversions import status_message
from .worker import Worker

try:
    from rclpy.event_handler import PublisherEventCallbacks
except ImportError:  # ROS 2 Humble
    from rclpy.qos_event import PublisherEventCallbacks

T = TypeVar("T")
SWITCH_S = 0.0005  # after which a thread that runs Python lets another one go on: a tick that is due waits for no check
PROBLEMS = 5  # different ones that one diagnostic tells at most

COMMAND = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
SENSOR = QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT)
RECORD = QoSProfile(depth=100, reliability=ReliabilityPolicy.RELIABLE)


class ManagedNode(LifecycleNode):
    """A lifecycle node. Subclasses say what happens in each step; a HimoeError refuses the step."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.autostart = self.parameter("autostart", True)
        self.exit_code: int | None = None  # set it to end the process
        self._problems: deque[str] = deque(maxlen=PROBLEMS)  # since the last diagnostics
        self._report = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.every(1.0, self._diagnose)

    def setup(self) -> None:
        """Load, connect and warm up; nothing moves."""

    def begin(self) -> None:
        """Start publishing."""

    def end(self) -> None:
        """Stop publishing; safe to call at any time."""

    def teardown(self) -> None:
        """Let go of what `setup` took; safe to call at any time."""

    def status(self) -> dict[str, object]:
        """Figures for the diagnostics."""
        return {}

    def worker(self, name: str) -> Worker:
        """A thread of this node; an error that it does not catch ends the process."""
        return Worker(name, self._end_after)

    def create_publisher(self, *what: Any, **options: Any) -> Publisher:
        """Without rclpy's watch for subscribers with a QoS that does not fit: they warn of it, too.

        The executor would look at that watch of every publisher for each message that comes.
        """
        options.setdefault("event_callbacks", PublisherEventCallbacks(use_default_callbacks=False))
        return super().create_publisher(*what, **options)

    def every(self, period: float, action: Callable[[], None]) -> Timer:
        """Call `action` every so many s of a steady clock: also while the ROS clock stands still."""
        return self.create_timer(period, action, clock=self._steady)

    def parameter(self, name: str, default: T) -> T:
        """Declare a parameter of the default's type and read it."""
        return self.declare_parameter(name, default).value

    def require(self, name: str, what: str) -> str:
        """A text parameter that the user has to give."""
        value = self.parameter(name, "")
        if not value:
            raise ConfigError(f"parameter '{name}' of node '{self.get_name()}' is missing: give {what}")
        return value

    def seconds_now(self) -> float:
        """ROS time, s."""
        return self.get_clock().now().nanoseconds * 1e-9

    def complain(self, error: HimoeError) -> None:
        """Show a problem in the next diagnostics, and log it at most once a second."""
        self.note(str(error))
        self.get_logger().warning(str(error), throttle_duration_sec=1.0)

    def note(self, problem: str) -> None:
        """Show a problem in the next diagnostics."""
        if problem not in self._problems:
            self._problems.append(problem)

    def trigger(self, name: str, action: Callable[[], str]) -> None:
        """Serve a std_srvs/Trigger; what `action` returns or raises becomes the answer."""

        def serve(_: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.message, response.success = action(), True
            except HimoeError as error:
                self.complain(error)
                response.message, response.success = str(error), False
            return response

        self.create_service(Trigger, name, serve)

    def on_configure(self, _state: LifecycleState) -> TransitionCallbackReturn:
        return self._step(self.setup)

    def on_activate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        result = self._step(self.begin)
        return super().on_activate(_state) if result is TransitionCallbackReturn.SUCCESS else result

    def on_deactivate(self, _state: LifecycleState) -> TransitionCallbackReturn:
        self.end()
        return super().on_deactivate(_state)

    def on_cleanup(self, _state: LifecycleState) -> TransitionCallbackReturn:
        self.teardown()
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, _state: LifecycleState) -> TransitionCallbackReturn:
        self.end()
        self.teardown()
        return TransitionCallbackReturn.SUCCESS

    def _end_after(self, failure: str) -> None:
        self.get_logger().fatal(failure)
        self.exit_code = 1

    def _step(self, action: Callable[[], None]) -> TransitionCallbackReturn:
        try:
            action()
        except HimoeError as error:
            self.note(str(error))
            self.get_logger().error(str(error))
            self.teardown()
            return TransitionCallbackReturn.FAILURE
        except Exception:
            # rclpy answers any exception with a silent transition error.
            self.get_logger().fatal(traceback.format_exc())
            raise
        return TransitionCallbackReturn.SUCCESS

    def _diagnose(self) -> None:
        values = self.status()
        # Other threads may add one meanwhile; it then waits for the next diagnostics.
        problem = "; ".join(self._problems.popleft() for _ in range(len(self._problems)))
        message = DiagnosticArray(status=[status_message(self.get_fully_qualified_name(), problem, values)])
        message.header.stamp = self.get_clock().now().to_msg()
        self._report.publish(message)


def run(node_class: Callable[[], ManagedNode]) -> None:
    """Run the node that is made until SIGINT or SIGTERM; exit with 2 where it cannot start."""
    ending = _Ending()
    sys.setswitchinterval(SWITCH_S)
    remove_abandoned()
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    code = 0
    try:
        node = node_class()
        try:
            with ending.at_once():
                code = 0 if not node.autostart or _started(node) else 2
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            while not (code or ending.asked or node.exit_code is not None):
                executor.spin_once(timeout_sec=0.1)
            executor.remove_node(node)
            code = node.exit_code or code
        finally:
            node.end()
            node.teardown()
            node.destroy_node()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except HimoeError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 2
    finally:
        rclpy.shutdown()
        gc.collect()  # what an interrupted setup has left, such as a drawing context, goes before its library does
    sys.exit(code)


class _Ending:
    """SIGINT and SIGTERM as a wish: granted at once where that is safe, otherwise noted in `asked`."""

    def __init__(self) -> None:
        self.asked = False
        self._interrupts = False
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Inside, a signal raises KeyboardInterrupt: configuring may take long, and need not be finished."""
        if self.asked:
            raise KeyboardInterrupt
        self._interrupts = True
        try:
            yield
        finally:
            self._interrupts = False

    def _on_signal(self, *_: Any) -> None:
        self.asked = True
        if self._interrupts:
            raise KeyboardInterrupt


def _started(node: ManagedNode) -> bool:
    success = TransitionCallbackReturn.SUCCESS
    return node.trigger_configure() is success and node.trigger_activate() is success
