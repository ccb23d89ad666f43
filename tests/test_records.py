from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.baseline.metrics import StoredMetric
from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.records import RecordError, from_data, parse_json, path_text, to_data


class Colour(str, Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Run:
    calls: int
    rounds: Mapping[Literal["p50", "p99"], tuple[float, ...]]
    reason: str = ""

    def __post_init__(self) -> None:
        if self.calls < 1:
            raise RecordError(f"expected 1 or more, found {self.calls}", "calls")


@dataclass(frozen=True, slots=True)
class Everything:
    runs: tuple[Run, ...]
    colour: Colour = Colour.RED
    path: Path = Path("a")
    shape: tuple[str, int] = ("x", 1)
    names: frozenset[str] = frozenset()
    listed: Sequence[int] = ()
    optional: Run | None = None
    fact: int | float | str | bool | None = None
    anything: Any = None
    used: float = 1.0
    children: tuple[Everything, ...] = ()
    by_name: dict[str, Run] = field(default_factory=dict)


RUN = {"calls": 7, "rounds": {"p50": [1.5, 2]}}
FULL = Everything(
    runs=(Run(1, {"p50": (1.0, 2.5), "p99": ()}, "because"),),
    colour=Colour.BLUE,
    path=Path("b/c"),
    shape=("y", 2),
    names=frozenset({"b", "a"}),
    listed=(3, 4),
    optional=Run(2, {}),
    fact=True,
    anything={"free": [1, None]},
    used=math.inf,
    children=(Everything(()),),
    by_name={"test_a[fp16]": Run(3, {})},
)


def test_what_is_written_is_read() -> None:
    text = json.dumps(to_data(FULL), allow_nan=False)
    assert from_data(Everything, json.loads(text)) == FULL


def test_diagnostics_are_records() -> None:
    one = Diagnostic("TRT401", "m", {"n": 1, "l": ({"a": None},)}, ("d",), Remedy("t", ("c",)))
    again = from_data(Diagnostic, json.loads(json.dumps(to_data(one))))
    assert again.remedy == one.remedy
    assert to_data(again) == to_data(one)


@given(st.floats())
def test_every_float_survives(value: float) -> None:
    found = from_data(Everything, {"runs": [], "used": json.loads(json.dumps(to_data(value)))})
    assert found.used == value or (math.isnan(value) and math.isnan(found.used))


@pytest.mark.parametrize("value", [1, 1.5, "1", True, None])
def test_a_union_keeps_the_type(value: object) -> None:
    found = from_data(Everything, {"runs": [], "fact": value})
    assert type(found.fact) is type(value)
    assert found.fact == value


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([], "expected an object, found []"),
        ({}, "runs: missing"),
        ({"runs": [], "color": "red"}, "color: unknown field"),
        ({"runs": {}}, "runs: expected a list, found {}"),
        ({"runs": [RUN, 7]}, "runs[1]: expected an object, found 7"),
        ({"runs": [{**RUN, "calls": "a"}]}, "runs[0].calls: expected int, found 'a'"),
        ({"runs": [{**RUN, "calls": True}]}, "runs[0].calls: expected int, found True"),
        ({"runs": [{**RUN, "calls": 0}]}, "runs[0].calls: expected 1 or more, found 0"),
        (
            {"runs": [{**RUN, "rounds": {"p5": []}}]},
            "runs[0].rounds.p5: expected one of p50, p99, found 'p5'",
        ),
        (
            {"runs": [{**RUN, "rounds": {"p50": [1, None]}}]},
            "runs[0].rounds.p50[1]: expected a number, found None",
        ),
        (
            {"runs": [{**RUN, "rounds": {"p50": [10**400]}}]},
            f"runs[0].rounds.p50[0]: expected a number, found 1{'0' * 36}...",
        ),
        ({"runs": [], "colour": "green"}, "colour: expected one of red, blue, found 'green'"),
        ({"runs": [], "colour": ["red"]}, "colour: expected one of red, blue, found ['red']"),
        ({"runs": [], "shape": ["x"]}, "shape: expected a list of 2, found ['x']"),
        ({"runs": [], "shape": ["x", "y"]}, "shape[1]: expected int, found 'y'"),
        ({"runs": [], "optional": 5}, "optional: expected an object, found 5"),
        ({"runs": [], "path": 5}, "path: expected a path, found 5"),
        (
            {"runs": [], "by_name": {"test_a[fp16]": {"calls": 1}}},
            'by_name["test_a[fp16]"].rounds: missing',
        ),
    ],
)
def test_an_error_names_the_field(data: object, error: str) -> None:
    with pytest.raises(RecordError) as caught:
        from_data(Everything, data)
    assert str(caught.value) == error


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (b"\xff", "expected UTF-8, found the byte 0xff at position 0"),
        ("", "not JSON: Expecting value: line 1 column 1 (char 0)"),
        ("[" * 100_000, "not JSON of ours: it is nested too deeply"),
        (f'{{"runs": {"9" * 5000}}}', "not JSON: "),
        ('{"runs": [], "runs": []}', "runs: the field is there twice"),
        ('{"runs": [], "used": NaN}', "used: expected a finite number, found nan"),
        ('{"runs": [], "used": 1e999}', "used: expected a finite number, found inf"),
        (f'{{"runs": [], "listed": [{"9" * 400}]}}', "listed[0]: expected an integer of 64 bits"),
        ('{"runs": [], "path": "a\\u0000b"}', "path: expected a path, found "),
        ('{"runs": [], "anything": [[1e999]]}', "anything[0][0]: expected a finite number"),
        (f'{{"runs": [], "anything": {"[" * 30}{"]" * 30}}}', "expected at most 20 levels"),
        (f'{{"runs": [], "by_name": {{"{"x" * 500}": 1}}}}', f'by_name["{"x" * 97}..."]: expected'),
        (f'{{"runs": {"[" * 200}{"]" * 200}}}', "runs[0]: expected an object, found "),
    ],
)
def test_whatever_a_file_holds_is_read_or_an_error(text: str | bytes, error: str) -> None:
    with pytest.raises(RecordError) as caught:
        from_data(Everything, parse_json(text))
    assert error in str(caught.value)
    assert len(str(caught.value)) < 500


