"""Facts of engines that a test makes up."""

from __future__ import annotations

from pytest_trt.engine.facts import EngineFacts, Layer


def made_of(*layers: tuple[str | None, dict[str, int]], **figures: int) -> EngineFacts:
    """Return facts of layers that are given as (precision, weights)."""
    return EngineFacts(
        size_bytes=1000,
        build_s=1.0,
        layers=tuple(
            Layer(f"layer {number}", "Convolution", precision, weights=weights)
            for number, (precision, weights) in enumerate(layers)
        ),
        **figures,
    )
