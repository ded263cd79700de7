"""The robot description tells the same kinematics as the embodiment."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import xacro

from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.core.kinematics import pose_matrix, rotation_matrix, rpy_to_matrix
from himoe_ros.resources import config

URDF = Path(__file__).parents[1] / "urdf"


def test_xarm7_urdf_has_the_kinematics_and_limits_of_the_embodiment():
    arm = load_embodiment("xarm7", config("embodiments")).arms[0]
    mappings = {"config": str(config("embodiments") / "xarm7.yaml")}
    text = xacro.process_file(str(URDF / "xarm7.urdf.xacro"), mappings=mappings).toxml()
    joints = {j.get("name"): j for j in ElementTree.fromstring(text).findall("joint")}
    for name, lower, upper in zip(arm.joints, arm.bounds.lower, arm.bounds.upper, strict=True):
        limit = joints[name].find("limit")
        assert (float(limit.get("lower")), float(limit.get("upper"))) == (lower, upper)

    def origin(name: str) -> np.ndarray:
        element = joints[name].find("origin")
        xyz, rpy = (np.array((element.get(key) or "0 0 0").split(), dtype=float) for key in ("xyz", "rpy"))
        return pose_matrix(xyz, rpy_to_matrix(*rpy))

    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(arm.bounds.lower, arm.bounds.upper)
        pose = np.eye(4)
        for name, angle in zip(arm.joints, q, strict=True):
            turn = rotation_matrix(angle * np.array([0.0, 0.0, 1.0]))
            pose = pose @ origin(name) @ pose_matrix(np.zeros(3), turn)
        np.testing.assert_allclose(pose @ origin("tool"), arm.forward(q), atol=1e-9)
