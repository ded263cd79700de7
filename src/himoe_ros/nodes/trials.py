"""The trials node: runs a session of a protocol, trial by trial, and loses nothing of it."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
from sensor_msgs.msg import Image
from std_msgs.msg import String

from ..core.embodiment import load_embodiment
from ..core.errors import ConfigError, HimoeError
from ..resources import config, is_preset, version
from ..trials.gather import SESSION, TRIAL
from ..trials.judges import judge_of
from ..trials.layout import draw_layout
from ..trials.protocol import Setting, load_protocol
from ..trials.schedule import Planned
from ..trials.session import Header, Session, TrialResult, Void
from ..trials.summary import summary
from ..trials.video import VideoWriter
from .conversions import image_message
from .managed import LATCHED, ManagedNode, run
from .operator import Left, Operator
from .orders import Orders
from .priority import go_last
from .trial_view import VIDEO_FPS, TrialView, Watched

RESET_WITHIN_S = 5.0
MOST_VOIDS = 5  # of one trial in a row, before somebody has to look
JPEG = (cv2.IMWRITE_JPEG_QUALITY, 85)


class Trials(ManagedNode):
    """One thread runs the session from top to bottom; the executor's thread keeps what it looks at fresh."""

    def __init__(self) -> None:
        super().__init__("trials")
        self._worker = self.worker("trials")
        self._session: Session | None = None
        spread = self.parameter("spread_m", 0.0)
        name = self.require("protocol", "a file in config/trials")
        wording = self.parameter("wording", "")
        self._protocol = load_protocol(name, config("trials")).widened(spread).worded(wording)
        self._embodiment = load_embodiment(self._protocol.embodiment, config("embodiments"))
        policies = self.require("policies", "the policies' names, commas between").split(",")
        self._simulated = self.parameter("simulated", True)
        self._limit = self.parameter("time_limit_s", 0.0) or self._protocol.time_limit
        self._patience = self.parameter("ready_within_s", 60.0)
        self._bags = self.parameter("bags", True)
        self._out = Path(self.require("out", "the folder of the session"))
        self._header = Header(
            protocol=self._protocol.name,
            trials=self.parameter("trials", 0) or self._protocol.trials_per_setting,
            policies=policies,
            seed=self.parameter("seed", 0),
            simulated=self._simulated,
            salt=self.parameter("salt", 0),
            untrained=[policy for policy in policies if is_preset(policy)],
            content=self._protocol.content,
            version=version(),
            options=json.loads(self.parameter("options", "{}")),
        )
        self._operator = Operator(self, self._leave)
        self._left = False

    def setup(self) -> None:
        if self._header.trials < 1 or self._header.seed < 0 or self._limit <= 0:
            raise ConfigError("trials must be >= 1, seed >= 0 and time_limit_s > 0")
        if self._simulated:  # whatever cannot be judged or laid out is told before anything moves
            for setting in self._protocol.settings.values():
                judge_of(self._protocol, setting)
                draw_layout(self._protocol, setting, 0)
        self._session = Session(self._out, self._protocol, self._header)
        self._view = TrialView(self, self._embodiment, self._simulated)
        self._orders = Orders(self, self._view, self._alive, self._simulated, self._bags)
        self._instruction = self.create_publisher(String, "instruction", LATCHED)
        self._overlay = self.create_publisher(Image, "trials/overlay", LATCHED)
        self._policy = self.create_publisher(String, "trials/policy", LATCHED)  # label of the one that drives

    def begin(self) -> None:
        self._worker.start(self._run)
        self._operator.start()

    def end(self) -> None:
        self._operator.stop()
        self._worker.stop()

    def teardown(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None

    def _leave(self) -> None:
        self._left = True

    def _alive(self) -> None:
        if self._left or not self._worker.running:
            raise Left("the session was left; resume goes on with it")

    def _run(self) -> None:
        code, session = 0, self._session
        try:
            self._orders.wait_for_services(self._patience)
            self._orders.wait(lambda: not self._view.lost(), self._patience, self._view.lost)
            self._trials(session)
        except HimoeError as error:
            print(f"\nerror: {error}", file=sys.stderr, flush=True)
            code = 2
        if session.results:
            print("\n" + summary(self._protocol, self._header, session.results), flush=True)
            print(f"written: {self._out}; the report: himoe trials report {self._out}", flush=True)
        self.exit_code = code

    def _trials(self, session: Session) -> None:
        begin, before, voids = time.monotonic(), len(session.results), Counter[int]()
        while (following := session.next()) is not None:
            planned, attempt = following
            if voids[planned.index] == MOST_VOIDS:
                raise HimoeError(f"trial {planned.index + 1} was void {MOST_VOIDS} times; look at it, then resume")
            session.begin(planned, attempt)
            try:
                result = self._trial(planned, attempt)
            except Void as void:
                session.void(planned, attempt, str(void))
                voids[planned.index] += 1
                print(f"\rtrial {planned.index + 1}: void, {void}", flush=True)
                continue
            except Left:
                raise
            except HimoeError as error:
                session.void(planned, attempt, str(error))
                raise
            session.finish(result)
            done, of = len(session.results), len(session.planned)
            left = (time.monotonic() - begin) / (done - before) * (of - done)
            mark = "success" if result.success else "failure"
            line = f"trial {done}/{of}  {planned.label}  {result.instruction}  {result.seconds:.1f} s  {mark}"
            print(f"\r\x1b[K{line}, {result.ended}; {left / 60:.0f} min left", flush=True)
            if self._operator.pausing:
                self._operator.ask("paused", ["next"], self._alive)
                self._operator.pausing = False

    def _trial(self, planned: Planned, attempt: int) -> TrialResult:
        setting = self._protocol.settings[planned.setting]
        name = f"trial_{planned.index + 1:03d}_{planned.label}" + (f"_{attempt}" if attempt else "")
        files = {"video": f"{name}.mp4", "start_frame": f"{name}_start.jpg", "last_frame": f"{name}_end.jpg"}
        self._say("")
        self._prepare(planned, setting)
        judge = judge_of(self._protocol, setting) if self._simulated else None
        if self._bags:
            files["bag"] = self._orders.start_bag(self._out, setting.instruction)
        try:
            self._save_picture(files["start_frame"])
            self._say(setting.instruction)
            self._operator.forget()
            self._orders.arm(self._patience)
            title = f"{planned.index + 1}  {planned.label}  {setting.instruction}"
            watched = Watched(judge, VideoWriter(self._out / files["video"], VIDEO_FPS), time.monotonic(), title)
            began = time.time()
            ended, reason = self._filmed(watched)
            seconds = time.monotonic() - watched.began
            self._save_picture(files["last_frame"])
            verdict = judge.verdict if judge else self._operator.verdict(ended, self._protocol.stages, self._alive)
        except HimoeError:
            if self._worker.running and not self._left:
                self._orders.end_bag("discard", {})
            raise
        result = TrialResult(
            planned.index,
            attempt,
            planned.setting,
            planned.repetition,
            planned.label,
            planned.scene,
            setting.instruction,
            dict(verdict.stages),
            "simulator" if judge else "operator",
            ended,
            reason,
            round(seconds, 2),
            round(began, 3),
            verdict.wrong_object,
            verdict.wrong_target,
            self._operator.note,
            watched.holds,
            round(watched.held_s, 2),
            [round(1e3 * float(f(watched.latencies)), 1) for f in (np.median, np.max) if watched.latencies],
            files,
            [list(event) for event in watched.events],
        )
        self._operator.note = ""
        about = {SESSION: json.dumps(asdict(self._header)), TRIAL: json.dumps(asdict(result))}
        self._orders.end_bag("save" if result.success else "save_failure", about)
        return result

    def _prepare(self, planned: Planned, setting: Setting) -> None:
        """The arm at home, everything where this scene wants it, and that policy at the arm's disposal."""
        self._policy.publish(String(data=planned.label))
        if not self._simulated:
            self._ask_for_reset(planned, setting)
            return
        self._orders.home(self._patience)
        self._orders.reset(planned.setting, planned.scene)
        layout = draw_layout(self._protocol, setting, planned.scene)
        deadline = time.monotonic() + RESET_WITHIN_S
        while not self._view.laid_out(layout):
            self._alive()
            if time.monotonic() > deadline:
                raise Void(f"the scene was not as drawn {RESET_WITHIN_S:g} s after its reset")
            time.sleep(0.05)

    def _ask_for_reset(self, planned: Planned, setting: Setting) -> None:
        """The operator's part: nothing moves before an answer. The wanted start is shown over what the cameras see."""
        while True:
            self._operator.agree("the arm goes home now: is its way clear?", self._alive)
            try:
                self._orders.home(0.0)
                break
            except HimoeError as error:
                print(f"{error}", flush=True)
                self._alive()
        told, wanted = f"reset: {self._protocol.recipe} Then: {setting.instruction}", None
        before = [r for r in self._session.results if r.scene == planned.scene]
        if before:
            wanted = cv2.imread(str(self._out / before[-1].files["start_frame"]))[..., ::-1]
            told += f". As in trial {before[-1].index + 1}: see {self._overlay.topic_name}"
        else:
            try:
                layout = draw_layout(self._protocol, setting, planned.scene)
                told += "".join(f"; {name} at x {x:.2f}, y {y:.2f} m" for name, (x, y, _) in layout.items())
            except ConfigError as error:
                told += f" ({error})"

        def show() -> None:
            self._alive()
            if wanted is not None:
                shown = cv2.addWeighted(wanted, 0.5, self._view.picture(), 0.5, 0.0)
                self._overlay.publish(image_message(shown, self.seconds_now(), "wanted start"))

        self._operator.agree(told, show)

    def _filmed(self, watched: Watched) -> tuple[str, str]:
        """As `_watch`; afterwards policy and arm rest, and the video is on the disk."""
        self._view.watch(watched)
        try:
            ended = self._watch(watched)
        finally:
            self._view.watch(None)
            self._say("")
            if self._worker.running:
                self._orders.call("controller/disarm")
        if self._view.trouble:
            raise Void(self._view.trouble)
        return ended

    def _watch(self, watched: Watched) -> tuple[str, str]:
        """Until the trial ends; returns why, and the reason in words where it was not asked for."""
        while True:
            self._alive()
            orders, (mode, reason, _) = self._operator.orders(), self._view.state
            if "void" in orders:
                raise Void(self._operator.why())
            if lost := self._view.trouble or self._view.lost():
                raise Void(lost)
            if watched.judge is not None and watched.judge.verdict.success:
                return "success", ""
            if {"success", "failure"} & set(orders):
                return "operator", ""
            if mode == "faulted":
                return "fault", reason
            if mode in ("disarmed", "stopping"):
                return ("operator" if "operator" in reason else "guard"), reason
            if time.monotonic() - watched.began >= self._limit:
                return "timeout", ""
            time.sleep(0.05)

    def _say(self, instruction: str) -> None:
        self._instruction.publish(String(data=instruction))

    def _save_picture(self, name: str) -> None:
        if not cv2.imwrite(str(self._out / name), self._view.picture()[..., ::-1], JPEG):
            raise Void(f"{self._out / name} cannot be written; make room")


def main() -> None:
    go_last()  # films and judgements may come late, plans may not
    run(Trials)


if __name__ == "__main__":
    main()
