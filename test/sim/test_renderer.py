"""Camera images. They need an off-screen GL library, as the error says where it is missing."""

from __future__ import annotations

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest

from himoe_ros.core.errors import SimulationError
from himoe_ros.sim import renderer
from himoe_ros.sim.renderer import CameraRenderer
from himoe_ros.sim.scene import build_scene, change_view
from himoe_ros.sim.world import World


@pytest.mark.parametrize("camera", ["base", "left_wrist", "overview"])
@pytest.mark.parametrize(("width", "height"), [(224, 224), (320, 240)])
def test_images_have_the_asked_shape_and_show_something(world, layout, camera, width, height):
    world.reset(layout)
    with CameraRenderer(world.model, width, height) as camera_renderer:
        image = camera_renderer.render(world.data, camera)
    assert image.shape == (height, width, 3)
    assert image.dtype == np.uint8
    assert image.std() > 15


@pytest.mark.parametrize("camera", ["base", "left_wrist"])
def test_policy_cameras_see_both_fruits_and_both_plates(world, layout, camera):
    world.reset(layout)
    with CameraRenderer(world.model, 224, 224) as camera_renderer:
        red, green, blue = camera_renderer.render(world.data, camera).astype(int).transpose(2, 0, 1)
    assert ((red > 110) & (green < 70) & (blue < 70)).sum() > 40, "apple"
    assert ((red > 150) & (green > 70) & (green < 160) & (blue < 60)).sum() > 40, "orange"
    assert ((blue > 140) & (red < 100)).sum() > 300, "blue plate"
    assert ((red > 170) & (blue > green + 15)).sum() > 300, "pink plate"


def test_camera_and_light_may_be_changed(layout):
    pictures = []
    for shift, light in ((0.0, 1.0), (0.02, 1.0), (0.0, 0.75)):
        scene = build_scene("xarm7", list(layout))
        change_view(scene.model, "base", shift, light, seed=1)
        world = World(scene)
        world.reset(layout)
        with CameraRenderer(scene.model, 224, 224) as camera_renderer:
            pictures.append(camera_renderer.render(world.data, "base").astype(float))
    plain, moved, dark = pictures
    assert np.abs(moved - plain).mean() > 2 and moved.mean() == pytest.approx(plain.mean(), rel=0.05)
    assert 0.7 < dark.mean() / plain.mean() < 0.95
    with pytest.raises(SimulationError, match="expected a shift >= 0 m and a share of light from 0 to 1, got -1 and 1"):
        change_view(build_scene("xarm7", []).model, "base", -1, 1, 0)


def test_images_do_not_share_memory(world, layout):
    world.reset(layout)
    with CameraRenderer(world.model, 224, 224) as camera_renderer:
        first = camera_renderer.render(world.data, "base")
        kept = first.copy()
        camera_renderer.render(world.data, "left_wrist")
    assert np.array_equal(first, kept)


def test_unknown_camera_lists_the_cameras(world):
    unknown = pytest.raises(SimulationError, match="'front' is no camera of the scene.*left_wrist")
    with CameraRenderer(world.model, 64, 64) as camera_renderer, unknown:
        camera_renderer.render(world.data, "front")


def test_missing_gl_says_what_to_install(scene, monkeypatch):
    monkeypatch.delattr(mujoco, "Renderer")
    with pytest.raises(renderer.SimulationError, match="apt-get install libegl1"):
        CameraRenderer(scene.model, 64, 64)


def test_a_gl_library_that_is_not_there_is_explained(tmp_path):
    for name in ("libEGL.so", "libEGL.so.1"):
        (tmp_path / name).touch()
    environment = {**os.environ, "MUJOCO_GL": "egl", "LD_LIBRARY_PATH": str(tmp_path)}
    code = "import himoe_ros.sim.renderer"
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "cannot load the GL library" in run.stderr
    assert "apt-get install libegl1" in run.stderr
