"""himoe_ros.core.clock_watch: jumps and standstills are named, slow and coarse clocks are not."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.core.clock_watch import ClockWatch


def told(times, steady=None) -> list[str]:
    watch = ClockWatch(0.25)
    steady = 0.01 * np.arange(len(times)) if steady is None else steady
    return [watch.look(float(n), float(s)) for n, s in zip(times, steady, strict=True)]


EVEN = 0.01 * np.arange(200)


@pytest.mark.parametrize("jump", [10.0, -10.0, 0.5, -0.5])
def test_a_jump_is_told_once_with_its_size(jump):
    words = told(1000 + EVEN + np.where(np.arange(200) >= 100, jump, 0.0))
    assert words[100] == f"the ROS clock jumped by {jump:+.1f} s"
    assert [w for i, w in enumerate(words) if i != 100] == [""] * 199


def test_a_clock_that_stands_still_is_told_for_as_long_as_it_does():
    words = told(np.where((EVEN >= 0.5) & (EVEN < 1.2), 0.5, EVEN))
    assert not any(words[:75])
    assert all("has stood still for more than 0.25 s" in w for w in words[77:120])
    assert "jumped" not in "".join(words) and not any(words[121:])


@pytest.mark.parametrize("rate", [0.1, 0.5, 1.0, 3.0])
def test_a_simulated_clock_at_another_rate_or_in_coarse_steps_is_no_fault(rate):
    assert not any(told(rate * EVEN))
    assert not any(told(np.floor(rate * EVEN * 20) / 20 if rate >= 0.5 else rate * EVEN))


def test_a_thread_that_was_late_itself_is_no_fault():
    late = EVEN + np.where(np.arange(200) >= 100, 3.0, 0.0)
    assert not any(told(50 + late, late))
