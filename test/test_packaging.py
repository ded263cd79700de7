"""An installation by colcon holds all it needs, and its launch file starts what bringup says."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

import pytest

from himoe_ros.bringup import arguments, graph

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def install(tmp_path_factory) -> Path:
    """The prefix of a fresh colcon build."""
    base = tmp_path_factory.mktemp("colcon")
    colcon = Path(sys.executable).with_name("colcon")
    command = [colcon, "--log-base", "log", "build", "--base-paths", ROOT, "--packages-select", "himoe_ros"]
    # The interpreter that colcon starts must not inherit the wheels' one-time bootstrap.
    env = {k: v for k, v in os.environ.items() if k not in ("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "LD_LIBRARY_PATH")}
    env["PATH"] = f"{colcon.parent}:{env['PATH']}"
    done = subprocess.run(command, cwd=base, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return base / "install" / "himoe_ros"


def test_colcon_installs_nodes_files_and_index(install):
    nodes = {p.name for p in (install / "lib" / "himoe_ros").iterdir()}
    sources = {p.stem for p in (ROOT / "src/himoe_ros/nodes").glob("*.py") if "def main()" in p.read_text()}
    assert nodes == sources | {"himoe"}
    share = install / "share" / "himoe_ros"
    for folder in ("launch", "config", "urdf"):
        wanted = {p.relative_to(ROOT) for p in (ROOT / folder).rglob("*") if p.is_file()}
        assert wanted == {p.relative_to(share) for p in (share / folder).rglob("*") if p.is_file()}
    assert (share / "package.xml").is_file()
    assert (install / "share/ament_index/resource_index/packages/himoe_ros").is_file()
    assert list(install.rglob("himoe_ros/sim/*.xml"))


def test_an_installed_himoe_finds_its_configuration(install, tmp_path):
    packages = next(install.rglob("site-packages"))
    env = {**os.environ, "PYTHONPATH": str(packages), "AMENT_PREFIX_PATH": str(install)}
    code = "from himoe_ros import resources; print(resources.share())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True)
    assert Path(done.stdout.strip()) == install / "share" / "himoe_ros", done.stderr


class Recorder:
    """Stands for any launch action and keeps what it was made with."""

    made: ClassVar[list[Recorder]] = []

    def __init__(self, *args, **kwargs):
        self.args, self.kwargs = args, kwargs
        Recorder.made.append(self)


@pytest.fixture
def launch_modules(monkeypatch) -> dict[str, type]:
    """Just enough of `launch` and `launch_ros`, which no registry has, to run a launch file."""
    names = ("DeclareLaunchArgument", "OpaqueFunction", "SetEnvironmentVariable", "Shutdown", "LaunchDescription")
    kinds = {name: type(name, (Recorder,), {}) for name in (*names, "Node")}

    class LaunchConfiguration:
        def __init__(self, name):
            self.name = name

        def perform(self, context):
            return context[self.name]

    contents = {
        "launch": {"LaunchContext": object, **kinds},
        "launch.action": {"Action": object},
        "launch.actions": kinds,
        "launch.substitutions": {"LaunchConfiguration": LaunchConfiguration},
        "launch_ros": {},
        "launch_ros.actions": kinds,
    }
    for name, values in contents.items():
        module = types.ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.delitem(sys.modules, "himoe_ros.launching", raising=False)
    Recorder.made = []
    return kinds


@pytest.mark.parametrize(("file", "trials"), [("xarm7", False), ("trials", True)])
def test_the_installed_launch_file_starts_what_bringup_says(install, launch_modules, file, trials):
    path = install / "share/himoe_ros/launch" / f"{file}.launch.py"
    spec = importlib.util.spec_from_file_location("launch_file", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    (actions,) = module.generate_launch_description().args

    declared = {a.args[0]: a.kwargs for a in actions if isinstance(a, launch_modules["DeclareLaunchArgument"])}
    known = {a.name: a for a in arguments("xarm7", trials)}
    assert set(declared) == set(known) | {"namespace", "params_file", "log_level"}
    assert all(kwargs["description"] for kwargs in declared.values())

    context = {name: kwargs["default_value"] for name, kwargs in declared.items()} | {"seed": "7"}
    (opaque,) = (a for a in actions if isinstance(a, launch_modules["OpaqueFunction"]))
    nodes = opaque.kwargs["function"](context)
    table = [(n.kwargs["executable"], n.kwargs["name"], n.kwargs["parameters"][0]) for n in nodes]
    wanted = [(s.executable, s.name, dict(s.parameters)) for s in graph("xarm7", {"seed": 7}, trials)]
    assert table == wanted
    assert {n.kwargs["executable"] for n in nodes} <= {p.name for p in (install / "lib/himoe_ros").iterdir()}


def test_package_xml_is_valid_and_names_what_the_code_imports():
    package = ElementTree.parse(ROOT / "package.xml").getroot()
    assert package.get("format") == "3"
    # catkin_pkg is what colcon reads it with; a bad field would silently make this a plain Python package.
    from catkin_pkg.package import parse_package

    parsed = parse_package(str(ROOT / "package.xml"))
    assert parsed.get_build_type() == "ament_python"
    needed = {d.name for d in parsed.exec_depends}
    source = "\n".join(p.read_text() for p in (ROOT / "src").rglob("*.py"))
    messages = set(re.findall(r"^from (\w+)\.(?:msg|srv) import", source, re.MULTILINE))
    assert messages <= needed
