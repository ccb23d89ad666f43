"""Words around numbers, for messages."""

from __future__ import annotations


def count(number: int, noun: str) -> str:
    """Return a number and its noun, e.g. "1 element" or "1,000 elements"."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
