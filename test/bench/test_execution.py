"""himoe_ros.bench.execution: jerk is that of the motion, whatever gaps there are between its stretches."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.bench.execution import third_differences


def test_jerk_of_a_cubic_is_its_third_derivative_and_gaps_do_not_count():
    times = np.arange(0, 2, 0.01)
    places = np.stack([times**3 / 6 * 40.0, 0 * times], axis=1)
    times = np.where(times > 1.0, times + 0.5, times)  # the second stretch begins elsewhere
    places[times > 1.2, 0] += 0.3
    assert third_differences(times, places) == pytest.approx([40.0, 0.0], rel=1e-4, abs=1e-6)
