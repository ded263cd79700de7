"""himoe_ros.bench.rounding: what it compares."""

from __future__ import annotations

import numpy as np
import pytest

from himoe_ros.bench.rounding import KEPT, Beside, bench_rounding
from himoe_ros.core.errors import ConfigError
from himoe_ros.core.observation import ActionChunk


class Noisy:
    """Plans what its noise says, and a little more."""

    def __init__(self, more: float) -> None:
        self._more = more

    def reseed(self, seed: int) -> None:
        self._noise = np.random.default_rng(seed)

    def act(self, _observation: object, _committed: None) -> ActionChunk:
        return ActionChunk(0.0, ("x",), self._noise.normal(size=(3, 1)) + self._more, np.arange(3.0))


def test_policies_plan_from_the_same_noise_and_the_first_is_followed():
    beside = Beside({KEPT: Noisy(0.0), "int8": Noisy(0.25)})
    beside.reseed(4)
    first, second = beside.act(None), beside.act(None)
    assert not np.array_equal(first.values, second.values), "other noise at every plan"
    assert len(beside.took["int8"]) == 2 and not np.any(beside.apart[KEPT])
    np.testing.assert_allclose(beside.apart["int8"], 0.25)
    beside.reseed(4)
    np.testing.assert_array_equal(beside.act(None).values, first.values)


def test_a_policy_that_was_not_trained_is_refused():
    with pytest.raises(ConfigError, match="himoe_small: expected a policy folder with stats.json"):
        bench_rounding("himoe_small", "xarm7/fruit_to_plate", 1)
