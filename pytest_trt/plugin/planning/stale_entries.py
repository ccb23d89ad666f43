"""Entries of `per_model` for models that a test no longer has, and how typos differ from them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import SequenceMatcher
from itertools import groupby
from pathlib import Path

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.plugin.planning.keywords import PER_MODEL, invalid

_SUFFIX = ".onnx"

#: The most edits that make a typo.
_EDITS = 2


@dataclass(frozen=True, slots=True)
class StaleEntry:
    """An entry of `per_model` whose model is a file that is missing, or that the marker leaves out.

    Attributes:
        name: The model as the entry names it.
        path: Its file.
        marker: The marker.
        similar: A model of the test without an entry that the name may be a typo of; or empty.
    """

    name: str
    path: Path
    marker: str
    similar: str

    @classmethod
    def of(cls, name: str, marker: str, free: Iterable[str], test_file: Path) -> StaleEntry | None:
        """Return the entry of a name that is no model of a test; None if it names no ONNX file."""
        if not name.endswith(_SUFFIX):
            return None
        path = Path(os.path.normpath(test_file.parent / name))
        similar = similar_names(name, free)
        return cls(name, path, marker, "" if path.exists() or not similar else similar[0])

    def refusal(self) -> Diagnostic:
        """Return the refusal of a name that seems to be a typo."""
        return invalid(
            self.marker,
            f"{self.marker}: {PER_MODEL} names {self.name!r}, which is not a model of the test",
            f"did you mean {self.similar!r}?",
        ).diagnostic


def similar_names(name: str, names: Iterable[str]) -> list[str]:
    """Return the names that differ from one as a typo does.

    Another number is another model. The same file name in another folder counts, as a folder is
    easily left out.
    """
    return [
        one
        for one in names
        if _numbers(one) == _numbers(name)
        and (Path(one).name == Path(name).name or _edits(one.casefold(), name.casefold()) <= _EDITS)
    ]


def _numbers(name: str) -> list[int]:
    return [int("".join(digits)) for is_number, digits in groupby(name, str.isdecimal) if is_number]


def _edits(a: str, b: str) -> int:
    """Return how many characters two texts differ by."""
    edits = SequenceMatcher(None, a, b, autojunk=False).get_opcodes()
    return sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in edits if kind != "equal")
