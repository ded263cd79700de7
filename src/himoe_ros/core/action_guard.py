"""What may reach a robot: finite, well-formed, within limits, a small step from the last command.

Chunks are checked whole when they arrive; every single command is checked again on its way out.
"""

from __future__ import annotations

import numpy as np

from .arm import Arm, Workspace
from .embodiment import ActionSpace
from .errors import GuardError
from .observation import ActionChunk, Floats
from .unified import slot_difference

LARGEST_VALUE = 100.0  # no slot of any robot of ours is anywhere near
SHORTEST_STEP_S = 0.001  # between two steps of a chunk
ROUNDING = 1e-6  # of sums, relative and in rad or m


def require_finite(values: Floats, what: str) -> None:
    """Raise GuardError naming the first value that is NaN or infinite."""
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        where = tuple(int(i) for i in bad[0])
        raise GuardError(f"{what} must be finite, got {values[where]} at {where}; {len(bad)} such values")


def check_chunk(chunk: ActionChunk, space: ActionSpace) -> ActionChunk:
    """Check a chunk's form and put its columns into the order of `space.names`.

    Raises:
        GuardError: unknown, missing or doubled names, a wrong shape, a value that is not finite,
            times that do not start after the observation and increase. Nothing may be sent then.
    """
    if sorted(chunk.names) != sorted(space.names):
        raise GuardError(
            f"chunk names must be exactly those of action space '{space.name}': {list(space.names)}; "
            f"got {list(chunk.names)}"
        )
    steps = len(chunk.times)
    if steps == 0 or chunk.times.shape != (steps,) or chunk.values.shape != (steps, len(space.names)):
        raise GuardError(
            f"chunk values must be (T > 0, {len(space.names)}) and times (T,); "
            f"got {chunk.values.shape} and {chunk.times.shape}"
        )
    require_finite(chunk.values, "chunk values")
    require_finite(chunk.times, "chunk times")
    largest = float(np.abs(chunk.values).max())
    if largest > LARGEST_VALUE:
        raise GuardError(f"chunk values must lie within +-{LARGEST_VALUE:g} (m, rad, opening), got {largest:g}")
    if chunk.times[0] <= 0 or np.any(np.diff(chunk.times) < SHORTEST_STEP_S):
        raise GuardError(
            f"chunk times must start above 0 and increase by >= {SHORTEST_STEP_S} s, got {chunk.times.tolist()}"
        )
    order = [chunk.names.index(name) for name in space.names]
    return ActionChunk(chunk.stamp, space.names, chunk.values[:, order], chunk.times.copy())


def check_first_step(chunk: ActionChunk, space: ActionSpace, current: Floats, max_step: Floats, now: float) -> None:
    """Refuse a plan whose first step still to come is far away from where the robot is.

    Args:
        chunk: in the order of `space.names`.
        current: (N,) where the robot is.
        max_step: (N,) largest distance allowed for each slot, m, rad or opening.
        now: s, the clock of `chunk.stamp`.
    """
    future = chunk.values[chunk.stamp + chunk.times > now]
    if len(future) == 0:
        return  # ChunkBuffer.accept refuses it as late
    step = slot_difference(space, future[0], current)
    far = [
        f"{name} {value:+.3f} (allowed {limit:.3f})"
        for name, value, limit in zip(space.names, step, max_step, strict=True)
        if not abs(value) <= limit
    ]
    if far:
        raise GuardError(f"first step of the chunk is too far from the robot: {', '.join(far)}")


def clip_to_workspace(values: Floats, space: ActionSpace, workspace: Workspace) -> Floats:
    """(T, N) end-effector targets -> the same, with position and tilt moved into the workspace."""
    clipped = values.copy()
    bounds = {axis: (workspace.lower[i], workspace.upper[i]) for i, axis in enumerate("xyz")}
    bounds |= {axis: (-workspace.max_tilt, workspace.max_tilt) for axis in ("roll", "pitch")}
    for i, name in enumerate(space.names):
        if name in bounds:
            clipped[..., i] = np.clip(values[..., i], *bounds[name])
    return clipped


def check_command(command: Floats, last: Floats, arm: Arm, max_tool_speed: float, dt: float) -> None:
    """The last word before the driver: whoever computed a command, it is checked here, and nothing is reshaped.

    Args:
        command: (J + 1,) rad, joints and gripper of one arm, to be sent now.
        last: (J + 1,) rad, sent one tick ago, or where the robot is.
        arm: its limits; one that stands outside them may come back, but not go further.
        max_tool_speed: m/s, of the tool point; inf for no limit.
        dt: s since the last tick, >= 0.

    Raises:
        GuardError: names the joint and the limit. Nothing may be sent then.
    """
    require_finite(command, "command")
    closed, opened = sorted((arm.gripper.open, arm.gripper.closed))
    lower, upper = np.append(arm.bounds.lower, closed), np.append(arm.bounds.upper, opened)
    speed = np.append(np.full(len(arm.joints), arm.max_velocity), arm.gripper.max_speed)
    outside = (command < np.minimum(lower, last) - ROUNDING) | (command > np.maximum(upper, last) + ROUNDING)
    fast = np.abs(command - last) > speed * dt * (1 + ROUNDING) + ROUNDING
    if np.any(outside | fast):
        i = int(np.argmax(outside | fast))
        name = (*arm.joints, arm.gripper.joint)[i]
        raise GuardError(
            f"command of {name} must lie in [{lower[i]:.4f}, {upper[i]:.4f}] and move <= {speed[i]:g}/s, "
            f"got {command[i]:.4f} after {last[i]:.4f} in {dt:.4f} s"
        )
    if max_tool_speed < np.inf:
        travel = float(np.linalg.norm((arm.forward(command[:-1]) - arm.forward(last[:-1]))[:3, 3]))
        if travel > max_tool_speed * dt * (1 + ROUNDING) + ROUNDING:
            raise GuardError(f"command must move the tool <= {max_tool_speed:g} m/s, got {travel:.5f} m in {dt:.4f} s")
