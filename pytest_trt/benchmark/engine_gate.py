"""The engine itself against its limits and its baseline: size, memory, layers, seconds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_trt.baseline.entry import Entry
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.engine.build import Engine
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import EngineFacts, Layer
from pytest_trt.engine.layer_changes import layer_changes, layers_of, shortened
from pytest_trt.statistics.decide import Outcome
from pytest_trt.statistics.discount import discount_limit
from pytest_trt.statistics.structure import Structural, StructuralLimitResult, judge_structure
from pytest_trt.terms import Verdict

#: Changes of layers that a failure lists.
_CHANGES_TOLD = 6


def structure_records(
    limits: Mapping[Structural, float],
    engine: Engine | None,
    stored: Mapping[str, int | str] | None,
    busy: str = "",
) -> tuple[StructuralLimitResult, ...]:
    """Return what the limits of an engine itself came to.

    Args:
        limits: By name the limit.
        engine: The engine; where it has not been loaded and run in this process, there is no cold
            start. None where it is not known which one is under test.
        stored: Facts of the baseline's engine; None where there is nothing to compare with.
        busy: What kept the host busy while the engine was timed, and so at its start as well;
            empty where nothing did.
    """
    figures = {} if engine is None else figures_of(engine.facts)
    return tuple(
        discount_limit(one, busy) if one.name == "cold_start_s" else one
        for one in judge_structure(limits, figures, stored_figures(stored))
    )


def stored_figures(stored: Mapping[str, int | str] | None) -> dict[str, float] | None:
    """Return what of a baseline's facts are figures; None where there is no baseline."""
    if stored is None:
        return None
    return {name: float(v) for name, v in stored.items() if not isinstance(v, str)}


def figures_of(facts: EngineFacts) -> dict[str, float]:
    """Return an engine's figures by the names that limits know them by."""
    cold_start_s = None
    timings = facts.timings
    if timings.load_s is not None and timings.first_inference_s is not None:
        cold_start_s = timings.load_s + timings.first_inference_s
    known = {
        "size_bytes": facts.size_bytes,
        "device_memory_bytes": facts.memory_bytes,
        "layers": None if facts.layers is None else len(facts.layers),
        "build_s": facts.build_s,
        "cold_start_s": cold_start_s,
    }
    return {name: float(value) for name, value in known.items() if value is not None}


def structure_outcomes(record: BenchmarkResult) -> list[Outcome]:
    """Return what the limits of the engine itself came to."""
    return [one.outcome for one in record.structure]


def with_layer_changes(
    record: BenchmarkResult, engine: Engine | None, entry: Entry | None, cache: EngineCache
) -> BenchmarkResult:
    """Return the record of a regression with what became of the layers of the baseline's engine.

    They are known from the baseline, or from the cache while the engine is there.

    Args:
        record: What was found.
        engine: The engine of now, if it is known.
        entry: The baseline, if it was compared with one.
        cache: Where engines are kept.
    """
    if record.verdict not in (Verdict.FAILED, Verdict.REGRESSED) or engine is None or entry is None:
        return record
    return replace(record, layer_changes=_layer_lines(engine, entry, cache))


def _layer_lines(engine: Engine, entry: Entry, cache: EngineCache) -> tuple[str, ...]:
    now, key = engine.facts.layers, str(entry.engine.get("key", ""))
    then: Sequence[Layer] | None = layers_of(entry.layers) or None
    if then is None and key != engine.key.digest:
        found = cache.find(key)
        then = found.facts.layers if found else None
    if now is None or then is None:
        return ()
    return shortened(layer_changes(then, now), _CHANGES_TOLD)
