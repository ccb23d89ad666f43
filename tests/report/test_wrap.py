from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.report.wrap import wrapped


def test_line_that_fits_stays_as_it_is() -> None:
    assert wrapped("  P99   0.5 ms\nFix: do it", 14) == "  P99   0.5 ms\nFix: do it"


def test_long_line_is_broken_between_words_and_stays_indented() -> None:
    assert wrapped("  the first of words", 12) == "  the first\n    of words"


def test_command_stays_whole_on_a_line_of_its_own() -> None:
    command = 'pytest "tests/test_it.py::test_it" --trt-update --trt-update-reason "..."'
    told = wrapped(f"Fix: accept it: {command}", 40).split("\n")
    assert told == ["Fix: accept it:", f"  {command}"]


def test_sentence_goes_on_below_a_command() -> None:
    told = "Fix: pip install 'pytest-trt[tensorrt-cu12]' (or tensorrt-cu13), or drop --trt-backend."
    assert wrapped(told, 50).split("\n") == [
        "Fix:",
        "  pip install 'pytest-trt[tensorrt-cu12]'",
        "  (or tensorrt-cu13), or drop --trt-backend.",
    ]


def test_commas_of_a_test_are_its_own() -> None:
    told = 'Fix: pytest "test_it.py::test_it[fp16, 3]" --trt-update, and commit the file.'
    assert wrapped(told, 30).split("\n")[1] == (
        '  pytest "test_it.py::test_it[fp16, 3]" --trt-update,'
    )


def test_pytest_is_no_command_where_it_is_spoken_of() -> None:
    assert wrapped("in what pytest says of it", 12) == "in what\n  pytest\n  says of it"


@given(
    st.text("ab (=,\"'", max_size=200).map(lambda text: text.replace("a", "pytest -x")),
    st.integers(10, 100),
)
def test_nothing_is_lost_of_a_text(text: str, width: int) -> None:
    assert wrapped(text, width).split() == text.split()
