"""Reading and thinning of meshes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from himoe_ros.core.errors import SimulationError
from himoe_ros.sim import meshes


def sphere(rings: int = 60) -> np.ndarray:
    angle = np.linspace(np.pi / 2, -np.pi / 2, rings)
    profile = 0.1 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    profile[[0, -1], 0] = 0.0
    turned = meshes.lathe(profile, segments=2 * rings)
    return turned.vertices[turned.faces]


def test_thinning_keeps_the_shape_of_a_sphere():
    corners = sphere()
    thin = meshes.decimate(corners, cell=0.02)
    assert len(thin.faces) < len(corners) / 5
    radius = np.linalg.norm(thin.vertices, axis=1)
    assert np.abs(radius - 0.1).max() < 0.003


def test_normals_point_outward_and_are_unit_length():
    for mesh in (
        meshes.decimate(sphere(), cell=0.02),
        meshes.lathe(np.array([(0, 0.1), (0.1, 0), (0, -0.1)]), 8),
    ):
        assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1.0)
        assert (np.einsum("vi,vi->v", mesh.normals, mesh.vertices) > 0).all()


def test_a_box_keeps_its_edges_crisp():
    half = np.array([0.1, 0.1, 0.1])
    triangles = []
    for axis in range(3):
        for side in (-1.0, 1.0):
            u, v = np.eye(3)[(axis + 1) % 3], np.eye(3)[(axis + 2) % 3]
            middle = side * np.eye(3)[axis]
            ring = [middle - u - v, middle + u - v, middle + u + v, middle - u + v][:: int(side)]
            triangles += [[ring[0], ring[1], ring[2]], [ring[0], ring[2], ring[3]]]
    box = meshes.decimate(half * np.array(triangles), cell=0.05)
    assert np.sort(np.abs(box.normals), axis=1) == pytest.approx(np.tile([0.0, 0.0, 1.0], (36, 1)))


def test_a_truncated_file_is_named(tmp_path):
    path = tmp_path / "link.stl"
    path.write_bytes(b"\0" * 80 + struct.pack("<I", 2) + b"\0" * 50)
    with pytest.raises(SimulationError, match=r"link\.stl.*2 triangles in 184 bytes but has 134"):
        meshes.read_stl(path, "pip install it")


@pytest.mark.parametrize("package", [meshes.XARM, meshes.ALOHA], ids=lambda package: package.robot)
def test_missing_package_says_what_to_run(package, monkeypatch):
    monkeypatch.setattr(meshes.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SimulationError, match=f"simulated {package.robot} .*pip install --no-deps gym-"):
        package.read("link1")
