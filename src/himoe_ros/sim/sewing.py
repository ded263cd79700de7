"""Shorts as bodies of a scene: four stiff panels, hinged where the garment is folded, and balls on its corners."""

from __future__ import annotations

import mujoco
import numpy as np

from .shorts import HEM, LEFT_LEG, MIDDLE, RIGHT_LEG, SIDE, WAIST, Shorts

PANEL_KG, BALL_KG = 0.04, 0.004
BALL_M, CORD_M = 0.01, 0.0025  # radii
BALL_FRICTION = (1.2, 0.0005, 0.0001)  # it turns between two fingers
SEAM_M = 0.001  # from a fold to a panel's edge
CREASE_M = 0.014  # from the fold across to where a leg is stiff: closer, two that lie askew would jam
BAND_M = 0.014  # width of the waistband


def sew(spec: mujoco.MjSpec, right: mujoco.MjsBody, shape: Shorts) -> None:
    """Make a garment of a body, which becomes the right half's upper panel; its material has the body's name."""
    thick = shape.thickness
    left = _hinged(spec, right, MIDDLE, (0.0, np.pi), thick)
    right_leg = _hinged(spec, right, RIGHT_LEG, (0.0, np.pi), 2 * thick)  # over what lies on it by then
    left_leg = _hinged(spec, left, LEFT_LEG, (-np.pi, 0.0), 0.0)  # its left half lies upside down
    for upper, leg, side in ((right, right_leg, 1), (left, left_leg, -1)):
        middle, width = side * (shape.half + SEAM_M) / 2, shape.half - SEAM_M
        for body, low, high, solid in (
            (upper, SEAM_M, shape.waist, True),
            (leg, -shape.leg, -CREASE_M, True),
            (leg, -CREASE_M, -SEAM_M, False),
        ):
            body.add_geom(
                spec.find_default("garment" if solid else "decor"),
                type=mujoco.mjtGeom.mjGEOM_BOX,
                size=[width / 2, (high - low) / 2, thick / 2],
                pos=[middle, (low + high) / 2, thick / 2],
                mass=PANEL_KG if solid else 0.0,
                material=right.name,
            )
        upper.add_geom(
            spec.find_default("decor"),
            type=mujoco.mjtGeom.mjGEOM_BOX,
            size=[width / 2, BAND_M / 2, thick / 2 + 0.0003],
            pos=[middle, shape.waist - BAND_M / 2, thick / 2],
            mass=0.0,
            material="elastic",
        )
    side, hem = np.array([shape.side_cord, 0.0, 0.0]), np.array([0.0, shape.hem_cord, 0.0])
    for body, name, cord in ((left, WAIST, side), (left_leg, SIDE, side), (right_leg, HEM, hem)):
        place = shape.balls[name]
        _add_ball(spec, body, place, np.array([*(place + cord)[:2], thick / 2]))


def _hinged(
    spec: mujoco.MjSpec, parent: mujoco.MjsBody, name: str, ends: tuple[float, float], height: float
) -> mujoco.MjsBody:
    """The left half beside the middle line, or a leg below the line across."""
    whole = parent.name.partition(".")[0]
    body = parent.add_body(name=f"{whole}.{name}", childclass="garment")
    body.add_joint(
        spec.find_default("garment"),
        type=mujoco.mjtJoint.mjJNT_HINGE,
        name=body.name,
        pos=[0.0, 0.0, height],
        axis=[0.0, 1.0, 0.0] if name == MIDDLE else [-1.0, 0.0, 0.0],
        range=ends,
    )
    return body


def _add_ball(spec: mujoco.MjSpec, body: mujoco.MjsBody, place: np.ndarray, edge: np.ndarray) -> None:
    """On a cord, which is for the eye."""
    body.add_geom(
        spec.find_default("garment"),
        type=mujoco.mjtGeom.mjGEOM_SPHERE,
        size=[BALL_M, 0.0, 0.0],
        pos=place,
        mass=BALL_KG,
        friction=BALL_FRICTION,
        priority=2,  # over the pads'
        material="cord",
    )
    body.add_geom(
        spec.find_default("decor"),
        type=mujoco.mjtGeom.mjGEOM_CAPSULE,
        fromto=[*place, *edge],
        size=[CORD_M, 0.0, 0.0],
        mass=0.0,
        material="cord",
    )
