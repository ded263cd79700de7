"""What of the things on the table no XML can tell: turned meshes, cups' walls, painted textures."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import mujoco
import numpy as np

from ..core.errors import SimulationError
from . import meshes, textures
from .sewing import sew
from .shorts import SHORTS

# Radius and height, m, from the axis out and around: plates and apple are turned on a lathe.
PLATE_PROFILE = np.array(
    [
        (0.0, 0.0042),
        (0.044, 0.0042),
        (0.050, 0.0044),
        (0.056, 0.0060),
        (0.0715, 0.0078),
        (0.0740, 0.0075),
        (0.0735, 0.0055),
        (0.056, 0.0004),
        (0.0, 0.0002),
    ]
)
PLATE_RIM_PROFILE = np.array(
    [
        (0.0695, 0.0072),
        (0.0705, 0.0080),
        (0.0730, 0.0083),
        (0.0749, 0.0078),
        (0.0744, 0.0060),
        (0.0715, 0.0050),
    ]
)
APPLE_PROFILE = np.array(
    [
        (0.0, 0.0235),
        (0.004, 0.0252),
        (0.009, 0.0285),
        (0.0145, 0.0290),
        (0.0215, 0.0250),
        (0.0275, 0.0170),
        (0.0308, 0.0070),
        (0.0308, -0.0030),
        (0.0280, -0.0140),
        (0.0225, -0.0230),
        (0.0150, -0.0288),
        (0.0085, -0.0308),
        (0.0040, -0.0300),
        (0.0, -0.0285),
    ]
)


@dataclass(frozen=True)
class Cup:
    """A hollow cup, m and kg: outer radii at foot and rim, height, thickness of wall and floor."""

    foot: float
    rim: float
    height: float
    mass: float
    wall: float = 0.0022
    floor: float = 0.003

    @property
    def profile(self) -> np.ndarray:
        """(P, 2) m, for the lathe."""
        return np.array(
            [
                (0.0, self.floor),
                (self.foot - self.wall, self.floor),
                (self.rim - self.wall, self.height),
                (self.rim + 0.0006, self.height),
                (self.rim + 0.0006, self.height - 0.004),
                (self.rim - 0.0005, self.height - 0.004),
                (self.foot, 0.0),
                (0.0, 0.0),
            ]
        )


CUP_SEGMENTS = 16
CUPS = {  # name of the mesh, and last part of a thing's name
    "cup": Cup(foot=0.027, rim=0.0355, height=0.072, mass=0.05),  # goes into another
    "beaker": Cup(foot=0.023, rim=0.027, height=0.105, mass=0.05),
    "bowl": Cup(foot=0.045, rim=0.07, height=0.045, mass=0.2, wall=0.003),
}
GRAINS, GRAINS_A_ROW = 15, 5  # in a box, called <material>.<number>
GRAIN_M, GRAIN_GAP_M = 0.007, 0.0145  # radius, and distance when they are laid
BOX_INSIDE_M, BOX_FLOOR_M = 0.0415, 0.004  # from its middle to its walls, and from its foot


def furnish(spec: mujoco.MjSpec, things: Collection[str]) -> None:
    """Finish the things of things.xml in a scene; those that are not named are taken out.

    Raises:
        SimulationError: a thing that there is not.
    """
    there = [body.name for body in spec.worldbody.bodies if body.joints and body.joints[0].name == body.name]
    if unknown := sorted(set(things) - set(there)):
        raise SimulationError(f"the simulation has no {', '.join(unknown)}; it has {', '.join(sorted(there))}")
    for name in set(there) - set(things):
        spec.delete(spec.body(name))
    for name in things:
        if (shape := CUPS.get(name.split("_")[-1])) is not None:
            _add_walls(spec, spec.body(name), shape)
        if (garment := SHORTS.get(name)) is not None:
            sew(spec, spec.body(name), garment)
        elif spec.material(name) is not None:  # a box, full of it
            _add_grains(spec, name)
    add_mesh(spec, "plate", meshes.lathe(PLATE_PROFILE, segments=48))
    add_mesh(spec, "plate_rim", meshes.lathe(PLATE_RIM_PROFILE, segments=48))
    add_mesh(spec, "apple", meshes.lathe(APPLE_PROFILE, segments=32))
    for name, shape in CUPS.items():
        add_mesh(spec, name, meshes.lathe(shape.profile, segments=40))
    _add_texture(spec, "wood", mujoco.mjtTexture.mjTEXTURE_2D, textures.wood())
    _add_texture(spec, "apple_skin", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.apple_skin())
    _add_texture(spec, "orange_peel", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.orange_peel())
    _add_texture(spec, "pomegranate_skin", mujoco.mjtTexture.mjTEXTURE_CUBE, textures.pomegranate_skin())


def add_mesh(spec: mujoco.MjSpec, name: str, mesh: meshes.Mesh) -> None:
    """Under this name, for a geom to show."""
    spec.add_mesh(
        name=name,
        uservert=mesh.vertices.ravel(),
        userface=mesh.faces.ravel(),
        usernormal=mesh.normals.ravel(),
        userfacenormal=mesh.faces.ravel(),
        # The thinned surfaces are not watertight; masses are given on the bodies.
        inertia=mujoco.mjtMeshInertia.mjMESH_INERTIA_SHELL,
    )


def _add_texture(spec: mujoco.MjSpec, name: str, kind: mujoco.mjtTexture, pixels: np.ndarray) -> None:
    height, width, channels = pixels.shape
    texture = spec.add_texture(name=name, type=kind, width=width, height=height, nchannel=channels)
    texture.data = pixels.tobytes()


def _add_walls(spec: mujoco.MjSpec, cup: mujoco.MjsBody, shape: Cup) -> None:
    """A floor, and boxes that lean outward, all around: hollow, so that another cup goes in."""
    own, mass = spec.find_default("cup"), shape.mass / (CUP_SEGMENTS + 1)
    cup.add_geom(
        own,
        name=cup.name,
        type=mujoco.mjtGeom.mjGEOM_CYLINDER,
        size=[shape.foot - shape.wall, shape.floor / 2, 0.0],
        pos=[0.0, 0.0, shape.floor / 2],
        mass=mass,
    )
    lean = np.arctan2(shape.rim - shape.foot, shape.height)
    middle = (shape.rim + shape.foot - shape.wall) / 2
    size = [shape.wall / 2, middle * np.tan(np.pi / CUP_SEGMENTS), shape.height / 2]
    for turn in 2 * np.pi * np.arange(CUP_SEGMENTS) / CUP_SEGMENTS:
        place = [middle * np.cos(turn), middle * np.sin(turn), shape.height / 2]
        (c, s), (cl, sl) = ((np.cos(a / 2), np.sin(a / 2)) for a in (turn, lean))
        # Leans about its own y axis, then turns about z.
        cup.add_geom(own, size=size, pos=place, quat=[c * cl, -s * sl, c * sl, s * cl], mass=mass)


def _add_grains(spec: mujoco.MjSpec, material: str) -> None:
    """Grains of a material on the floor of its box, far from the right arm, whose spoon goes down before them."""
    box, own = spec.body(material), spec.find_default("grain")
    for number in range(GRAINS):
        row, across = divmod(number, GRAINS_A_ROW)
        offset = (
            GRAIN_GAP_M * row - BOX_INSIDE_M + GRAIN_M,
            GRAIN_GAP_M * (across - (GRAINS_A_ROW - 1) / 2),
            BOX_FLOOR_M + GRAIN_M,
        )
        grain = spec.worldbody.add_body(name=f"{material}.{number}", pos=np.add(box.pos, offset), childclass="grain")
        grain.add_freejoint(name=f"{material}.{number}")
        grain.add_geom(own, material=material)
