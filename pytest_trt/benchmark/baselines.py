"""What is stored of a measurement, and stored rounds to compare new rounds with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone

from pytest_trt.baseline.entry import Entry, StoredRun
from pytest_trt.engine.build import Engine
from pytest_trt.engine.cache import EngineCache
from pytest_trt.engine.facts import Layer
from pytest_trt.engine.layer_changes import layers_of
from pytest_trt.statistics.rounds import Rounds

#: Digits of digests that are stored: enough to distinguish plans of one key, or models.
_DIGITS = 16


def stored_rounds(run: StoredRun) -> Rounds:
    """Return a stored run's rounds."""
    return Rounds.of_figures(run.rounds, run.calls)


def new_run(
    rounds: Rounds, *, toolchain: str, environment: Mapping[str, str], reason: str
) -> StoredRun:
    """Return rounds of this process as a run to be stored."""
    return StoredRun(
        recorded=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        toolchain=toolchain,
        calls=rounds.calls,
        rounds=rounds.figures(),
        reason=reason,
        environment=environment,
    )


def layers_then(entry: Entry, cache: EngineCache) -> Sequence[Layer] | None:
    """Return the layers of the baseline's engine: those that are stored, or those in the cache."""
    stored = layers_of(entry.layers)
    if stored:
        return stored
    found = cache.find(str(entry.engine.get("key", "")))
    return found.facts.layers if found else None


def engine_facts(engine: Engine | None) -> dict[str, int | str]:
    """Return an engine's exact facts, as they are stored; nothing without an engine."""
    if engine is None:
        return {}
    facts = engine.facts
    known: dict[str, int | str | None] = {
        "key": engine.key.digest,
        "plan": engine.plan_digest[:_DIGITS],
        "model": engine.model.digest[:_DIGITS],
        "size_bytes": facts.size_bytes,
        "device_memory_bytes": facts.memory_bytes,
        "layers": None if facts.layers is None else len(facts.layers),
    }
    return {label: value for label, value in known.items() if value is not None}
