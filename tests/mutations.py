"""Damage to files, for tests that readers refuse it."""

from __future__ import annotations

import json
from random import Random
from typing import Any

#: What stands in the place of another value.
ODD: tuple[Any, ...] = (
    None, True, -1, 0, 1e308, 10**400, "", "\0", "nan", [], {}, [[]], {"a": {}}, float("nan"),
)  # fmt: skip


def changed_bytes(whole: bytes, chance: Random) -> bytes:
    """Return a file with a few other bytes, or cut off."""
    damaged = bytearray(whole)
    for _ in range(chance.choice([1, 1, 2, 8])):
        damaged[chance.randrange(len(damaged))] = chance.randrange(256)
    if chance.random() < 0.2:
        del damaged[chance.randrange(len(damaged)) :]
    return bytes(damaged)


def changed(whole: bytes, chance: Random) -> bytes:
    """Return a file of JSON with another value, key or length somewhere."""
    data = {"": json.loads(whole)}
    places: list[tuple[Any, Any]] = []

    def visit(inside: Any) -> None:
        for key in list(inside) if isinstance(inside, dict) else range(len(inside)):
            places.append((inside, key))
            if isinstance(inside[key], dict | list):
                visit(inside[key])

    visit(data)
    inside, key = chance.choice(places)
    how = chance.randrange(3)
    if how == 0 and (inside is not data):
        del inside[key]
    elif how == 1 and isinstance(inside, dict) and inside is not data:
        inside["other"] = inside.pop(key)
    else:
        inside[key] = chance.choice(ODD)
    return json.dumps(data[""]).encode()
