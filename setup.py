"""ament_python package: built by colcon on ROS installations, by pip elsewhere."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "himoe_ros"
NODES = (
    "bag_player",
    "controller",
    "graph_probe",
    "graph_survey",
    "policy",
    "policy_switch",
    "recorder",
    "sim_aloha",
    "gym_aloha",
    "gym_cameras",
    "sim_cameras",
    "sim_collector",
    "sim_expert",
    "sim_xarm7",
    "synthetic_sensors",
    "teleop_keyboard",
    "teleop_leader",
    "teleop_pad",
    "trials",
)

# Ranges that hold on Python 3.10 to 3.12; constraints.txt pins what the tests run with.
EXTRAS = {
    "ros": [  # real ROS 2 (Kilted) from wheels, where no ROS is installed
        "ros-rclpy==9.1.2",
        "ros-rmw-fastrtps-cpp==9.3.3",
        "ros-std-msgs",
        "ros-std-srvs==5.5.1",
        "ros-sensor-msgs==5.5.1",
        "ros-geometry-msgs==5.5.1",
        "ros-trajectory-msgs==5.5.1",
        "ros-diagnostic-msgs==5.5.1",
        "ros-lifecycle-msgs==2.3.0",
    ],
    "jazzy": [  # the same of ROS 2 Jazzy, and NumPy as it is there
        "ros-rclpy==7.1.6",
        "ros-rmw-fastrtps-cpp==8.4.3",
        "ros-std-msgs==5.3.6",
        "ros-std-srvs==5.3.6",
        "ros-sensor-msgs==5.3.6",
        "ros-geometry-msgs==5.3.6",
        "ros-trajectory-msgs==5.3.6",
        "ros-diagnostic-msgs==5.3.6",
        "ros-lifecycle-msgs==2.0.3",
        "numpy<2",
        "pyarrow<22",
    ],
    # Also needs the meshes of two packages whose own requirements are not wanted:
    # pip install --no-deps gym-xarm==0.1.1 gym-aloha==0.1.5
    "sim": ["mujoco>=3.8,<3.9", "av>=14"],
    "train": ["av>=14", "pyarrow>=17", "tensorboard", "matplotlib>=3.8", "scipy"],
    "test": [
        "pytest>=8",
        "pytest-timeout",
        "pytest-rerunfailures",
        "rosbags==0.11.9",
        "scipy",
        "xacro==2.1.1",
        "ruff",
        "mypy",
        "types-PyYAML",
        "colcon-common-extensions==0.3.0",
        "catkin-pkg",
    ],
}


def tree(folder: str) -> list[tuple[str, list[str]]]:
    """data_files that put a folder and everything in it under share/himoe_ros."""
    files: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file():
            files.setdefault(f"share/{NAME}/{path.parent}", []).append(str(path))
    return list(files.items())


setup(
    name=NAME,
    version="0.1.0",
    description="HiMoE-VLA on xArm7 and ALOHA robots with ROS 2",
    license="Apache-2.0",
    python_requires=">=3.10",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={"himoe_ros": ["*.css"], "himoe_ros.sim": ["*.xml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        *tree("launch"),
        *tree("config"),
        *tree("experiments"),
        *tree("urdf"),
    ],
    install_requires=[
        "numpy>=1.26",
        "pyyaml",
        "torch>=2.13",
        "transformers>=5.20,<6",
        "tokenizers",
        "safetensors",
        "huggingface_hub",
        "opencv-python-headless",
        "websockets>=14",
        "msgpack>=1",
        "mcap>=1.6,<2",
        "mcap-ros2-support>=0.6,<0.7",
        "ruckig==0.19.4",
        "xarm-python-sdk==1.18.4",
    ],
    extras_require=EXTRAS,
    entry_points={
        "console_scripts": [
            "himoe = himoe_ros.cli:main",
            *(f"{node} = himoe_ros.nodes.{node}:main" for node in NODES),
        ]
    },
    zip_safe=False,
)
