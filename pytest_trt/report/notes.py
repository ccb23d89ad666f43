"""Notes on tests that did not fail for them, each once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from pytest_trt.codes import CODES
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import from_data
from pytest_trt.wording import count

#: Limits of what was chosen, which every run has: shown with -v alone.
_DETAILS = frozenset({"TRT678"})


def note_lines(
    tests: Iterable[tuple[str, Sequence[Diagnostic]]], *, details: bool = False
) -> Iterator[str]:
    """Yield the notes of tests, those with the same code and facts once: "50 tests: ...".

    Notes that differ in their model alone are one line too. Warnings are not repeated: pytest shows
    them in a section of their own.
    """
    groups: dict[tuple[object, ...], dict[str, Diagnostic]] = {}
    for nodeid, notes in tests:
        for note in (one for one in notes if one.severity == "note"):
            if note.code in _DETAILS and not details:
                continue
            entry = CODES.get(note.code)
            names = entry.group_by if entry else ()
            facts = (repr(note.facts.get(name)) for name in names if name != "model")
            # Without facts to group by, only the same sentence is the same note.
            key = (note.code, *facts) if names else (note.code, note.message)
            groups.setdefault(key, {}).setdefault(nodeid, note)
    for group in groups.values():
        first = next(iter(group.values()))
        many = f"{len(group)} tests: " if len(group) > 1 else ""
        models = {repr(note.facts.get("model")) for note in group.values()}
        more = f" (and {count(len(models) - 1, 'more model')})" if len(models) > 1 else ""
        yield f"note  {many}{first.headline}{more}"


def notes_of(document: Mapping[str, Any]) -> list[str]:
    """Return the notes of a report's tests as lines."""
    tests = document["tests"]
    found = ((one["id"], [from_data(Diagnostic, note) for note in one["notes"]]) for one in tests)
    return list(note_lines(found))
