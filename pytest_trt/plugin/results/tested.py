"""What a run says of its engines, stored for `pytest-trt export`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from pytest_trt.diagnostics import PytestTrtError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.tested import (
    TESTED_RUNS,
    TestedEngine,
    TestedRun,
    TestOfEngines,
    merged,
    tested_engine,
)
from pytest_trt.git import head_commit
from pytest_trt.plugin.results.ledger import Ledger
from pytest_trt.plugin.run import TrtRun
from pytest_trt.records import from_data, to_data
from pytest_trt.report.record import TestResult, below
from pytest_trt.terms import CPU


def tested_data(engines: Iterable[Engine], run: TrtRun) -> Any:
    """Return what is stored of engines, as JSON-simple data."""
    return to_data([_tested(engine, run) for engine in engines])


def _tested(engine: Engine, run: TrtRun) -> TestedEngine:
    options = {}
    if engine.target.arch == CPU and not engine.finished:
        from pytest_trt.backends.onnxruntime.plan import lowered_level

        level = lowered_level(engine.plan)
        # Under another name, nothing else shows at which level a plan is loaded.
        options = {"graph_optimization_level": level} if level else {}
    return tested_engine(engine, run.backend(engine.target.arch).name, options)


def store_tested(
    run: TrtRun,
    root: Path,
    results: Sequence[TestResult],
    engines: Iterable[Any],
    failed: Mapping[str, set[str]],
    ledger: Ledger,
) -> None:
    """Store what a run says of its engines, if the cache is writable."""
    commit = None
    with suppress(PytestTrtError):
        commit = head_commit(root)
    tested = TestedRun(
        root=root,
        finished=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        commit=commit,
        report=next((below(path.absolute(), root) for path in run.settings.report), ""),
        engines=merged(from_data(TestedEngine, one) for data in engines for one in data),
        tests=(
            *(_of_result(one, failed.get(one.nodeid, set())) for one in results),
            *_others(root, {one.nodeid for one in results}, failed, ledger),
        ),
    )
    with suppress(OSError, PytestTrtError):
        TESTED_RUNS.write(run.cache.last_runs, tested)


def _of_result(result: TestResult, failed: set[str]) -> TestOfEngines:
    record = result.record
    verdicts: dict[str, dict[str, str]] = {one.key: {} for one in record.engines}
    for check in record.checks:
        name = "consistency" if check.against == "model" else "stored answers"
        verdicts.setdefault(check.key, {})[name] = check.verdict
    for speed in record.speeds:
        verdicts.setdefault(speed.key, {})["benchmark"] = speed.verdict
    outcome = result.outcome
    if outcome == "passed" and failed:
        outcome = f"failed in its {', '.join(sorted(failed))}"
    return TestOfEngines(result.nodeid, outcome, tuple(verdicts), verdicts)


def _others(
    root: Path, known: set[str], failed: Mapping[str, set[str]], ledger: Ledger
) -> Iterator[TestOfEngines]:
    """Yield the tests that were to check an engine, and requested none."""
    for one in ledger.planned.values():
        if one.nodeid in known or not one.selected or not one.checks:
            continue
        outcome = "failed" if failed.get(one.nodeid) else ledger.outcome_without_engine(one.nodeid)
        # A fixture that did not run has not given its model: it may be any.
        model = root / one.model
        use = (str(model) if model.is_file() else "", one.precision, one.arch)
        yield TestOfEngines(one.nodeid, outcome, use=use)
