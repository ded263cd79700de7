"""What may reach a robot: finite, well-formed, within limits, a small step from the last command.

Chunks are checked whole when they arrive; every single command is limited again on its way out.
"""

from __future__ import annotations

import numpy as np

from .embodiment import ActionSpace, Arm, Workspace
from .errors import GuardError
from .observation import ActionChunk, Floats
from .unified import wrap_angle


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
    if steps == 0 or chunk.values.shape != (steps, len(space.names)):
        raise GuardError(f"chunk values must be ({steps or 'T > 0'}, {len(space.names)}), got {chunk.values.shape}")
    require_finite(chunk.values, "chunk values")
    require_finite(chunk.times, "chunk times")
    if chunk.times[0] <= 0 or np.any(np.diff(chunk.times) <= 0):
        raise GuardError(f"chunk times must start above 0 and increase, got {chunk.times.tolist()}")
    order = [chunk.names.index(name) for name in space.names]
    return ActionChunk(chunk.stamp, space.names, chunk.values[:, order], chunk.times)


def check_first_step(chunk: ActionChunk, space: ActionSpace, current: Floats, max_step: Floats) -> None:
    """Refuse a plan that starts far away from where the robot is.

    Args:
        chunk: in the order of `space.names`.
        current: (N,) where the robot is.
        max_step: (N,) largest distance allowed for each slot, m, rad or opening.
    """
    step = chunk.values[0] - current
    step[space.angular] = wrap_angle(step[space.angular])
    far = [
        f"{name} {value:+.3f} (allowed {limit:.3f})"
        for name, value, limit in zip(space.names, step, max_step, strict=True)
        if abs(value) > limit
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


def approach(target: Floats, last: Floats, arm: Arm, max_velocity: float, dt: float) -> Floats:
    """One tick from `last` toward a place to stop at: v <= sqrt(2 a d), so that it is never overshot.

    Args:
        target: (J,) rad, where to come to rest; clipped to the position limits.
        last: (J,) rad, commanded one tick ago.
        arm: its position and acceleration limits.
        max_velocity: rad/s, > 0.
        dt: s since the last tick, > 0.

    Returns:
        (J,) rad; `limit_step` still has to bound the acceleration.
    """
    a = arm.max_acceleration
    distance = np.clip(target, arm.bounds.lower, arm.bounds.upper) - last
    # The largest speed that still stops within the distance when slowed down by a dt every dt.
    stopping = np.sqrt(2 * a * np.abs(distance) + (a * dt / 2) ** 2) - a * dt / 2
    speed = np.minimum(np.minimum(np.abs(distance) / dt, stopping), max_velocity)
    return last + np.sign(distance) * speed * dt


def limit_step(target: Floats, last: Floats, velocity: Floats, arm: Arm, dt: float) -> Floats:
    """The last word on a command: as near to `target` as position, velocity and acceleration limits allow.

    Args:
        target: (J,) rad, wanted at this tick.
        last: (J,) rad, commanded one tick ago.
        velocity: (J,) rad/s, commanded one tick ago.
        arm: its limits.
        dt: s since the last tick, > 0.

    Returns:
        (J,) rad to command now.

    Raises:
        GuardError: a value is not finite. Nothing may be sent then.
    """
    require_finite(target, "joint target")
    # All joints are scaled alike: the path stays straight, and a mixture of two velocities that keep the
    # tool's speed limit keeps it too.
    wanted = _scaled((target - last) / dt, arm.max_velocity)
    change = _scaled(wanted - velocity, arm.max_acceleration * dt)
    return np.clip(last + (velocity + change) * dt, arm.bounds.lower, arm.bounds.upper)


def limit_tool_speed(target: Floats, last: Floats, arm: Arm, max_speed: float, dt: float) -> Floats:
    """(J,) rad target of one tick, drawn nearer where the tool point would be faster than `max_speed`, m/s."""
    travelled = float(np.linalg.norm(arm.forward(target)[:3, 3] - arm.forward(last)[:3, 3]))
    return last + (target - last) * min(1.0, max_speed * dt / max(travelled, 1e-12))


def _scaled(values: Floats, largest: float) -> Floats:
    """The same direction, no component above `largest`."""
    return values * min(1.0, largest / max(float(np.abs(values).max()), 1e-12))
