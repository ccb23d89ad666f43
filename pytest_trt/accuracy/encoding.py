"""Numbers as JSON can carry them: NaN, infinities and complex numbers have no place in it."""

from __future__ import annotations

import math
from typing import Any


def encode_float(value: float | None) -> float | str | None:
    """Return the number itself, or "nan", "inf", "-inf"."""
    return value if value is None or math.isfinite(value) else str(value)


def decode_float(data: Any) -> Any:
    """Return the float that `encode_float` encoded, or None."""
    return None if data is None else float(data)


def encode_scalar(value: object) -> object:
    """Return a JSON-simple form of one tensor element, of which the type can be told again."""
    if isinstance(value, complex):
        return {"complex": [encode_float(value.real), encode_float(value.imag)]}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    return value


def decode_scalar(data: Any) -> Any:
    """Return the element that `encode_scalar` encoded."""
    if not isinstance(data, dict):
        return data
    if "complex" in data:
        real, imag = data["complex"]
        return complex(float(real), float(imag))
    return float(data["float"])
