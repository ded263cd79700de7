"""The errors a user of himoe_ros can meet.

Each message names what was expected, what came, and what to do. Every command
line face catches `HimoeError`, prints the message alone, and exits with 2.
"""

from __future__ import annotations


class HimoeError(Exception):
    """Base of every error that is meant for the user."""


class ConfigError(HimoeError):
    """A configuration file or parameter does not say what it must."""


class ObservationError(HimoeError):
    """A sensor message cannot become part of an observation."""


class GuardError(HimoeError):
    """An action must not reach a robot."""


class InferenceError(HimoeError):
    """A model could not answer, as when memory runs out."""


class DriverError(HimoeError):
    """The robot cannot be reached or refuses a command."""


class RecordingError(HimoeError):
    """A bag or data set cannot be written or read."""


class TrainingError(HimoeError):
    """A training cannot begin or go on."""


class SimulationError(HimoeError):
    """The simulator cannot start or run."""
