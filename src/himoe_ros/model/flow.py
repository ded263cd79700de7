"""Flow matching: the path from noise to actions, and the embedding of time along it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor


def time_embedding(t: Tensor, width: int) -> Tensor:
    """Sine and cosine of 2 pi t / period, periods from 4e-3 to 4 in geometric steps.

    Returns:
        (..., width) float32.
    """
    # In float32 throughout, as the released weights were trained: at the shortest period that matters.
    fraction = torch.linspace(0.0, 1.0, width // 2, device=t.device)
    period = 4e-3 * (4.0 / 4e-3) ** fraction
    angle = t[..., None] * (1.0 / period * 2 * math.pi)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def integrate(velocity: Callable[[Tensor, int], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Euler integration of dx/dt = velocity(x, t) from t = 1 (noise) down to t = 0 (actions).

    Args:
        velocity: (x (B, T, A), i) -> (B, T, A) at the i-th of `flow_times`; called exactly `steps` times.
        noise: (B, T, A) float32, left as it is.
    """
    x = noise
    step = -1.0 / steps
    for i in range(steps):
        x = x + step * velocity(x, i)
    return x


def flow_times(steps: int) -> list[float]:
    """The times at which the velocity is evaluated: 1, 1 - 1/steps, ..., 1/steps.

    Summed up in float32, as the reference does: at the shortest period of the embedding a last bit counts.
    """
    t, times = np.float32(1.0), []
    for _ in range(steps):
        times.append(float(t))
        t = np.float32(t + np.float32(-1.0 / steps))
    return times


def interpolate(noise: Tensor, actions: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """x_t = t noise + (1 - t) actions (paper, Eq. 2), and the velocity to learn, noise - actions (inside Eq. 3).

    The paper counts time from noise to actions, tau = 1 - t; the released weights count as we do.

    Args:
        noise, actions: (B, T, A).
        t: (B,), or (B, T) with a time for each step of a chunk.
    """
    t = t.view(len(t), -1, 1)
    return t * noise + (1.0 - t) * actions, noise - actions


def flow_loss(predicted: Tensor, wanted: Tensor, weight: Tensor) -> Tensor:
    """Mean squared error of the velocity (paper, Eq. 3), over what is learned from.

    Args:
        predicted, wanted: (B, T, A).
        weight: (B, T or 1, A), 1 for slots in use at valid steps, else 0.
    """
    weight = weight.to(predicted.dtype).expand_as(predicted)
    return (weight * (wanted - predicted) ** 2).sum() / (weight.sum() + 1e-8)
