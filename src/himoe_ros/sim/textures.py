"""Small procedural textures, (H, W, 3) uint8 RGB, so that the scene needs no image files."""

from __future__ import annotations

import numpy as np

WOOD_LIGHT = np.array([222.0, 205.0, 180.0])
WOOD_DARK = np.array([196.0, 174.0, 144.0])
APPLE_RED = np.array([200.0, 30.0, 34.0])
APPLE_BLUSH = np.array([226.0, 92.0, 48.0])
POMEGRANATE = np.array([128.0, 18.0, 46.0])
POMEGRANATE_BLUSH = np.array([176.0, 62.0, 62.0])
ORANGE = np.array([248.0, 142.0, 22.0])
ORANGE_PORE = np.array([206.0, 112.0, 14.0])


def wood(size: int = 512, boards: int = 5) -> np.ndarray:
    """Pale oak boards along the rows: soft grain, faint joints. Returns (size, size, 3) uint8."""
    rng = np.random.default_rng(3)
    across, along = np.mgrid[0:size, 0:size] / size
    board = np.minimum((across * boards).astype(int), boards - 1)
    shade = 0.25 + 0.2 * rng.random(boards)[board]
    wander = 0.012 * np.sin(2 * np.pi * (along + rng.random(boards)[board]))
    wander += 0.004 * np.sin(2 * np.pi * (3 * along + rng.random(boards)[board]))
    for rings, strength in ((23, 0.06), (61, 0.05), (143, 0.03)):
        phase = 2 * np.pi * rng.random(boards)[board]
        shade += strength * np.sin(2 * np.pi * rings * (across + wander) + phase)
    joint = np.abs((across * boards) % 1 - 0.5) > 0.5 - 0.006 * boards / 5
    shade += 0.35 * joint
    return _blend(WOOD_LIGHT, WOOD_DARK, shade)


def apple_skin() -> np.ndarray:
    """Deep red with a warm blush. Returns (768, 128, 3) uint8, the six faces of a cube texture."""
    return _blend(APPLE_RED, APPLE_BLUSH, 0.15 + 0.9 * _mottle(seed=5, smoothing=10))


def pomegranate_skin() -> np.ndarray:
    """Dark crimson with paler spots. Returns (768, 128, 3) uint8, the six faces of a cube texture."""
    return _blend(POMEGRANATE, POMEGRANATE_BLUSH, 0.2 + 0.8 * _mottle(seed=9, smoothing=6))


def orange_peel() -> np.ndarray:
    """Orange with small pores. Returns (768, 128, 3) uint8, the six faces of a cube texture."""
    return _blend(ORANGE, ORANGE_PORE, 0.35 + 0.5 * _mottle(seed=7, smoothing=1))


def _mottle(seed: int, smoothing: int) -> np.ndarray:
    """Noise of mean 0 for six 128 x 128 faces. Returns (768, 128) float64."""
    noise = np.random.default_rng(seed).standard_normal((768, 128))
    for _ in range(smoothing):
        for axis in (0, 1):
            noise = (np.roll(noise, 1, axis) + 2 * noise + np.roll(noise, -1, axis)) / 4
    return noise


def _blend(first: np.ndarray, second: np.ndarray, amount: np.ndarray) -> np.ndarray:
    """Mix two (3,) colours by an (H, W) amount, clipped to 0..1. Returns (H, W, 3) uint8."""
    mix = np.clip(amount, 0.0, 1.0)[..., None]
    return np.round(first + (second - first) * mix).astype(np.uint8)
