"""Which numbers a bag's grippers were told in: stacks of the same robot differ, and their configurations change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from ..core.embodiment import Embodiment
from ..core.errors import RecordingError

GRIPPERS = "grippers"  # of what a bag says about itself: gripper's joint -> closed and open, rad or m


def told_grippers(embodiment: Embodiment) -> str:
    """For a bag that is being recorded."""
    return json.dumps({arm.gripper.joint: (arm.gripper.closed, arm.gripper.open) for arm in embodiment.arms})


def read_grippers(about: Mapping[str, str]) -> dict[str, tuple[float, float]]:
    """Out of a bag; empty for one that does not say.

    Raises:
        RecordingError: what it says makes no sense.
    """
    try:
        told = json.loads(about.get(GRIPPERS, "{}"))
        return {joint: (float(closed), float(opened)) for joint, (closed, opened) in told.items()}
    except (ValueError, TypeError, AttributeError) as error:
        raise RecordingError(f"a bag tells its grippers as {about[GRIPPERS]!r}, which cannot be read") from error


def as_configured(
    positions: Mapping[str, float], told: Mapping[str, tuple[float, float]], embodiment: Embodiment
) -> dict[str, float]:
    """Joint positions of a bag -> the same openings in the numbers of the embodiment file."""
    converted = dict(positions)
    for gripper in (arm.gripper for arm in embodiment.arms):
        closed, opened = told.get(gripper.joint, (gripper.closed, gripper.open))
        if (closed, opened) != (gripper.closed, gripper.open):
            theirs = replace(gripper, closed=closed, open=opened)
            converted[gripper.joint] = gripper.position(theirs.opening(positions[gripper.joint]))
    return converted
