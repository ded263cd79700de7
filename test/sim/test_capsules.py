"""The capsules of the embodiment file enclose the simulated arm, whose shapes are the vendor's meshes."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from himoe_ros.core.capsules import BASE
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config

XARM7 = load_embodiment("xarm7", config("embodiments"))
LINKS = {"link_base": BASE, **{f"link{i}": f"joint{i}" for i in range(1, 8)}}
GRIPPER_JOINTS = [
    "drive_joint",
    *(f"{side}_{part}_joint" for side in ("left", "right") for part in ("finger", "inner_knuckle")),
    "right_outer_knuckle_joint",
]
SLACK = 5e-4  # m


def corners(model, geom: int) -> np.ndarray:
    if model.geom_type[geom] == mujoco.mjtGeom.mjGEOM_MESH:
        mesh = model.geom_dataid[geom]
        start = model.mesh_vertadr[mesh]
        return model.mesh_vert[start : start + model.mesh_vertnum[mesh]]
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    return signs * model.geom_size[geom]


def outside(points: np.ndarray, link: str) -> float:
    """How far, m, the worst of (N, 3) points lies outside the capsules of a link."""
    depth = []
    for capsule in (c for c in XARM7.collision.capsules if c.link == link):
        axis = capsule.end - capsule.start
        share = np.clip((points - capsule.start) @ axis / (axis @ axis), 0, 1)
        depth.append(np.linalg.norm(points - capsule.start - share[:, None] * axis, axis=1) - capsule.radius)
    return float(np.min(depth, axis=0).max())


@pytest.mark.parametrize("opening", [0.0, 0.3, 0.6, 0.85])
def test_every_corner_of_every_link_lies_in_a_capsule(model, opening):
    data = mujoco.MjData(model)
    for name in GRIPPER_JOINTS:
        data.qpos[model.joint(name).qposadr[0]] = opening
    mujoco.mj_kinematics(model, data)
    links = {model.body(name).id: link for name, link in LINKS.items()}
    seen = set()
    for geom in range(model.ngeom):
        body = int(model.geom_bodyid[geom])
        while body and body not in links:
            body = int(model.body_parentid[body])
        if not body:
            continue
        world = corners(model, geom) @ data.geom_xmat[geom].reshape(3, 3).T + data.geom_xpos[geom]
        local = (world - data.xpos[body]) @ data.xmat[body].reshape(3, 3)
        assert outside(local, links[body]) < SLACK, f"geom {geom} of {model.body(body).name}"
        seen.add(links[body])
    assert seen == set(LINKS.values())
