"""Wording that several packages share: numbers with nouns, and help for mistyped names."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: The most names that are listed; of more names, only the first are.
_LISTED = 60

#: The number of closest names.
_CLOSEST = 5


def known_names(kind: str, given: object, known: Iterable[str]) -> str:
    """Return a remedy for an unknown name: the likely one, or else the known names."""
    names = list(known)
    if not names:
        return f"leave it out: there are no {kind}s."
    close = closest_names(given, names)
    if close:
        others = f" Other similar {kind}s: {', '.join(map(repr, close[1:]))}." if close[1:] else ""
        return f"did you mean {close[0]!r}?{others}"
    if len(names) <= _LISTED:
        return f"the {kind}s are {', '.join(map(repr, names))}."
    shown = ", ".join(map(repr, names[:_CLOSEST]))
    return f"none of the {len(names):,} {kind}s has a similar name; the first are {shown}."


def closest_names(given: object, names: Iterable[str]) -> list[str]:
    """Return the names most similar to a given one, best first, ignoring case."""
    by_folded: dict[str, str] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), name)
    folded = difflib.get_close_matches(str(given).casefold(), by_folded, n=_CLOSEST)
    return [by_folded[name] for name in folded]


def count(number: int, noun: str) -> str:
    """Return a number and its noun, e.g. "1 element" or "1,000 elements"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
