"""A session with trials that only sleep, to be killed at any moment: FOLDER SECONDS_A_TRIAL."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from himoe_ros.resources import config
from himoe_ros.trials.protocol import load_protocol
from himoe_ros.trials.session import Header, Session, TrialResult

PROTOCOL = load_protocol("xarm7/fruit_to_plate", config("trials"))
HEADER = Header(
    PROTOCOL.name, PROTOCOL.trials_per_setting, ["some policy"], 3, True, content=PROTOCOL.content, version="1"
)


def result(planned, attempt: int, success: bool = True) -> TrialResult:
    instruction = PROTOCOL.settings[planned.setting].instruction
    where = (planned.index, attempt, planned.setting, planned.repetition, planned.label, planned.scene, instruction)
    ended = "success" if success else "timeout"
    return TrialResult(*where, {"pick": True, "place": success}, "simulator", ended, "", 1.0, time.time())


def main() -> None:
    session = Session(Path(sys.argv[1]), PROTOCOL, HEADER)
    while (following := session.next()) is not None:
        planned, attempt = following
        session.begin(planned, attempt)
        time.sleep(float(sys.argv[2]))
        session.finish(result(planned, attempt, planned.index % 3 > 0))
    session.close()


if __name__ == "__main__":
    main()
