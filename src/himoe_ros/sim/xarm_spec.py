"""What the simulated controller knows about its arm: the xArm7 with the first-generation xArm Gripper."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..core.kinematics import JointBounds, SerialChain

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class ArmSpec:
    """An arm as its controller describes and limits it.

    Attributes:
        identity: answer to "version": axes, type, arm and box serial numbers, firmware.
        serials: arm and box serial number.
        firmware: version alone.
        chain: from the base to the tool point, m; the flange where no TCP offset is set.
        bounds: joint limits, rad, and the posture that IK prefers.
        max_joint_speed: rad/s.
        max_joint_acceleration: rad/s².
        max_tcp_speed: m/s, in a straight line.
        max_tcp_acceleration: m/s².
        servo_tcp_factor: servo mode trips above this many times `max_tcp_speed`.
        servo_window: s, over which the speed that servo commands ask for is measured. It stands in
            for the controller's own filter: a jump may be as large as the speed limit times this.
    """

    identity: str
    serials: tuple[str, str]
    firmware: str
    chain: SerialChain
    bounds: JointBounds
    max_joint_speed: float
    max_joint_acceleration: float
    max_tcp_speed: float
    max_tcp_acceleration: float
    servo_tcp_factor: float
    servo_window: float


# Rows of d (m), theta (rad), alpha (rad), a (m): UFACTORY xArm developer manual, "xArm7 kinematic parameters
# (modified DH)". They agree with the MJCF of gym-xarm 0.1.1 to 0.014 mm.
_XARM7_DH = np.array(
    [
        [0.2670, 0.0, 0.0, 0.0],
        [0.0, 0.0, -math.pi / 2, 0.0],
        [0.2930, 0.0, math.pi / 2, 0.0],
        [0.0, 0.0, math.pi / 2, 0.0525],
        [0.3425, 0.0, math.pi / 2, 0.0775],
        [0.0, 0.0, math.pi / 2, 0.0],
        [0.0970, 0.0, -math.pi / 2, 0.0760],
    ]
)

# Limits: JOINT_LIMITS of type XARM7_X4 in the SDK's x_config.py. The serial number decides which table the SDK
# itself checks; XI1300 selects this one. Speeds: 180 deg/s, 20 rad/s² and 1000 mm/s are the SDK's own maxima;
# the factor 1.2 is get_linear_spd_limit_factor's default and what C60 names on real arms
# (github.com/xArm-Developer/xArm-CPLUS-SDK/issues/27). The window is ours.
XARM7 = ArmSpec(
    identity="7,7,XI130001,AC130001,v2.5.0",
    serials=("XI130001", "AC130001"),
    firmware="v2.5.0",
    chain=SerialChain(_XARM7_DH, np.eye(4)),
    bounds=JointBounds(
        lower=np.array([-2 * math.pi, -2.059488, -2 * math.pi, -0.191986, -2 * math.pi, -1.692969, -2 * math.pi]),
        upper=np.array([2 * math.pi, 2.094395, 2 * math.pi, 3.92699, 2 * math.pi, math.pi, 2 * math.pi]),
        rest=np.array([0.0, -0.25, 0.0, 0.7, 0.0, 0.95, 0.0]),
    ),
    max_joint_speed=math.pi,
    max_joint_acceleration=20.0,
    max_tcp_speed=1.0,
    max_tcp_acceleration=50.0,
    servo_tcp_factor=1.2,
    servo_window=0.02,
)