def test_unknown_fields_are_ignored_on_request() -> None:
    text = json.dumps({"runs": [{**RUN, "new": {"a": [1]}}], "newer": [[]]})
    assert from_data(Everything, json.loads(text), ignore_unknown=True).runs[0].calls == 7
    with pytest.raises(RecordError, match=r"runs\[0\].new: unknown field"):
        from_data(Everything, parse_json(text))


def test_an_error_of_a_class_names_its_field() -> None:
    @dataclass
    class Holder:
        tolerance: Tolerance

    with pytest.raises(RecordError, match=r"^tolerance: rtol"):
        from_data(Holder, {"tolerance": {"rtol": -1, "atol": 0}})


def test_a_sum_beyond_float64_is_an_error_of_the_file() -> None:
    with pytest.raises(RecordError, match="overflow in fsum"):
        from_data(StoredMetric, {"value": 1e308, "samples": [1e308] * 3})


def test_the_error_of_a_union_is_that_of_the_alternative_that_was_meant() -> None:
    @dataclass
    class Holder:
        value: int | list[int]

    data = {"value": [1, "a"]}
    with pytest.raises(RecordError, match=r"^value\[1\]: expected int"):
        from_data(Holder, data)


def test_a_type_that_records_cannot_hold_is_a_fault_of_the_class() -> None:
    @dataclass
    class Holder:
        value: complex

    with pytest.raises(TypeError, match="complex"):
        from_data(Holder, {"value": 1})


def test_a_path_is_written_as_in_python() -> None:
    assert path_text(["tests", "a b", "runs", 0]) == 'tests["a b"].runs[0]'
    assert path_text([]) == ""


def test_recursive_alias_is_passed_through() -> None:
    # Python 3.10 leaves it a plain string, newer versions a forward reference.
    alias: Any = "Sequence[Fact]"
    assert from_data(dict[str, alias], {"a": [1]}) == {"a": [1]}
