"""Single elements that stand out, and the count of those that are no finite numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from pytest_trt.accuracy.encoding import decode_float, decode_scalar, encode_float, encode_scalar

#: One element as Python has it.
Scalar: TypeAlias = bool | int | float | complex | str


@dataclass(frozen=True, slots=True)
class Element:
    """One element that stands out.

    Attributes:
        value: The figure by which it stands out (a difference, a share).
        index: Where it is, one entry per axis.
        actual: The engine's value there.
        reference: The reference's value there.
    """

    value: float
    index: tuple[int, ...]
    actual: Scalar
    reference: Scalar

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON-simple data."""
        return {
            "value": encode_float(self.value),
            "index": list(self.index),
            "actual": encode_scalar(self.actual),
            "reference": encode_scalar(self.reference),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Element:
        """Return the element that `to_dict` encoded."""
        return cls(
            value=decode_float(data["value"]),
            index=tuple(data["index"]),
            actual=decode_scalar(data["actual"]),
            reference=decode_scalar(data["reference"]),
        )


@dataclass(frozen=True, slots=True)
class NonFinite:
    """NaN and infinities on both sides of one output.

    Attributes:
        actual_nan: How many elements of the actual output are NaN; the next five likewise.
        actual_pos_inf: +Inf in the actual output.
        actual_neg_inf: -Inf in the actual output.
        reference_nan: NaN in the reference.
        reference_pos_inf: +Inf in the reference.
        reference_neg_inf: -Inf in the reference.
        positions: Positions where either side is not finite.
        disagreeing: Those of them where the two sides are not of the same kind.
        first: The first of the positions.
        first_disagreeing: The first of the disagreeing ones.
    """

    actual_nan: int = 0
    actual_pos_inf: int = 0
    actual_neg_inf: int = 0
    reference_nan: int = 0
    reference_pos_inf: int = 0
    reference_neg_inf: int = 0
    positions: int = 0
    disagreeing: int = 0
    first: Element | None = None
    first_disagreeing: Element | None = None

    @property
    def in_actual(self) -> int:
        """How many elements of the actual output are not finite."""
        return self.actual_nan + self.actual_pos_inf + self.actual_neg_inf

    @property
    def in_reference(self) -> int:
        """How many elements of the reference are not finite."""
        return self.reference_nan + self.reference_pos_inf + self.reference_neg_inf

    def to_dict(self) -> dict[str, object]:
        """Return the fields as JSON-simple data."""
        first, disagreeing = encoded(self.first), encoded(self.first_disagreeing)
        return {**asdict(self), "first": first, "first_disagreeing": disagreeing}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> NonFinite:
        """Return the counts that `to_dict` encoded."""
        first, disagreeing = decoded(data["first"]), decoded(data["first_disagreeing"])
        return cls(**{**data, "first": first, "first_disagreeing": disagreeing})


def encoded(element: Element | None) -> dict[str, object] | None:
    """Return an element, where there is one, as JSON-simple data."""
    return None if element is None else element.to_dict()


def decoded(data: dict[str, Any] | None) -> Element | None:
    """Return the element, where there is one, that `encoded` encoded."""
    return None if data is None else Element.from_dict(data)
