"""himoe_ros.core.reading: YAML values are what they must be, or are refused in words with their place."""

from __future__ import annotations

import re
from functools import partial

import pytest

from himoe_ros.core.errors import ConfigError
from himoe_ros.core.reading import count, load_yaml, mapping, names, number, numbers, pairs, positive, text

NAN, INF = float("nan"), float("inf")
NO_NUMBER = (None, NAN, INF, "1", True, [1.0], {})


def test_good_values_pass():
    assert mapping({"a": 1, "b": 2}, "f", ["a"], ["b", "c"]) == {"a": 1, "b": 2}
    assert mapping({"anything": 1}, "f") == {"anything": 1}
    assert names(["b", "a"], "f") == ("b", "a") and names([], "f") == () and text("a", "f") == "a"
    assert (number(-2, "f"), positive(1e-3, "f"), count(2, "f", least=2)) == (-2.0, 1e-3, 2)
    assert numbers([[1, 2.5]], (1, 2), "f").tolist() == [[1.0, 2.5]]
    assert [limit.tolist() for limit in pairs([[-1, 1], [0, 2.5]], 2, "f")] == [[-1.0, 0.0], [1.0, 2.5]]


two = partial(numbers, shape=(2,))
two_pairs = partial(pairs, length=2)
REFUSED = [
    (mapping, "named entries", (None, {}, [1], "a", 3, {"a": 1, 2: 3})),
    (names, "a list of different names", (None, "ab", [1], ["a", "a"], [""], [["a"]], ("a",))),
    (text, "a name", (None, "", 3, ["a"], True)),
    (number, "a finite number", (*NO_NUMBER, 10**400)),
    (positive, "a number > 0", (0, -0.1)),
    (positive, "a finite number", NO_NUMBER),
    (partial(count, least=1), "a whole number >= 1", (*NO_NUMBER, 0, -3, 2.0)),
    (two, "finite numbers of shape (2,)", (1, [1], [1, 2, 3], [[1, 2]], *([1, bad] for bad in NO_NUMBER))),
    (two_pairs, "finite numbers of shape (2, 2)", ("x", [[0, 1]], [[0, 1], [2]], [[-INF, INF]] * 2)),
    (two_pairs, "pairs [lower, upper] with lower < upper", ([[0, 1], [1, 1]], [[0, 1], [1, -1]])),
]


@pytest.mark.parametrize(
    ("read", "told", "bad"),
    [
        pytest.param(read, told, bad, id=f"{told}, not {str(bad)[:20]}")
        for read, told, values in REFUSED
        for bad in values
    ],
)
def test_anything_else_is_refused_with_its_place_what_was_expected_and_what_came(read, told, bad):
    with pytest.raises(ConfigError, match=re.escape(f"file: key: expected {told}, got {bad!r}")):
        read(bad, where="file: key")


@pytest.mark.parametrize(
    ("data", "told"),
    [
        ({"a": 1}, r"missing \['b'\], unknown \[\]$"),
        ({"a": 1, "b": 2, "d": 3}, r"missing \[\], unknown \['d'\]$"),
    ],
    ids=["missing", "unknown"],
)
def test_missing_and_unknown_keys_are_named(data, told):
    with pytest.raises(ConfigError, match=r"^f: expected the keys \['a', 'b'\], optional \['c'\]; " + told):
        mapping(data, "f", ["a", "b"], ["c"])


def test_a_readable_file_is_parsed(tmp_path):
    (tmp_path / "x.yaml").write_text("a: [1, 2]")
    assert load_yaml(tmp_path / "x.yaml") == {"a": [1, 2]}


@pytest.mark.parametrize("content", [None, b"a: [", b"a: 2024-99-99", b"\xff\xfe\x00"], ids=str)
def test_a_file_that_is_missing_or_no_yaml_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / "x.yaml").write_bytes(content)
    with pytest.raises(ConfigError, match=r"x\.yaml must be a readable YAML file: "):
        load_yaml(tmp_path / "x.yaml")
