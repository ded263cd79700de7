"""The trials node, in its first form: resets the scene, gives instructions, judges, films, tells."""

from __future__ import annotations

import functools
import sys
import threading
import time
from pathlib import Path

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rcl_interfaces.srv import SetParameters
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import Float32MultiArray, String
from std_srvs.srv import Trigger

from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, HimoeError
from ..core.messages import seconds
from ..core.unified import named_positions
from ..resources import config
from ..sim.fruit_to_plate import INSTRUCTIONS, FruitToPlateJudge, truth_from_state
from ..trials.results import TrialResult, save, table
from ..trials.video import VideoWriter, compose
from .conversions import image_array
from .managed import COMMAND, LATCHED, RECORD, SENSOR, ManagedNode, run

HOME_WITHIN_S = 20.0
ARM_WITHIN_S = 10.0
HOME_TOLERANCE_RAD = 0.02
VIDEO_FPS = 10


class Trials(ManagedNode):
    """One thread runs the session from top to bottom; the executor's thread keeps what it waits for fresh."""

    def __init__(self) -> None:
        super().__init__("trials")
        self._lock = threading.Lock()
        self._worker = self.worker("trials")
        self._embodiment = load_embodiment(
            self.require("embodiment", "the name of a file in config/embodiments"), config("embodiments")
        )
        self._count = self.parameter("trials", 4)
        self._limit = self.parameter("time_limit_s", 20.0)
        self._seed = self.parameter("seed", 0)
        self._patience = self.parameter("ready_within_s", 60.0)
        self._out = Path(self.parameter("out", "himoe_results"))
        self._policy = ""
        self._told: dict[str, str] = {}
        self._images: dict[str, np.ndarray] = {}
        self._joints: dict[str, float] | None = None
        self._unified_at: float | None = None
        self._mode, self._reason = "", ""
        self._judge: FruitToPlateJudge | None = None
        self._video: VideoWriter | None = None
        self._caption = ("", "")

    def setup(self) -> None:
        if self._count < 1 or self._limit <= 0:
            raise ConfigError(f"trials must be >= 1 and time_limit_s > 0, got {self._count} and {self._limit}")
        self._out.mkdir(parents=True, exist_ok=True)
        self._instruction = self.create_publisher(String, "instruction", LATCHED)
        for camera in self._embodiment.cameras:
            self.create_subscription(Image, camera.topic, functools.partial(self._on_image, camera.name), SENSOR)
        self.create_subscription(JointState, "joint_states", self._on_joints, RECORD)
        self.create_subscription(JointState, "sim/state", self._on_state, RECORD)
        self.create_subscription(Float32MultiArray, "unified_state", self._on_unified, COMMAND)
        self.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)
        names = ("controller/arm", "controller/disarm", "controller/home", "sim/reset")
        self._triggers = {name: self.create_client(Trigger, name) for name in names}
        self._sim_parameters = self.create_client(SetParameters, "sim_robot/set_parameters")

    def begin(self) -> None:
        self._worker.start(self._session)

    def end(self) -> None:
        self._worker.stop()

    def _session(self) -> None:
        results: list[TrialResult] = []
        self._video = VideoWriter(self._out / "trials.mp4", VIDEO_FPS)
        code = 0
        try:
            self._wait_until_ready()
            print(f"policy: {self._policy}", flush=True)
            for index in range(self._count):
                results.append(self._trial(index))
            self._call("controller/home")
        except HimoeError as error:
            print(f"\nerror: {error}", file=sys.stderr, flush=True)
            code = 2
        with self._lock:
            self._video.close()
            self._video = None
        if results:
            save(results, self._policy, self._out / "results.json")
            print("\n" + table(results, self._policy))
            print(f"written: {self._out / 'results.json'}, {self._out / 'trials.mp4'}", flush=True)
        self.exit_code = code

    def _trial(self, index: int) -> TrialResult:
        asked = INSTRUCTIONS[index % len(INSTRUCTIONS)]
        seed = self._seed + index
        self._say("")
        self._call("controller/home")
        self._wait(self._at_home, HOME_WITHIN_S, "the robot did not reach its home posture")
        self._set_seed(seed)
        self._call("sim/reset")
        self._arm()
        judge = FruitToPlateJudge(asked)
        begin = time.monotonic()
        self._judge = judge
        self._say(asked.sentence)
        ended = ""
        while not ended:
            self._alive()
            elapsed = time.monotonic() - begin
            verdict = judge.verdict
            stages = {"pick": verdict.pick, "place": verdict.place}
            state = "  ".join(f"{stage} {'yes' if reached else '-'}" for stage, reached in stages.items())
            self._caption = (asked.sentence, f"trial {index + 1}/{self._count}   {elapsed:4.1f} s   {state}")
            line = f"trial {index + 1}/{self._count}  {asked.sentence}  {elapsed:5.1f} s  {state}  {self._mode:<9}"
            if sys.stdout.isatty():
                print(f"\r{line}", end="", flush=True)
            if verdict.place:
                ended = "success"
            elif self._mode == "faulted":
                ended = "fault"
            elif elapsed >= self._limit:
                ended = "timeout"
            time.sleep(0.1)
        self._judge = None
        print(f"\r{line}" if sys.stdout.isatty() else line, flush=True)
        remarks = {
            "wrong fruit": verdict.wrong_fruit,
            "wrong plate": verdict.wrong_plate,
            self._reason: ended == "fault",
        }
        note = ", ".join(text for text, true in remarks.items() if true)
        return TrialResult(index, asked.sentence, seed, stages, ended, elapsed, note)

    def _wait_until_ready(self) -> None:
        """Everything a trial needs is there, or an error that says what is missing."""
        for name, client in self._triggers.items():
            self._wait(client.service_is_ready, self._patience, f"service {name} did not appear")
        self._wait(lambda: self._joints is not None, self._patience, "nothing came on joint_states")
        for camera in self._embodiment.cameras:
            self._wait(lambda c=camera: c.name in self._images, self._patience, f"no image came on {camera.topic}")
        self._wait(lambda: self._unified_at is not None, self._patience, "the policy built no observation")
        self._wait(lambda: self._policy, self._patience, "the policy's diagnostics did not tell which weights it has")

    def _wait(self, condition, within: float, failure: str) -> None:
        deadline = time.monotonic() + within
        while not condition():
            self._alive()
            if time.monotonic() > deadline:
                told = "; ".join(f"{node}: {text}" for node, text in self._told.items())
                raise HimoeError(f"{failure} within {within:.0f} s. {told or 'No node reports a problem'}")
            time.sleep(0.05)

    def _alive(self) -> None:
        if not self._worker.running:
            raise HimoeError("trials were interrupted")

    def _call(self, name: str) -> None:
        future = self._triggers[name].call_async(Trigger.Request())
        self._wait(future.done, 10.0, f"service {name} did not answer")
        answer = future.result()
        if not answer.success:
            raise HimoeError(f"{name}: {answer.message}")

    def _arm(self) -> None:
        """Arm as soon as the controller lets us: after a reset the policy may need a moment for a fresh image."""
        deadline = time.monotonic() + ARM_WITHIN_S
        while True:
            try:
                return self._call("controller/arm")
            except HimoeError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(0.2)

    def _set_seed(self, seed: int) -> None:
        request = SetParameters.Request(parameters=[Parameter("seed", value=seed).to_parameter_msg()])
        self._wait(self._sim_parameters.call_async(request).done, 10.0, "the simulator did not take the seed")

    def _say(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def _at_home(self) -> bool:
        home = {j: v for arm in self._embodiment.arms for j, v in zip(arm.joints, arm.bounds.rest, strict=True)}
        return all(abs(self._joints[j] - v) < HOME_TOLERANCE_RAD for j, v in home.items())

    def _on_image(self, camera: str, message: Image) -> None:
        self._images[camera] = image_array(message)
        if camera != self._embodiment.cameras[0].name or len(self._images) < len(self._embodiment.cameras):
            return
        with self._lock:
            if self._video is not None and self._judge is not None:
                views = [self._images[c.name] for c in self._embodiment.cameras]
                self._video.add(compose(views, *self._caption), seconds(message.header.stamp))

    def _on_joints(self, message: JointState) -> None:
        self._joints = named_positions(message.name, message.position, self._embodiment.joint_names)

    def _on_state(self, message: JointState) -> None:
        judge = self._judge
        if judge is not None:
            arm = self._embodiment.arms[0]
            judge.observe(
                truth_from_state(seconds(message.header.stamp), arm, message.name, message.position, message.velocity)
            )

    def _on_unified(self, _: Float32MultiArray) -> None:
        self._unified_at = time.monotonic()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            values = {v.key: v.value for v in status.values}
            self._mode, self._reason = values.get("mode", self._mode), values.get("reason", self._reason)
            self._policy = values.get("policy", self._policy)
            if status.level == DiagnosticStatus.OK:
                self._told.pop(status.name, None)
            else:
                self._told[status.name] = status.message


def main() -> None:
    run(Trials)


if __name__ == "__main__":
    main()
