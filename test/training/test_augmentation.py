"""Pictures that are changed at random still show the same, and the frame of a wrist's view stays."""

from __future__ import annotations

import numpy as np

from himoe_ros.training.augmentation import recoloured, reframed

IMAGE = np.random.default_rng(0).integers(60, 180, (16, 16, 3), dtype=np.uint8)


def test_colours_change_by_their_share_at_most():
    rng = np.random.default_rng(1)
    assert np.array_equal(recoloured(IMAGE, rng, 0.0), IMAGE)
    means = np.array([recoloured(IMAGE, rng, 0.2).mean() / IMAGE.mean() for _ in range(300)])
    assert 0.78 < means.min() < 0.82 and 1.18 < means.max() < 1.22
    grey = np.repeat(IMAGE[..., :1], 3, -1)
    changed = recoloured(grey, rng, 0.2)
    assert (np.ptp(changed, axis=-1) <= 1).all(), "what has no colour gets none"


def test_a_reframed_picture_is_a_part_of_it_turned():
    rng = np.random.default_rng(2)
    assert np.array_equal(reframed(IMAGE, rng, 0.0, 0.0), IMAGE)
    ramp = np.repeat(np.tile(np.arange(64, dtype=np.uint8), (64, 1))[..., None], 3, -1)
    for _ in range(100):
        row = reframed(ramp, rng, 0.25, 0.0)[32, :, 0].astype(float)
        assert abs((row[-1] - row[0]) - 63 * 0.75) <= 2, "three quarters of the width"
    turned = [reframed(ramp, rng, 0.0, 0.1) for _ in range(100)]
    tilt = np.array([(t[48, 32, 0].astype(float) - t[16, 32, 0]) / 32 for t in turned])
    assert 0.08 < tilt.max() < 0.13 and -0.13 < tilt.min() < -0.08
