"""What the simulated cameras show: the state that came, with noise that was made beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.core.errors import SimulationError
from himoe_ros.resources import config
from himoe_ros.sim import view
from himoe_ros.trials.layout import things_of
from himoe_ros.trials.protocol import load_protocol

THINGS = things_of(load_protocol("xarm7/fruit_to_plate", config("trials")))


@pytest.fixture
def seen():
    made = view.SceneView("xarm7", THINGS, 64, 64, shadows=False)
    yield made
    made.close()


def test_a_picture_shows_the_state_and_every_one_has_other_noise(seen):
    first, second = seen.render("base"), seen.render("base")
    assert first.shape == (64, 64, 3) and 0 < np.abs(first.astype(int) - second).max() < 20
    seen.set_state(["apple.x", "apple.y", "apple.z"], [0.45, 0.0, 0.15])
    assert np.abs(seen.render("base").astype(int) - second).max() > 60


def test_noise_is_drawn_before_the_first_picture_alone(seen, monkeypatch):
    monkeypatch.setattr(view, "SensorNoise", None)
    for camera in ("base", "left_wrist"):
        seen.render(camera)
    with pytest.raises(SimulationError, match="'roof' is no camera of the scene"):
        seen.render("roof")
