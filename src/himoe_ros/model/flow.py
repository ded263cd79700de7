"""Flow matching: the path from noise to actions, and the embedding of time along it."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def time_embedding(t_B: Tensor, width: int) -> Tensor:
    """Sine and cosine of 2 pi t / period, periods from 4e-3 to 4 in geometric steps.

    Returns:
        (B, width) float32.
    """
    fraction = torch.linspace(0.0, 1.0, width // 2, dtype=torch.float64, device=t_B.device)
    period = 4e-3 * (4.0 / 4e-3) ** fraction
    angle = t_B.double()[:, None] * (2 * math.pi / period)
    return torch.cat([angle.sin(), angle.cos()], dim=-1).float()


def integrate(velocity: Callable[[Tensor, Tensor], Tensor], noise: Tensor, steps: int) -> Tensor:
    """Euler integration of dx/dt = velocity(x, t) from t = 1 (noise) down to t = 0 (actions).

    Args:
        velocity: (x (B, T, A), t (B,)) -> (B, T, A); called exactly `steps` times, never at t = 0.
        noise: (B, T, A) float32, left as it is.
    """
    x = noise
    for i in range(steps):
        t = torch.full((noise.shape[0],), 1.0 - i / steps, device=noise.device)
        x = x - velocity(x, t) / steps
    return x


def interpolate(noise: Tensor, actions: Tensor, t_B: Tensor) -> tuple[Tensor, Tensor]:
    """x_t = t noise + (1 - t) actions, and the velocity to learn, noise - actions (paper, section 3.3)."""
    t = t_B[:, None, None]
    return t * noise + (1.0 - t) * actions, noise - actions


def flow_loss(predicted: Tensor, wanted: Tensor, mask_BA: Tensor) -> Tensor:
    """Mean squared error of the velocity over the slots in use.

    Args:
        predicted, wanted: (B, T, A).
        mask_BA: (B, A), 1 where a slot is in use.
    """
    mask = mask_BA[:, None, :].to(predicted.dtype).expand_as(predicted)
    return (mask * (wanted - predicted) ** 2).sum() / (mask.sum() + 1e-8)
