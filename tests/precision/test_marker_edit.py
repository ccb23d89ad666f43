from __future__ import annotations

import ast
import subprocess
import sys

import pytest

from pytest_trt.precision.marker_edit import (
    CannotEditError,
    literal,
    set_argument,
    set_limit,
    wrapped,
)

HEAD = "import pytest\n\n\n"


def edited(
    marker: str, *path: str, value: object = 0.5, test: tuple[str, ...] = ("test_a",)
) -> str:
    source = f"{HEAD}{marker}\ndef test_a(x):\n    pass\n"
    after = set_argument(source, test, "trt_consistency", path, value)
    assert after.startswith(HEAD)
    assert after.endswith("\ndef test_a(x):\n    pass\n")
    return after[len(HEAD) : -len("\ndef test_a(x):\n    pass\n")]


@pytest.mark.parametrize(
    ("before", "path", "after"),
    [
        ("@pytest.mark.trt_consistency", ("rtol",), "@pytest.mark.trt_consistency(rtol=0.5)"),
        ("@m.trt_consistency()", ("rtol",), "@m.trt_consistency(rtol=0.5)"),
        ("@m.trt_consistency(rtol=1e-3)", ("rtol",), "@m.trt_consistency(rtol=0.5)"),
        ("@m.trt_consistency(rtol=1,)", ("atol",), "@m.trt_consistency(rtol=1, atol=0.5)"),
        (
            "@m.trt_consistency(nan='match')",
            ("outputs", "ö", "rtol"),
            '@m.trt_consistency(nan=\'match\', outputs={"ö": {"rtol": 0.5}})',
        ),
        (
            "@m.trt_consistency(outputs={'ö': {'top1': 1}, 'b': {}})",
            ("outputs", "ö", "rtol"),
            "@m.trt_consistency(outputs={'ö': {'top1': 1, \"rtol\": 0.5}, 'b': {}})",
        ),
        (
            "@m.trt_consistency(\n    nan='match',  # both\n)",
            ("rtol",),
            "@m.trt_consistency(\n    nan='match',  # both\n    rtol=0.5,\n)",
        ),
        (
            "@m.trt_consistency(\n    nan='match'  # both\n)",
            ("rtol",),
            "@m.trt_consistency(\n    nan='match',  # both\n    rtol=0.5,\n)",
        ),
    ],
)
def test_argument_is_set_and_all_else_stays(before: str, path: tuple[str, ...], after: str) -> None:
    assert edited(before, *path) == after


@pytest.mark.parametrize(
    ("marker", "path"),
    [
        ("@m.trt_consistency(**COMMON)", ("rtol",)),
        ("@m.trt_consistency(rtol=RTOL)", ("rtol",)),
        ("@m.trt_consistency(outputs=OUTPUTS)", ("outputs", "probs", "rtol")),
        ("@m.trt_consistency(outputs={**OUTPUTS})", ("outputs", "probs", "rtol")),
        ("@m.trt_consistency()\n@m.trt_consistency(rtol=1)", ("rtol",)),
        ("@m.trt_consistency(outputs={PROBS: {}})", ("outputs", "probs", "rtol")),
        ("@m.trt_model('a.onnx')", ("rtol",)),
        ("@m.trt_consistency()\ndef test_a(): pass\n@m.trt_consistency()", ("rtol",)),
    ],
)
def test_what_is_no_literal_is_left_alone(marker: str, path: tuple[str, ...]) -> None:
    with pytest.raises(CannotEditError):
        edited(marker, *path)


def test_marker_of_a_class_or_a_module_is_found_the_closest_first() -> None:
    source = (
        "pytestmark = [m.trt_model('a'), m.trt_consistency()]\n"
        "class TestA:\n    def test_a(self): pass\n"
        "@m.trt_consistency()\nclass TestB:\n    def test_a(self): pass\n"
    )
    of_module = set_argument(source, ("TestA", "test_a"), "trt_consistency", ("rtol",), 1)
    assert "[m.trt_model('a'), m.trt_consistency(rtol=1)]" in of_module
    of_class = set_argument(source, ("TestB", "test_a"), "trt_consistency", ("rtol",), 1)
    assert "@m.trt_consistency(rtol=1)\nclass TestB" in of_class


def test_limits_of_metrics_are_changed_where_they_stand() -> None:
    source = (
        "@m.trt_consistency(metrics={'snr_db': '>= 10', 'own': (own, '>= 1')},\n"
        "    by_precision={'int8': {'metrics': {'snr_db': '>= 5'}}})\ndef test_a(): pass\n"
    )
    changed = set_limit(source, ("test_a",), "trt_consistency", "snr_db", ">= 30")
    assert changed.count('">= 30"') == 2
    own = set_limit(source, ("test_a",), "trt_consistency", "own", ">= 2")
    assert '(own, ">= 2")' in own
    with pytest.raises(CannotEditError, match="not written as a text"):
        set_limit(source, ("test_a",), "trt_consistency", "cosine", ">= 1")


def test_literals_are_written_with_double_quotes() -> None:
    assert literal(["a", 'b"c']) == '["a", \'b"c\']'
    assert literal({"k": {"rtol": 1e-3}}) == '{"k": {"rtol": 0.001}}'


def test_long_marker_is_laid_out_as_ruff_does() -> None:
    fields = {"rtol": 0.0085, "atol": 0.0099, "cosine": 0.9999}
    source = '@pytest.mark.trt_consistency(against="both")\ndef test_it(trt_session): ...\n'
    for precision in ("fp16", "int8"):
        for output in ("logits", "a_long_name_of_an_output"):
            path = ["by_precision", precision, "outputs", output]
            source = set_argument(source, ["test_it"], "trt_consistency", path, fields)
    found = wrapped(source, ["test_it"], "trt_consistency")
    assert ast.dump(ast.parse(found)) == ast.dump(ast.parse(source))
    assert max(map(len, found.splitlines())) <= 88
    command = [sys.executable, "-m", "ruff", "format", "--isolated", "-"]
    formatted = subprocess.run(command, input=found, capture_output=True, text=True, check=True)
    assert formatted.stdout == found
    short = "@pytest.mark.trt_consistency( rtol = 0.1 )\ndef test_it(): ...\n"
    assert wrapped(short, ["test_it"], "trt_consistency") == short
    noted = found.replace("(\n", "(  # " + "why " * 30 + "\n", 1)
    assert wrapped(noted, ["test_it"], "trt_consistency") == noted
