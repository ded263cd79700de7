"""himoe_ros.bench.execution: jerk is that of the motion, whatever gaps and late commands there are."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.bench.execution import jerks


def test_jerk_of_a_cubic_is_its_third_derivative_and_gaps_do_not_count():
    times = np.arange(0, 2, 0.01)
    places = np.stack([times**3 / 6 * 40.0, 0 * times], axis=1)
    times = np.where(times > 1.0, times + 0.5, times)  # the second stretch begins elsewhere
    places[times > 1.2, 0] += 0.3
    assert jerks(times, places, 0.01) == pytest.approx([40.0, 0.0], rel=1e-4, abs=1e-6)


def test_a_late_command_is_as_one_in_time_and_an_early_one_made_a_smaller_step():
    steps = np.where(np.arange(300) % 7 == 3, 0.016, np.where(np.arange(300) % 7 == 4, 0.004, 0.01))
    passed = np.cumsum(np.minimum(steps, 0.01))
    assert jerks(np.cumsum(steps), (passed**3 / 6 * 40.0)[:, None], 0.01) == pytest.approx([40.0], rel=1e-4)
