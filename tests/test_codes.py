from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import pytest_trt
from pytest_trt.codes import CODES

ROOT = Path(pytest_trt.__file__).parent


def used_codes() -> dict[str, str]:
    """Return every code that the package names, with one of the files that do."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        if path.name == "codes.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = getattr(node, "value", None) if isinstance(node, ast.Constant) else None
            if isinstance(value, str) and re.fullmatch(r"TRT\d{3}", value):
                found[value] = path.relative_to(ROOT).as_posix()
    return found


def test_every_code_that_is_used_is_registered() -> None:
    assert {code: file for code, file in used_codes().items() if code not in CODES} == {}


def test_every_registered_code_is_used() -> None:
    assert CODES.keys() - used_codes().keys() == set()


@pytest.mark.parametrize("code", sorted(CODES))
def test_entry_reads_well(code) -> None:
    entry = CODES[code]
    assert re.fullmatch(r"TRT[1-9]\d\d", code)
    assert entry.title
    assert not entry.title.endswith(".")
    assert entry.meaning.endswith(".")
    assert entry.action.endswith(".")
