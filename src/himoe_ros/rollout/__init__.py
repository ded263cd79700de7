"""Simulated time: the same control loop as on the robot, right over the physics, as fast as the machine computes."""
