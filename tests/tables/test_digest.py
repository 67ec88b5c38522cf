import enum
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from opticam_dask.errors import InputError, SettingsChangedError
from opticam_dask.tables.digest import changed, digest, made_with, record

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1), inner, max_size=3),
    max_leaves=10,
)
SETTINGS = st.dictionaries(st.text(min_size=1), VALUES, max_size=4)


@given(SETTINGS)
def test_order_of_keys_and_a_trip_through_the_file_do_not_matter(settings):
    assert digest(settings) == digest(dict(reversed(settings.items())))
    assert changed(settings, settings) == []


@given(SETTINGS)
def test_recorded_settings_are_recognised(tmp_path_factory, settings):
    path = tmp_path_factory.mktemp("settings") / "settings.json"
    assert made_with(path, settings) is False
    record(path, settings)
    assert made_with(path, settings) is True


@given(st.floats(allow_nan=False), st.floats(allow_nan=False))
def test_any_difference_of_a_float_is_seen(first, second):
    assert (digest({"a": first}) == digest({"a": second})) == (first == second)


def test_equal_values_of_other_types_are_one_setting():
    class Colour(enum.Enum):
        RED = 1

    plain = {"a": 5, "b": [1, 2.5], "c": "x/y", "d": "RED", "e": True, "f": [0, 1]}
    other = {
        "f": frozenset({1, 0}),
        "e": np.bool_(True),
        "d": Colour.RED,
        "c": Path("x/y"),
        "b": (np.int16(1), np.float64(2.5)),
        "a": np.float32(5.0),
    }
    assert digest(plain) == digest(other)
    assert digest({"a": np.array([1.5, 2.0])}) == digest({"a": [1.5, 2]})
    assert digest({"a": True}) != digest({"a": 1})


def test_the_digest_is_the_same_in_another_process():
    code = "from opticam_dask.tables.digest import digest; print(digest({'a': {'x', 'y', 'z'}, 'b': 0.1}))"
    run = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert {result.stdout.strip() for result in run} == {digest({"b": 0.1, "a": ["x", "y", "z"]})}


def test_changed_names_the_settings_with_both_values():
    old = {"photometer": {"radius": 4.0, "forced": False}, "gone": 1, "same": [1, 2]}
    new = {"photometer": {"radius": 5.5, "forced": False}, "new": "x", "same": (1, 2)}
    assert changed(old, new) == ["gone: 1 -> (absent)", 'new: (absent) -> "x"', "photometer.radius: 4 -> 5.5"]


def test_digests_are_shown_by_their_first_digits():
    old, new = ({"finder": {"source": digest({"step": step})}} for step in (1, 2))
    (line,) = changed(old, new)
    assert re.fullmatch(r'finder\.source: "[0-9a-f]{8}\.\.\." -> "[0-9a-f]{8}\.\.\."', line)


def test_changed_settings_are_refused_in_one_line_that_says_what_and_how(tmp_path):
    path = tmp_path / "settings.json"
    record(path, {"photometer": {"radius": 4.0}})
    with pytest.raises(SettingsChangedError) as error:
        made_with(path, {"photometer": {"radius": 5.5}})
    assert "\n" not in str(error.value)
    assert "photometer.radius: 4 -> 5.5" in str(error.value)
    assert "overwrite=True (--overwrite)" in str(error.value)
    assert made_with(path, {"photometer": {"radius": 4.0}}) is True


def test_overwrite_lets_other_settings_be_recorded(tmp_path):
    path = tmp_path / "settings.json"
    record(path, {"a": 1})
    assert made_with(path, {"a": 2}, overwrite=True) is False
    assert made_with(path, {"a": 1}) is True  # the old results are still there
    record(path, {"a": 2})
    assert made_with(path, {"a": 2}) is True
    assert list(tmp_path.iterdir()) == [path]


def test_overwrite_with_the_same_settings_keeps_the_results(tmp_path):
    record(tmp_path / "settings.json", {"a": 1})
    assert made_with(tmp_path / "settings.json", {"a": 1}, overwrite=True) is True


@pytest.mark.parametrize("text", ["{", "", "[1]", '"a"'])
def test_a_torn_record_is_one_clear_line(tmp_path, text):
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(InputError, match="delete it"):
        made_with(path, {"a": 1})


def test_a_value_that_cannot_be_recorded_is_named():
    with pytest.raises(InputError, match="type object cannot be recorded"):
        digest({"a": object()})
