"""A dataset of synthetic bags, and what a reader has to find in it (`make interop`, in the project's environment)."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from recording.test_frames import LIMITS, RATE, XARM7, record

from himoe_ros.recording.export import Terms, export
from himoe_ros.recording.frames import read_frames
from himoe_ros.recording.reader import read_info

TASKS = ("lift", "place", "lift")


def main() -> None:
    folder = Path(sys.argv[1])
    bags = [record(folder / "bags" / f"episode_{n:04d}", task=task) for n, task in enumerate(TASKS)]
    export(bags, folder / "data", XARM7, LIMITS, Terms(round(RATE)), lambda progress: None)
    frames = [f for bag in bags for f in read_frames(read_info(bag), XARM7, LIMITS, RATE)]
    np.savez(
        folder / "wanted.npz",
        state=np.float32([f.state for f in frames]),
        action=np.float32([f.action for f in frames]),
        base=np.array([f.observation.images["base"] for f in frames]),
        tasks=np.array(TASKS),
    )


if __name__ == "__main__":
    main()
