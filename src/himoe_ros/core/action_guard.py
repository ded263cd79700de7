"""What may reach a robot: finite, well-formed, within limits, a small step from the last command.

Chunks are checked whole when they arrive; every single command is limited again on its way out.
"""

from __future__ import annotations

import math

import numpy as np

from .embodiment import ActionSpace, Arm, Workspace
from .errors import GuardError
from .observation import ActionChunk, Floats
from .unified import wrap_angle

LARGEST_VALUE = 100.0  # no slot of any robot of ours is anywhere near


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
    if chunk.times[0] <= 0 or np.any(np.diff(chunk.times) <= 0):
        raise GuardError(f"chunk times must start above 0 and increase, got {chunk.times.tolist()}")
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
    step = future[0] - current
    step[space.angular] = wrap_angle(step[space.angular])
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
    require_finite(target, "joint target")
    distance = np.clip(target, arm.bounds.lower, arm.bounds.upper) - last
    speed = np.minimum(_braking_speed(np.abs(distance), arm.max_acceleration, dt), max_velocity)
    step: Floats = np.sign(distance) * np.minimum(speed * dt, np.abs(distance))
    return last + step


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
    for values, what in ((target, "joint target"), (last, "last command"), (velocity, "commanded velocity")):
        require_finite(values, what)
    # Going the straight way more slowly, where one joint would be too fast.
    wanted = (target - last) / dt
    wanted = wanted * min(1.0, arm.max_velocity / max(float(np.abs(wanted).max()), 1e-12))
    return _move(last, np.clip(wanted, *_velocity_window(last, velocity, arm, dt)), arm, dt)


def limit_tool_speed(step: Floats, last: Floats, velocity: Floats, arm: Arm, max_speed: float, dt: float) -> Floats:
    """Change less where the tool point would become faster than `max_speed`.

    On the line from going on as before (slowed down, all joints alike, where that is too fast already)
    to the wanted step lies the largest change that keeps the limit. No joint accelerates more there
    than its limit allows.

    Args:
        step: (J,) rad, from `limit_step`.
        last, velocity: (J,) rad and rad/s, commanded one tick ago.
        arm: with kinematics.
        max_speed: m/s.
        dt: s, > 0.

    Returns:
        (J,) rad to command now.
    """
    here, reach = arm.forward(last)[:3, 3], max_speed * dt

    def travel(joints: Floats) -> Floats:
        return arm.forward(joints)[:3, 3] - here

    if np.linalg.norm(travel(step)) <= reach:
        return step
    coasting = float(np.linalg.norm(travel(last + velocity * dt)))
    slowest = 1.0 - arm.max_acceleration * dt / max(float(np.abs(velocity).max()), 1e-12)
    slowed = velocity * min(1.0, max(reach / max(coasting, 1e-12), slowest))
    base = _move(last, np.clip(slowed, *_velocity_window(last, velocity, arm, dt)), arm, dt)
    old, way = travel(base), travel(step) - travel(base)
    # |old + share way| = reach
    a, b, c = float(way @ way), float(old @ way), float(old @ old) - reach**2
    share = (-b + math.sqrt(max(b * b - a * c, 0.0))) / max(a, 1e-18)
    return base + min(max(share, 0.0), 1.0) * (step - base)


def _velocity_window(last: Floats, velocity: Floats, arm: Arm, dt: float) -> tuple[Floats, Floats]:
    """(J,) lowest and highest velocity, rad/s, that a joint may have next: what it can reach, and near a position
    limit no more than still stops there."""
    a = arm.max_acceleration
    down, up = _braking_speed(last - arm.bounds.lower, a, dt), _braking_speed(arm.bounds.upper - last, a, dt)
    return np.clip(velocity - a * dt, -down, up), np.clip(velocity + a * dt, -down, up)


def _move(last: Floats, velocity: Floats, arm: Arm, dt: float) -> Floats:
    """(J,) rad after a tick; an arm outside its limits may come back, but not go further."""
    return np.clip(last + velocity * dt, np.minimum(arm.bounds.lower, last), np.maximum(arm.bounds.upper, last))


def _braking_speed(distance: Floats, acceleration: float, dt: float) -> Floats:
    """The largest speed from which a stop within `distance` is possible, slowing down by a dt every dt or sooner."""
    return np.sqrt(2 * acceleration * np.maximum(distance, 0.0) + (acceleration * dt) ** 2) - acceleration * dt
