"""What an engine is made of, in a line: "weights 98% half; 53 MB"."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from pytest_trt import units
from pytest_trt.report.record import EngineRecord


def facts_lines(engines: Sequence[EngineRecord]) -> Iterator[str]:
    """Yield a line for each engine, with what the first test to load and run it has measured."""
    by_key: dict[str, list[EngineRecord]] = {}
    for engine in engines:
        by_key.setdefault(engine.key, []).append(engine)
    for same in by_key.values():
        engine = same[0]
        load_s = _first(other.load_s for other in same)
        first_inference_s = _first(other.first_inference_s for other in same)
        parts = [*_made_of(engine), *_took(load_s, first_inference_s)]
        yield f"facts {engine.model} {engine.precision} {engine.arch}: {'; '.join(parts)}"


def _made_of(engine: EngineRecord) -> Iterator[str]:
    if engine.layers is not None:
        yield f"weights {shares(engine.weights_pct)}"
        yield f"{engine.layers} layers, {shares(engine.layers_pct)}"
    yield units.size(engine.size_bytes)
    if engine.device_memory_bytes is not None:
        yield f"{units.size(engine.device_memory_bytes)} on the device"


def _took(load_s: float | None, first_inference_s: float | None) -> Iterator[str]:
    if load_s is not None:
        yield f"loaded in {units.seconds(load_s)}"
    if first_inference_s is not None:
        yield f"first inference {units.seconds(first_inference_s)}"


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def shares(pct: Mapping[str, float] | None) -> str:
    """Return shares by precision, the largest first: "98% half, 2.0% float"."""
    if pct is None:
        return "of unknown precision"
    ranked = sorted(pct.items(), key=lambda entry: -entry[1])
    return ", ".join(f"{units.share(value / 100)} {precision}" for precision, value in ranked)
