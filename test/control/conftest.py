"""For the tests of control: the xArm7's driver, connected to the simulated box."""

import pytest

from himoe_ros.control.xarm7 import XArm7Driver
from himoe_ros.core.embodiment import load_embodiment
from himoe_ros.resources import config


@pytest.fixture
def driver(rig):
    driver = XArm7Driver(rig.address, load_embodiment("xarm7", config("embodiments")))
    driver.connect()
    yield driver
    driver.close()
