"""himoe_ros.core.safety: the limits file is complete, known and positive, or it is refused."""

from __future__ import annotations

import pytest
import yaml

from himoe_ros.core.errors import ConfigError
from himoe_ros.core.safety import SafetyLimits, load_safety
from himoe_ros.core.synchronizer import SyncLimits
from himoe_ros.resources import config

SHIPPED = yaml.safe_load(config("safety.yaml").read_text())
SENSORS = SHIPPED["sensors"]
TOP = sorted(set(SHIPPED) - {"sensors"})


@pytest.fixture
def load(tmp_path):
    def load(data: object) -> SafetyLimits:
        path = tmp_path / "safety.yaml"
        path.write_text(yaml.safe_dump(data))
        return load_safety(path)

    return load


def test_the_shipped_file_becomes_limits_value_by_value(load):
    limits = load(SHIPPED)
    assert limits == load_safety(config("safety.yaml"))
    assert {key: getattr(limits, key) for key in TOP} == {key: SHIPPED[key] for key in TOP}
    assert limits.sensors == SyncLimits(**SENSORS)


@pytest.mark.parametrize("key", [*TOP, "sensors"])
def test_a_missing_limit_is_named(load, key):
    with pytest.raises(ConfigError, match=rf"safety\.yaml: expected the keys .*missing \['{key}'\], unknown \[\]"):
        load({k: v for k, v in SHIPPED.items() if k != key})


@pytest.mark.parametrize("key", sorted(SENSORS))
def test_a_missing_sensor_limit_is_named_with_its_place(load, key):
    with pytest.raises(ConfigError, match=rf"safety\.yaml: sensors: .*missing \['{key}'\]"):
        load({**SHIPPED, "sensors": {k: v for k, v in SENSORS.items() if k != key}})


def test_a_misspelt_key_is_refused(load):
    with pytest.raises(ConfigError, match=r"unknown \['max_sped'\]"):
        load({**SHIPPED, "max_sped": 1.0})
    with pytest.raises(ConfigError, match=r"sensors: .*unknown \['max_skew_ms'\]"):
        load({**SHIPPED, "sensors": {**SENSORS, "max_skew_ms": 100}})


@pytest.mark.parametrize("bad", [0, -0.1, float("nan"), float("inf"), "fast", None, True, [1.0]], ids=str)
@pytest.mark.parametrize("key", [*TOP, *SENSORS])
def test_a_limit_that_limits_nothing_is_refused_with_its_place(load, key, bad):
    data = {**SHIPPED, "sensors": {**SENSORS, key: bad}} if key in SENSORS else {**SHIPPED, key: bad}
    place = rf"sensors\.{key}" if key in SENSORS else key
    with pytest.raises(ConfigError, match=rf"safety\.yaml: {place}: expected a .*number.*, got"):
        load(data)


def test_a_camera_is_not_frozen_by_one_image(load):
    with pytest.raises(ConfigError, match=r"sensors\.frozen_after: expected a whole number >= 2, got 1$"):
        load({**SHIPPED, "sensors": {**SENSORS, "frozen_after": 1}})


@pytest.mark.parametrize("data", [None, [1], "fast", {**SHIPPED, "sensors": 3}], ids=["empty", "list", "text", "3"])
def test_a_file_without_named_entries_is_refused(load, data):
    with pytest.raises(ConfigError, match=r"safety\.yaml.*: expected named entries, got"):
        load(data)
