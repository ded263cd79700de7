"""himoe_ros.core.watchdog: only fresh chunks keep a robot moving."""

from __future__ import annotations

import math

import pytest

from himoe_ros.core.errors import ConfigError
from himoe_ros.core.watchdog import Watchdog


@pytest.fixture
def dog() -> Watchdog:
    return Watchdog(1.0)


def test_it_is_expired_before_the_first_feeding(dog):
    assert dog.expired(0.0)


def test_it_expires_once_the_timeout_has_passed_and_asking_does_not_feed_it(dog):
    dog.feed(10.0)
    assert [dog.expired(10.0 + 0.25 * k) for k in range(7)] == [False] * 5 + [True] * 2


def test_each_feeding_starts_the_timeout_anew(dog):
    for now in (10.0, 10.9, 11.8):
        dog.feed(now)
    assert not dog.expired(12.7)
    assert dog.expired(12.9)


def test_a_reset_expires_it_at_once_and_feeding_revives_it(dog):
    dog.feed(10.0)
    dog.reset()
    assert dog.expired(10.0)
    dog.feed(10.1)
    assert not dog.expired(10.2)


@pytest.mark.parametrize("timeout", [0.0, -1.0, math.nan, math.inf])
def test_a_watchdog_that_could_never_bark_or_never_be_quiet_is_refused(timeout):
    with pytest.raises(ConfigError, match=f"finite timeout > 0 s, got {timeout}"):
        Watchdog(timeout)
