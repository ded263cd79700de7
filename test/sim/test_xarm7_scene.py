"""The model of the arm: kinematics, limits, gripper, cameras."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from himoe_ros.core.errors import SimulationError
from himoe_ros.sim.scene import build_scene
from himoe_ros.sim.xarm7_scene import JOINTS
from himoe_ros.trials.things import THINGS

# Modified Denavit-Hartenberg parameters of the vendor's manual: a (m), alpha (deg), d (m).
DH = (
    (0.0, 0, 0.267),
    (0.0, -90, 0.0),
    (0.0, 90, 0.293),
    (0.0525, 90, 0.0),
    (0.0775, 90, 0.3425),
    (0.0, 90, 0.0),
    (0.076, -90, 0.097),
)
TOOL_M = 0.172


def forward(joints: np.ndarray) -> np.ndarray:
    """Pose (4, 4) of the tool point for (7,) rad."""
    pose = np.eye(4)
    for (a, alpha_deg, d), theta in zip(DH, joints, strict=True):
        alpha = np.radians(alpha_deg)
        ca, sa, ct, st = np.cos(alpha), np.sin(alpha), np.cos(theta), np.sin(theta)
        pose = pose @ np.array(
            [
                [ct, -st, 0, a],
                [st * ca, ct * ca, -sa, -d * sa],
                [st * sa, ct * sa, ca, d * ca],
                [0, 0, 0, 1],
            ]
        )
    pose[:3, 3] += TOOL_M * pose[:3, 2]
    return pose


def test_kinematics_are_the_vendors(model):
    data = mujoco.MjData(model)
    rng = np.random.default_rng(0)
    for _ in range(50):
        joints = rng.uniform(*model.jnt_range[[model.joint(name).id for name in JOINTS]].T)
        data.qpos[:7] = joints
        mujoco.mj_kinematics(model, data)
        expected = forward(joints)
        assert data.site("tcp").xpos == pytest.approx(expected[:3, 3], abs=1e-5)
        assert data.site("tcp").xmat.reshape(3, 3) == pytest.approx(expected[:3, :3], abs=1e-5)


def test_ranges_are_the_vendors(model):
    full = (-2 * np.pi, 2 * np.pi)
    ranges = (full, (-2.059, 2.0944), full, (-0.19198, 3.927), full, (-1.69297, 3.141593), full)
    for name, expected in zip(JOINTS, ranges, strict=True):
        assert model.joint(name).range == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(("drive_rad", "gap_m"), [(0.0, 0.085), (0.85, 0.0)])
def test_pads_stand_85_mm_apart_open_and_meet_closed(model, drive_rad, gap_m):
    data = mujoco.MjData(model)
    for joint in (
        "drive_joint",
        "left_finger_joint",
        "right_outer_knuckle_joint",
        "right_finger_joint",
    ):
        data.joint(joint).qpos = drive_rad
    mujoco.mj_kinematics(model, data)
    left, right = data.geom("left_pad"), data.geom("right_pad")
    thickness = 2 * model.geom("left_pad").size[1]
    across = left.xmat.reshape(3, 3)[:, 1]
    assert abs(across @ (left.xpos - right.xpos)) - thickness == pytest.approx(gap_m, abs=0.003)
    assert left.xmat == pytest.approx(right.xmat, abs=1e-9)


def test_only_pads_table_and_objects_collide(model):
    colliding = {model.geom(index).name for index in range(model.ngeom) if model.geom_contype[index]}
    assert colliding == {
        "left_pad",
        "right_pad",
        "table",
        "shelf",
        "apple",
        "orange",
        "blue_plate",
        "pink_plate",
    }


def test_shadows_are_a_choice():
    assert build_scene("xarm7", [], shadows=True).model.light_castshadow.any()


def test_no_shadows_unless_asked_for(model):
    assert not model.light_castshadow.any()


def test_things_are_as_large_as_judges_and_layouts_think():
    model = build_scene("xarm7", THINGS).model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for name, thing in THINGS.items():
        body = model.body(name).id
        whole = [g for g in range(model.ngeom) if model.body_rootid[model.geom_bodyid[g]] == body]
        geoms = [g for g in whole if model.geom_contype[g]]
        corners = np.concatenate([_corners(model, data, g) for g in geoms]) - data.xpos[body]
        assert np.hypot(*corners[:, :2].T).max() == pytest.approx(thing.radius, rel=0.03), name
        assert corners[:, 2].max() == pytest.approx(thing.top, abs=1.5e-3), name
        assert -corners[:, 2].min() == pytest.approx(thing.foot, abs=1.5e-3), name


def _corners(model: mujoco.MjModel, data: mujoco.MjData, geom: int) -> np.ndarray:
    """Points that reach as far as a geom does, (N, 3) m."""
    size, kind = model.geom_size[geom], model.geom_type[geom]
    if kind == mujoco.mjtGeom.mjGEOM_SPHERE:
        local = size[0] * np.vstack([np.eye(3), -np.eye(3)])
    elif kind == mujoco.mjtGeom.mjGEOM_CYLINDER:
        local = np.array([[x, y, z] for x, y in ((size[0], 0), (0, size[0])) for z in (size[1], -size[1])])
    else:
        local = size * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return local @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]


def test_a_thing_that_there_is_not_is_named():
    with pytest.raises(SimulationError, match="the simulation has no melon; it has apple, "):
        build_scene("xarm7", ["apple", "melon"])
