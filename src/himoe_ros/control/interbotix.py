"""One Interbotix arm through the vendor's Python API, on which no call waits for long.

The API (`interbotix_xs_modules`, a ROS 2 source package) waits without end for its `xs_sdk` node, checks nothing it
sends, and its own start-up spins all arms in one slow executor. So each arm has a node and an executor of its own here,
every wait has an end, and the API's messages are never touched. The only file of this room that needs ROS.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState

from ..core.errors import DriverError

ANSWER_S = 2.0  # for what xs_sdk does at the motors
APPEAR_S = 5.0  # for xs_sdk to be found, and again to tell where the joints are
SILENT_S = 0.3  # without a joint state for so long, the arm counts as lost
POLL_S = 0.005
SERVICES = ("set_operating_modes", "torque_enable", "reboot_motors", "set_motor_registers")


class InterbotixArm:
    """A follower that is open, or closed. One thread calls it at a time."""

    def __init__(self, name: str, model: str) -> None:
        """
        Args:
            name: the robot's, under which its xs_sdk was started, such as follower_left.
            model: such as aloha_vx300s.
        """
        self.name, self._model = name, model
        self._arm: Any = None
        self._executor: SingleThreadedExecutor | None = None
        self._thread: threading.Thread | None = None
        self._newest: Any = None
        self._newest_at = 0.0
        self._sent = False  # whether it has been commanded since it was opened
        self.modes: dict[str, tuple[str, str]] = {}  # and profiles, of `arm` and `gripper`, as told when it was opened
        self._lost = ""  # why, until it is opened again

    def open(self) -> tuple[str, ...]:
        """Find the robot; moves nothing. Returns the joints of its arm, base to tip.

        Raises:
            DriverError: the packages are missing, or xs_sdk does not run, answer or tell where the joints are.
        """
        self.close()
        if not rclpy.ok():
            rclpy.init()  # no node's process, such as a preflight
        try:
            from interbotix_common_modules.common_robot.robot import InterbotixRobotNode  # noqa: PLC0415
            from interbotix_xs_modules.xs_robot.arm import InterbotixManipulatorXS  # noqa: PLC0415
        except ImportError as error:
            raise DriverError(
                f"driving an ALOHA needs Interbotix's packages ({error}): install interbotix_ros_manipulators for this "
                "ROS distribution and source its workspace"
            ) from error

        link = self

        class PatientNode(InterbotixRobotNode):  # type: ignore[misc, valid-type]
            """A node whose waits have an end."""

            def wait_until_future_complete(self, future: Any, timeout_sec: float | None = None) -> None:
                seconds = min(timeout_sec or ANSWER_S, ANSWER_S)
                deadline = time.monotonic() + seconds
                if link._thread is None:  # while the API is built
                    rclpy.spin_until_future_complete(self, future, timeout_sec=seconds)
                while not future.done() and time.monotonic() < deadline:
                    time.sleep(POLL_S)
                if not future.done():
                    raise _NoAnswerError(f"no answer within {seconds:.0f} s")

        # This process may have been told another name and namespace for its own node.
        node = PatientNode(f"himoe_{self.name.replace('/', '_')}", use_global_arguments=False)
        arm = None
        try:
            self._find(node)
            arm = InterbotixManipulatorXS(self._model, robot_name=self.name, node=node, iterative_update_fk=False)
        except _NoAnswerError as error:
            raise DriverError(f"xs_sdk of '{self.name}' did not answer get_robot_info: {error}") from error
        finally:
            if arm is None:
                node.destroy_node()
        node.destroy_timer(arm.gripper.tmr_gripper_state)  # it would command the gripper beside us
        told = {"arm": arm.arm.group_info, "gripper": arm.gripper.gripper_info}
        self.modes = {part: (info.mode, info.profile_type) for part, info in told.items()}
        self._sent, self._lost, self._newest_at = False, "", time.monotonic()
        self._arm, self._executor = arm, SingleThreadedExecutor()
        self._executor.add_node(node)  # only now: building the API spins the node by itself
        self._thread = threading.Thread(target=self._executor.spin, name=f"executor of {self.name}", daemon=True)
        self._thread.start()
        return tuple(arm.arm.group_info.joint_names)

    def close(self) -> None:
        """Let go of the arm; torque stays as it is."""
        if self._arm is None:
            return
        self._executor.shutdown(timeout_sec=ANSWER_S)
        self._thread.join(ANSWER_S)
        self._arm.core.get_node().destroy_node()
        self._arm = self._executor = self._thread = None

    def ask(self, service: str, *values: object) -> None:
        """Call one of SERVICES, as core.robot_<service> of the API names its values.

        Raises:
            DriverError: no answer came within ANSWER_S.
        """
        try:
            getattr(self._open().core, f"robot_{service}")(*values)
        except _NoAnswerError as error:
            raise DriverError(
                f"xs_sdk of '{self.name}' did not answer {service} within {ANSWER_S:.0f} s; "
                "look at its terminal and the arm's power, then arm again"
            ) from error

    def positions(self) -> Mapping[str, float]:
        """Joint name -> rad (m for fingers), newest that is known.

        Raises:
            DriverError: nothing new came for SILENT_S; once it has been commanded, from then on until `open`.
        """
        state, now = self._open().core.joint_states, time.monotonic()
        if state is not self._newest:
            self._newest, self._newest_at = state, now
        elif now - self._newest_at > SILENT_S:
            silent = f"it has not told where its joints are for {now - self._newest_at:.1f} s"
            self._lost = silent if self._sent else ""
            raise self._is_lost(silent)
        return dict(zip(state.name, map(float, state.position), strict=True))

    def states_hz(self, seconds: float) -> float:
        """Joint states a second, listened to for so many s."""
        begin, count, last = time.monotonic(), 0, self._open().core.joint_states
        while time.monotonic() - begin < seconds:
            newest = self._open().core.joint_states
            count, last = count + (newest is not last), newest
            time.sleep(POLL_S / 5)
        return count / seconds

    def send(self, joints: Sequence[float]) -> None:
        """The arm goes to these positions at once, rad; the API takes plain floats only, and checks none of them."""
        self._sent = True
        self._open().core.robot_write_commands("arm", [float(value) for value in joints])

    def send_gripper(self, position: float) -> None:
        """The gripper goes to this position at once, rad."""
        self._open().core.robot_write_joint_command("gripper", float(position))

    def _open(self) -> Any:
        if self._arm is None:
            raise DriverError(f"'{self.name}' is not connected")
        if self._lost:
            raise self._is_lost(self._lost)
        return self._arm

    def _is_lost(self, why: str) -> DriverError:
        return DriverError(f"'{self.name}' is lost: {why}; look at its power, cable and xs_sdk, then arm again")

    def _find(self, node: Any) -> None:
        """Before the API waits without end: does xs_sdk run, and does it tell where the joints are?"""
        wanted = {f"/{self.name}/{service}" for service in SERVICES}
        topic, deadline = f"/{self.name}/joint_states", time.monotonic() + APPEAR_S
        while missing := wanted - {name for name, _ in node.get_service_names_and_types()}:
            if time.monotonic() > deadline:
                raise DriverError(
                    f"no xs_sdk of '{self.name}' was found: service {min(missing)} is not there. Start it "
                    "(ros2 launch aloha ...), or name both followers in robot_ip, left arm first"
                )
            time.sleep(POLL_S)
        told: list[JointState] = []
        deadline = time.monotonic() + APPEAR_S
        subscription = node.create_subscription(JointState, topic, told.append, 1)
        while not told:
            if time.monotonic() > deadline:
                raise DriverError(
                    f"xs_sdk of '{self.name}' runs, but {topic} is silent; look at the arm's power and cable"
                )
            rclpy.spin_once(node, timeout_sec=POLL_S)
        node.destroy_subscription(subscription)


class _NoAnswerError(DriverError):
    """A call of the API that waited long enough."""
