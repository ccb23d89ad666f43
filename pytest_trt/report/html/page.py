"""A report as one HTML page that needs no network: the document as JSON, and what draws it.

The page is the same for every report. All of a report stands in one island, as JSON compressed by
gzip in Base64, so that nothing in it can end the island; the scripts in this folder put it into
the page as text, never as markup. What a browser would not show, or would reorder, is escaped here.
"""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from pytest_trt.escaping import block

#: Concatenated in this order into one script: what is used stands before what uses it.
_SCRIPTS = (
    "dom.js",
    "format.js",
    "outliers.js",
    "charts.js",
    "forest.js",
    "accuracy.js",
    "speed.js",
    "engine.js",
    "detail.js",
    "overview.js",
    "table.js",
    "start.js",
)


def html_page(document: Mapping[str, Any]) -> str:
    """Return a document as a page."""
    before, after = _page().split("{{document}}")
    return f"{before}{_packed(document)}{after}"


def _packed(document: Mapping[str, Any]) -> str:
    """Return JSON, compressed, in letters that mean nothing to a parser of HTML."""
    shown = _visible(document)
    text = json.dumps(shown, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("ascii"), mtime=0)).decode("ascii")


def _visible(value: Any) -> Any:
    """Return JSON-simple data whose texts and keys are escaped."""
    if isinstance(value, str):
        return block(value)
    if isinstance(value, Mapping):
        return {block(name): _visible(one) for name, one in value.items()}
    return [_visible(one) for one in value] if isinstance(value, list | tuple) else value


@cache
def _page() -> str:
    # uPlot's licence asks to stand in every copy.
    licence = f"/*! uPlot\n{_file('uplot/LICENSE')}*/\n"
    scripts = "".join(f"// {name}\n{_file(name)}\n" for name in _SCRIPTS)
    parts = {
        "style": _file("uplot/uPlot.min.css") + _file("page.css"),
        "script": f"{licence}{_file('uplot/uPlot.iife.min.js')}\n"
        f'(() => {{\n"use strict";\n{scripts}}})();',
    }
    page = _file("page.html")
    for name, text in parts.items():
        page = page.replace(f"{{{{{name}}}}}", text)
    return page


def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")
