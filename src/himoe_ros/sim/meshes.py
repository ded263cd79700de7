"""Vendors' meshes, read from packages that ship them, and thinned for CPU rendering; and meshes turned on a lathe."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import SimulationError

HEADER_BYTES = 84
CREASE_DEG = 40.0
STL_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh; a vertex on a crease appears once for each side, with a normal for each.

    Attributes:
        vertices: (V, 3) float64, m, in the frame of the link.
        normals: (V, 3) float64, unit length.
        faces: (F, 3) int, indices into both, counter-clockwise seen from outside.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray


@dataclass(frozen=True)
class MeshPackage:
    """A package on PyPI that ships a vendor's meshes, of which no code is used.

    Attributes:
        name: as imported.
        folder: of the STL files, inside it.
        scale: m, of a file's unit.
        robot: for messages.
        install: a command.
    """

    name: str
    folder: str
    scale: float
    robot: str
    install: str

    def directory(self) -> Path:
        """Find the STL files without importing the package.

        Raises:
            SimulationError: the package is not installed here, or holds no meshes.
        """
        spec = importlib.util.find_spec(self.name)
        for location in (spec.submodule_search_locations or []) if spec else []:
            directory = Path(location) / self.folder
            if directory.is_dir():
                return directory
        found = f"a {self.name} without them at {spec.origin}" if spec else f"no package {self.name}"
        raise SimulationError(
            f"the simulated {self.robot} needs the STL meshes of {self.name}/{self.folder}, but found {found}; "
            f"run: {self.install}"
        )

    def read(self, name: str) -> np.ndarray:
        """(F, 3, 3) float64, m: the three corners of every triangle of a mesh.

        Raises:
            SimulationError: the package or the mesh is not there, or the file is damaged.
        """
        return self.scale * read_stl(self.directory() / f"{name}.stl", self.install)


def read_stl(path: Path, install: str) -> np.ndarray:
    """Read a binary STL file.

    Args:
        path: the file.
        install: the command that brings it.

    Returns:
        (F, 3, 3) float64, in the file's unit: the three corners of every triangle.

    Raises:
        SimulationError: no such file, or its length does not fit its own triangle count.
    """
    if not path.is_file():
        raise SimulationError(f"expected a mesh at {path}, found none; run: {install}")
    data = path.read_bytes()
    count = int.from_bytes(data[HEADER_BYTES - 4 : HEADER_BYTES], "little")
    expected = HEADER_BYTES + count * STL_FACET.itemsize
    if len(data) != expected:
        raise SimulationError(
            f"{path} should hold {count} triangles in {expected} bytes but has {len(data)}: "
            f"not a whole binary STL file; reinstall with: {install}"
        )
    facets = np.frombuffer(data, STL_FACET, count, HEADER_BYTES)
    return facets["corners"].astype(np.float64)


XARM = MeshPackage("gym_xarm", "tasks/assets/mesh", 1.0, "xArm7", "pip install --no-deps gym-xarm==0.1.1")
ALOHA = MeshPackage("gym_aloha", "assets", 1e-3, "ALOHA", "pip install --no-deps gym-aloha==0.1.5")


def decimate(corners: np.ndarray, cell: float) -> Mesh:
    """Thin a triangle soup by vertex clustering.

    All corners inside one cubic cell become one vertex, placed where the squared distance
    to the planes of their triangles is least (Lindstrom 2000), which keeps edges sharp.
    Triangles with fewer than three different cells vanish.

    Args:
        corners: (F, 3, 3) m, from `read_stl`.
        cell: edge length of a cell, m, > 0.

    Returns:
        The thinned mesh.
    """
    points = corners.reshape(-1, 3)
    keys = np.floor(points / cell).astype(np.int64)
    _, cluster = np.unique(keys, axis=0, return_inverse=True)
    cluster = cluster.reshape(-1)
    vertices = _cluster_positions(points, np.repeat(_area_vectors(corners), 3, axis=0), cluster, cell)

    faces = cluster.reshape(-1, 3)
    whole = (faces != np.roll(faces, 1, axis=1)).all(axis=1)
    faces = np.unique(faces[whole], axis=0)
    thinned = vertices[faces]
    normals = _corner_normals(thinned, faces)
    return Mesh(thinned.reshape(-1, 3), normals.reshape(-1, 3), np.arange(faces.size).reshape(-1, 3))


def _area_vectors(corners: np.ndarray) -> np.ndarray:
    """Normal times area of triangles (F, 3, 3) m. Returns (F, 3) m^2."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]) / 2


