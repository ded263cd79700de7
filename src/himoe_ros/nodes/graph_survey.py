"""Looks at the running graph for a preflight and prints findings as JSON. Publishes and calls nothing."""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial

import numpy as np
import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from sensor_msgs.msg import Image

from ..control.graph_preflight import StreamFacts, judge_graph
from ..core.embodiment import load_embodiment
from ..core.messages import seconds
from ..core.safety import load_safety
from ..resources import config
from .managed import SENSOR

NAME = "himoe_check"
DISCOVERY_S = 4.0  # nodes on one machine took up to 2.6 s to see each other


class GraphSurvey(Node):
    """Listens to the cameras of an embodiment."""

    def __init__(self, topics: Sequence[str], namespace: str) -> None:
        super().__init__(NAME, namespace=namespace)
        self._arrivals: dict[str, list[tuple[float, float]]] = {t: [] for t in topics}  # s, and s behind the clock
        self._sizes: dict[str, tuple[int, int]] = {}
        for topic in topics:
            self.create_subscription(Image, topic, partial(self._on_image, topic), SENSOR)

    def streams(self) -> dict[str, StreamFacts]:
        """What came so far."""
        facts = {}
        for topic, arrivals in self._arrivals.items():
            times = [t for t, _ in arrivals]
            rate = (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 else 0.0
            offset = float(np.median([o for _, o in arrivals])) if arrivals else 0.0
            facts[topic] = StreamFacts(rate, self._sizes.get(topic), offset)
        return facts

    def others(self) -> list[str]:
        """Full names of the other nodes."""
        pairs = self.get_node_names_and_namespaces()
        return [f"{space.rstrip('/')}/{name}" for name, space in pairs if name != NAME]

    def _on_image(self, topic: str, image: Image) -> None:
        now = self.get_clock().now().nanoseconds * 1e-9
        self._arrivals[topic].append((time.monotonic(), now - seconds(image.header.stamp)))
        self._sizes[topic] = image.width, image.height


def main() -> None:
    parser = argparse.ArgumentParser(description="Print what is on the ROS graph, for `himoe check`.")
    parser.add_argument("embodiment")
    parser.add_argument("--namespace", default="")
    parser.add_argument("--seconds", type=float, default=6.0)
    options = parser.parse_args()
    embodiment = load_embodiment(options.embodiment, config("embodiments"))
    rclpy.init()
    node = GraphSurvey([c.topic for c in embodiment.cameras], options.namespace)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    begin = time.monotonic()
    while (waited := time.monotonic() - begin) < options.seconds:
        if waited > DISCOVERY_S and not node.others():
            break
        executor.spin_once(timeout_sec=0.1)
    sources = node.count_publishers("action_chunk")
    findings = judge_graph(node.others(), sources, node.streams(), load_safety(config("safety.yaml")))
    print(json.dumps([{**asdict(f), "level": f.level.value} for f in findings]))
    node.destroy_node()
    rclpy.shutdown()


if __name__ == "__main__":
    main()
