"""The result of a conversion, without what converts."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        notes: Notes for the report, such as constants that had to be clamped.
        kept: Names of the nodes of the result that stay float32 because they were to, where builder
            flags may narrow them.
        float32_outputs: Outputs of the model that are made by nodes that stay float32 although
            they could be narrower and `keep_fp32` does not name them.
    """

    notes: tuple[str, ...]
    float32_outputs: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
