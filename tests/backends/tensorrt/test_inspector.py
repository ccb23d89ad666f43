from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.backends.tensorrt.inspector import parse_tolerant

SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20
)


def without_non_numbers(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, list):
        return [without_non_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: without_non_numbers(item) for key, item in value.items()}
    return value


@given(VALUES)
def test_everything_but_non_numbers_stays(value: Any) -> None:
    for escaped in (True, False):
        text = json.dumps(value, ensure_ascii=escaped)
        assert parse_tolerant(text) == without_non_numbers(value)


@pytest.mark.parametrize(
    "number",
    ["nan", "-nan", "NaN", "inf", "-inf", "Infinity", "-Infinity", "nan(ind)", "-nan(0x1)"],
)
def test_non_numbers_are_null_however_they_are_written(number: str) -> None:
    text = f'{{"Scale": [{number}, 1.5], "nan": "-inf, nan"}}'
    assert parse_tolerant(text) == {"Scale": [None, 1.5], "nan": "-inf, nan"}


def test_names_may_hold_newlines() -> None:
    assert parse_tolerant('{"Name": "a\nb"}') == {"Name": "a\nb"}


@pytest.mark.parametrize("text", ["", "{", '{"Layers": [}', "nano"])
def test_what_is_no_json_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\d"):
        parse_tolerant(text)