def _corner_normals(corners: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Average, at each corner, the faces around its vertex within `CREASE_DEG` of its own face.

    Args:
        corners: (F, 3, 3) m.
        faces: (F, 3) int, the vertex of each corner.

    Returns:
        (F, 3, 3), unit length.
    """
    area_vectors = _area_vectors(corners)
    units = area_vectors / np.maximum(np.linalg.norm(area_vectors, axis=1, keepdims=True), 1e-15)
    by_vertex = np.argsort(faces, axis=None, kind="stable")
    valence = np.bincount(faces.ravel())
    first = np.cumsum(valence) - valence

    # Every corner meets every face around its vertex: rows (corner, neighbouring face).
    meetings = valence[faces.ravel()]
    corner = np.repeat(np.arange(faces.size), meetings)
    place = np.arange(len(corner)) - np.repeat(np.cumsum(meetings) - meetings, meetings)
    neighbour = by_vertex[first[faces.ravel()[corner]] + place] // 3
    cosine = np.einsum("ni,ni->n", units[corner // 3], units[neighbour])
    smooth = cosine > np.cos(np.radians(CREASE_DEG))

    sums = 1e-3 * np.repeat(area_vectors, 3, axis=0)
    np.add.at(sums, corner[smooth], area_vectors[neighbour[smooth]])
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    normals = np.where(lengths > 0, sums / np.maximum(lengths, 1e-30), [0.0, 0.0, 1.0])
    return normals.reshape(-1, 3, 3)


def _cluster_positions(points: np.ndarray, area_vectors: np.ndarray, cluster: np.ndarray, cell: float) -> np.ndarray:
    """Place one vertex for each cluster of corners.

    Args:
        points: (P, 3) m, corners.
        area_vectors: (P, 3) m^2, normal times area of the triangle of each corner.
        cluster: (P,) int in 0..C-1.
        cell: m, edge length of the cells; a vertex stays within half of it of its mean.

    Returns:
        (C, 3) m.
    """
    count = cluster.max() + 1
    size = np.bincount(cluster, minlength=count)[:, None]
    mean = np.zeros((count, 3))
    np.add.at(mean, cluster, points)
    mean /= size

    area = np.linalg.norm(area_vectors, axis=1)
    plane = area_vectors / np.maximum(area, 1e-15)[:, None]
    offset = np.einsum("pi,pi->p", plane, points - mean[cluster])
    weight = area / np.maximum(np.bincount(cluster, area, count), 1e-15)[cluster]
    quadric = np.zeros((count, 3, 3))
    np.add.at(quadric, cluster, weight[:, None, None] * plane[:, :, None] * plane[:, None, :])
    pull = np.zeros((count, 3))
    np.add.at(pull, cluster, (weight * offset)[:, None] * plane)
    # A flat cell leaves two directions open; the small ridge keeps the mean there.
    shift = np.linalg.solve(quadric + 0.02 * np.eye(3), pull[:, :, None])[:, :, 0]
    return mean + np.clip(shift, -cell / 2, cell / 2)


def lathe(profile: np.ndarray, segments: int) -> Mesh:
    """Turn a profile around the z axis.

    Args:
        profile: (P, 2) m, radius and height, running so that the outside lies to its left when
            radius points right and height up.
        segments: number of steps around, >= 3.

    Returns:
        A smoothly shaded mesh, closed where the profile starts and ends on the axis (radius 0).
    """
    angle = 2 * np.pi * np.arange(segments) / segments
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    tangent = np.gradient(profile, axis=0)
    outward = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
    outward[profile[:, 0] == 0, 0] = 0.0
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)

    def turn(curve: np.ndarray) -> np.ndarray:
        around = curve[:, None, :1] * ring
        heights = np.broadcast_to(curve[:, None, 1:], (len(curve), segments, 1))
        return np.concatenate([around, heights], axis=2).reshape(-1, 3)

    first = np.arange(len(profile) - 1)[:, None] * segments
    here = np.arange(segments)
    beside = (here + 1) % segments
    inner, inner_beside = first + here, first + beside
    outer, outer_beside = inner + segments, inner_beside + segments
    quads = np.stack([inner, outer, outer_beside, inner, outer_beside, inner_beside], axis=-1)
    faces = quads.reshape(-1, 3)
    # On the axis a ring is one point, and half of each quad is a line.
    on_axis = np.repeat(profile[:, 0] == 0, segments)
    faces = faces[on_axis[faces].sum(axis=1) < 2]
    return Mesh(turn(profile), turn(outward), faces)
