"""For every test: draw off screen, keep ROS on this machine and apart from other graphs."""

import os

os.environ.setdefault("MUJOCO_GL", "egl")
# Two threads of OpenMP that wait for each other on a busy core are a hundred times slower than one.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
