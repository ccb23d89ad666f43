"""The sentence that helps somebody who mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

#: More names than this are not read; the closest ones are given then.
_LISTED = 60

#: How many of them.
_CLOSEST = 5


def known_names(kind: str, given: object, known: Iterable[str]) -> str:
    """Return which names there are, the one that was probably meant first.

    Of many names, the closest are given, or else some from the start.
    """
    names = list(known)
    if not names:
        return f"leave it out: there is no {kind} at all."
    close = closest_names(given, names)
    if len(names) <= _LISTED:
        listed = f"the {kind}s are {', '.join(map(repr, names))}."
    elif close:
        listed = f"the closest of {len(names)} {kind}s are {', '.join(map(repr, close))}."
    else:
        shown = ", ".join(map(repr, names[:_CLOSEST]))
        listed = f"none of the {len(names)} {kind}s is close to it; the first are {shown}."
    return f"did you mean {close[0]!r}? {listed[0].upper()}{listed[1:]}" if close else listed


def closest_names(given: object, names: Iterable[str]) -> list[str]:
    """Return the names that are most like a given one, best first; letter case does not matter."""
    by_folded: dict[str, str] = {}
    for name in names:
        by_folded.setdefault(name.casefold(), name)
    folded = difflib.get_close_matches(str(given).casefold(), by_folded, n=_CLOSEST)
    return [by_folded[name] for name in folded]


def count(number: int, noun: str) -> str:
    """Return a number and its noun, e.g. "1 element" or "1,000 elements"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
