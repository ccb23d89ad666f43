from __future__ import annotations

import html5lib
from report.comparison.test_markdown import change, comparison

from pytest_trt.report.comparison.page import page

HOSTILE = "</summary><script>alert(1)</script>"


def text_of(made: str) -> str:
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return " ".join("".join(parser.parse(made).itertext()).split())


def test_page_is_valid_and_reports_what_changed() -> None:
    text = text_of(page(comparison(change(), change("test_b", now="passed"), removed=("test_x",))))
    for reported in ("1 worse", "driver 570.1 -> 580.2", "+18% to +22%", "Only before", "test_x"):
        assert reported in text
    assert "test_b" not in text


def test_nothing_breaks_out_and_nothing_is_loaded() -> None:
    made = page(comparison(change(HOSTILE), added=(HOSTILE,)))
    assert text_of(made).count(HOSTILE) == 2
    assert "<script" not in made
    assert "default-src 'none'" in made
    assert "src=" not in made.replace("default-src=", "")
