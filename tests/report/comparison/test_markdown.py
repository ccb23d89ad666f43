from __future__ import annotations

import pytest

from pytest_trt.report.comparison.findings import Comparison, Direction, Finding, Kind, TestChange
from pytest_trt.report.comparison.markdown import COMMENT_CHARACTERS, markdown

SLOWER = Finding(Kind.SPEED, "p99", Direction.WORSE, 1.0, 1.2, 0.2, 0.18, 0.22)
STEADY = Finding(Kind.SPEED, "p50", Direction.SAME, 1.0, 1.0, 0.0, -0.01, 0.01)


def change(name: str = "test_a", *, was: str = "passed", now: str = "failed") -> TestChange:
    direction = (SLOWER, STEADY) if was != now else (STEADY,)
    return TestChange(name, "digits.onnx fp16 sm86", was, now, direction, why="P99 +20%")


def comparison(*tests: TestChange, **of: tuple[str, ...]) -> Comparison:
    values = {"differences": ("driver 570.1 -> 580.2",), "removed": (), "added": (), **of}
    return Comparison("old.json", "new.json", tests=tests, engines=(), **values)


def test_what_changed_is_reported_and_the_rest_counted() -> None:
    text = markdown(comparison(change(), change("test_b", now="passed")))
    assert "### pytest-trt: 2 tests: 1 worse, 1 the same" in text
    assert "- `driver 570.1 -> 580.2`" in text
    assert "| P99 | 1.00 ms | 1.20 ms | +20% | +18% to +22% | ❌ |" in text
    assert "P99 +20%" in text
    assert "test_b" not in text
    assert "test_b" in markdown(comparison(change("test_b", now="passed")), everything=True)


def test_tests_of_one_run_alone_are_named() -> None:
    text = markdown(
        comparison(change(), removed=("test_x",), added=tuple(f"t{n}" for n in range(60)))
    )
    assert "**Only before**\n\n- `test_x`" in text
    assert "- and 10 more" in text


def test_text_of_tests_is_text() -> None:
    text = markdown(comparison(change("test_<b>|`x`")))
    assert "<b>" not in text


@pytest.mark.parametrize("count", [10, 2000])
def test_a_comment_takes_it(count: int) -> None:
    text = markdown(comparison(*(change(f"test_{n}") for n in range(count))))
    assert len(text) <= COMMENT_CHARACTERS
    assert ("Truncated" in text) == (count == 2000)
    assert text.count("<details") == text.count("</details>")
