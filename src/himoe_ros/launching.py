"""bringup.py as actions of ROS 2 launch; imported by launch/*.launch.py only."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from launch import LaunchContext

from .bringup import NodeSpec, arguments, environment, graph, recorder, teleop
from .options import RECORD_ARGUMENTS, TELEOP_ARGUMENTS, Argument

COMMON = (
    ("namespace", "", "namespace of every node and relative topic"),
    ("params_file", "", "YAML file with ROS parameters that override the arguments"),
    ("log_level", "info", "debug, info, warn or error"),
)


def robot_actions(robot: str) -> list[Action]:
    """Everything a launch file of one robot does."""
    return _actions(arguments(robot), lambda value: graph(robot, value))


def trials_actions() -> list[Action]:
    """Everything trials.launch.py does: a session on the robot of its protocol."""

    def nodes(value: dict[str, str]) -> Sequence[NodeSpec]:
        return graph(value["protocol"].split("/")[0] or "xarm7", value, trials=True)

    return _actions(arguments("xarm7", trials=True), nodes)


def recorder_actions() -> list[Action]:
    """Everything record.launch.py does."""
    return _beside(recorder, RECORD_ARGUMENTS)


def teleop_actions() -> list[Action]:
    """Everything teleop.launch.py does."""
    return _beside(teleop, TELEOP_ARGUMENTS)


def _beside(make: Callable[[str, dict[str, str]], Sequence[NodeSpec]], known: Sequence[Argument]) -> list[Action]:
    """Nodes beside a robot's graph, whose robot is an argument."""
    robot = Argument("robot", "xarm7", "embodiment")

    def nodes(value: dict[str, str]) -> Sequence[NodeSpec]:
        return make(value.pop(robot.name), value)

    return _actions((robot, *known), nodes)


def _actions(known: Sequence[Argument], specs: Callable[[dict[str, str]], Sequence[NodeSpec]]) -> list[Action]:
    declared = [DeclareLaunchArgument(a.name, default_value=str(a.default), description=a.help) for a in known]
    declared += [DeclareLaunchArgument(n, default_value=d, description=h) for n, d, h in COMMON]
    variables = [SetEnvironmentVariable(k, v) for k, v in environment().items()]

    def nodes(context: LaunchContext) -> list[Node]:
        def value(name: str) -> str:
            return LaunchConfiguration(name).perform(context)

        overrides = [value("params_file")] if value("params_file") else []
        return [
            Node(
                package="himoe_ros",
                executable=spec.executable,
                name=spec.name,
                namespace=value("namespace"),
                parameters=[dict(spec.parameters), *overrides],
                remappings=list(spec.remappings.items()),
                additional_env=dict(spec.environment),
                ros_arguments=["--log-level", value("log_level")],
                output="screen",
                on_exit=Shutdown(),
                sigterm_timeout=str(5.0 + spec.leaves_within_s),
            )
            for spec in specs({a.name: value(a.name) for a in known})
        ]

    return [*declared, *variables, OpaqueFunction(function=nodes)]
