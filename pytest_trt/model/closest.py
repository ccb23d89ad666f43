"""The sentence that helps somebody who mistyped a name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def known_names(kind: str, given: object, known: Iterable[str]) -> str:
    """Return which names there are, the one that was probably meant first."""
    names = list(known)
    if not names:
        return f"leave it out: there is no {kind} at all."
    listed = f"the {kind}s are {', '.join(map(repr, names))}."
    close = difflib.get_close_matches(str(given), names, n=1)
    return f"did you mean {close[0]!r}? {listed[0].upper()}{listed[1:]}" if close else listed
