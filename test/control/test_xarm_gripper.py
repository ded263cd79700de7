"""Pulses, radians and metres of the xArm Gripper."""

from __future__ import annotations

import mujoco
import numpy as np
import pytest

from himoe_ros.control.xarm_gripper import PULSES, position_of, pulse_of, pulse_of_width, width_of
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config
from himoe_ros.sim.scene import build_scene

GRIPPER = load_embodiment("xarm7", config("embodiments")).arms[0].gripper
FINGER_JOINTS = ("left_finger_joint", "left_inner_knuckle_joint", "right_outer_knuckle_joint", "right_finger_joint")


def test_the_ends_of_the_range_are_the_embodiments():
    assert pulse_of(GRIPPER.open) == PULSES and pulse_of(GRIPPER.closed) == 0
    assert [GRIPPER.opening(position_of(p)) for p in (0, 425, 850)] == pytest.approx([0, 0.5, 1])
    assert pulse_of(-1.0) == PULSES and pulse_of(2.0) == 0


def test_width_and_pulse_are_inverse_and_span_the_vendors_stroke():
    assert width_of(0) == pytest.approx(0.0, abs=2e-4)
    assert width_of(850) == pytest.approx(0.084, abs=2e-4)
    for pulse in range(0, 851, 10):
        assert pulse_of_width(width_of(pulse)) == pytest.approx(pulse, abs=3)


def test_width_agrees_with_the_vendors_model_of_the_fingers():
    model = build_scene("xarm7", ["apple"]).model
    data = mujoco.MjData(model)

    def pads(position: float) -> float:
        for joint in ("drive_joint", *FINGER_JOINTS):
            data.joint(joint).qpos[0] = position
        mujoco.mj_forward(model, data)
        return float(np.linalg.norm(data.geom("left_pad").xpos - data.geom("right_pad").xpos))

    closed = pads(GRIPPER.closed)
    for pulse in range(0, 851, 50):
        assert width_of(pulse) == pytest.approx(pads(position_of(pulse)) - closed, abs=4e-3)
