"""A trial's setting as a task of the scripted expert."""

from __future__ import annotations

from ..core.errors import ConfigError
from ..sim.expert import Task
from ..trials.protocol import Protocol, Setting
from ..trials.things import NESTED_M, PLATE, THINGS

CLEARANCE_M = 0.02  # between what is carried and what it is carried over
RIM_M = 0.02  # below a cup's rim goes the tool point: so far open, the fingers end 6 mm above that


def expert_task(protocol: Protocol, setting: Setting) -> tuple[str, str, Task]:
    """What to pick up, where to bring it, and how.

    Raises:
        ConfigError: the expert has not learned such a task.
    """
    named, target = (*setting.roles.values(), "", "")[:2]
    how = list(protocol.stages)[-1]
    if {named, target} - set(THINGS) or how not in ("place", "insert", "stack"):
        raise ConfigError(f"{protocol.name}: the scripted expert knows no '{how}' of {list(setting.roles.values())}")
    thing = THINGS[named]
    if how == "insert":
        grasp = thing.top - RIM_M
        over = thing.top + CLEARANCE_M
        return named, target, Task(grasp, NESTED_M, over, over + grasp, care=0.3, within=0.01)
    if how == "stack":
        return named, target, Task(-0.006, 2 * thing.foot, 0.07, 0.11, care=0.3, within=0.02, sided=True)
    return named, target, Task(-0.01, PLATE.top + thing.foot, 0.07, 0.10, care=1.0, within=0.06)
