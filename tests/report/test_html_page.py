"""The page as text: valid HTML that holds the document whole, whatever stands in it."""

from __future__ import annotations

import base64
import gzip
import json
import re
from typing import Any

import pytest
from builders_report import check, document, reported, speed
from hypothesis import given
from hypothesis import strategies as st

from pytest_trt.escaping import block
from pytest_trt.report.document import Document
from pytest_trt.report.html.page import html_page

html5lib = pytest.importorskip("html5lib")

HOSTILE = (
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "]]>&amp;\"'`\\u003c/script>",
    "{{script}}{{style}}{{document}}",
    "\x00\x7f\x85\u2028\ufffe\U0001f600 ünï",
    "half \udc80 of it",
    "long" * 5000,
)


def parsed(page: str) -> Any:
    """Return the page's tree; a page that is not valid raises."""
    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page)


def held(page: str) -> Document:
    """Return the document that a browser would read from the page."""
    tree = parsed(page)
    (island,) = [one for one in tree.iter("script") if one.get("id") == "document"]
    return json.loads(gzip.decompress(base64.b64decode(island.text, validate=True)))


def shown(value: Any) -> Any:
    """Return a document as the page shows it: what cannot be seen is escaped."""
    if isinstance(value, dict):
        return {shown(name): shown(one) for name, one in value.items()}
    if isinstance(value, list):
        return [shown(one) for one in value]
    return block(value) if isinstance(value, str) else value


FULL = document(
    {"test_a": reported(checks=(check(),), speeds=(speed(),)), "test_b": reported("failed")}
)


@pytest.mark.parametrize("made", [FULL, document({})], ids=["full", "empty"])
def test_page_is_valid_and_holds_the_document(made) -> None:
    assert held(html_page(made)) == made


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_no_text_breaks_out_of_the_document(text) -> None:
    made = document({f"test_{text}": reported("failed", text, checks=(check(worst_output=text),))})
    page = html_page(made)
    assert held(page) == shown(made)
    assert page.count("<script") == html_page(FULL).count("<script")


@given(st.text())
def test_any_text_is_held(text) -> None:
    made = document({"test_a": reported("failed", text)})
    assert held(html_page(made)) == shown(made)


def test_same_document_is_the_same_page() -> None:
    assert html_page(FULL) == html_page(json.loads(json.dumps(FULL)))


def test_page_that_is_not_valid_is_distinguished_from_one_that_is() -> None:
    with pytest.raises(html5lib.html5parser.ParseError):
        parsed(html_page(FULL).replace("</main>", "</div>"))


def test_page_loads_nothing() -> None:
    tree = parsed(html_page(FULL))
    loaded = [
        value
        for one in tree.iter()
        for name, value in one.attrib.items()
        if name in ("src", "href") and not re.match(r"#|data:", value)
    ]
    assert loaded == []
    (policy,) = [m.get("content") for m in tree.iter("meta") if m.get("http-equiv")]
    assert "default-src 'none'" in policy


def test_charts_come_with_their_licence() -> None:
    page = html_page(FULL)
    assert "Copyright (c) 2022 Leon Sorokin" in page
    assert "Permission is hereby granted" in page


def test_nothing_is_put_into_the_page_as_markup() -> None:
    script = html_page(FULL).rpartition("<script>")[2].partition("// dom.js")[2]
    assert script
    assert not re.findall(
        r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b", script
    )
