"""The document that every report is written from: plain data in the shape of `report.schema.json`.

Writers, the command line and whoever reads a `.json` report later work on this one shape.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import from_data, to_data
from pytest_trt.report.coverage import coverage_of
from pytest_trt.report.groups import groups_of
from pytest_trt.report.record import PlannedTest
from pytest_trt.report.result import engine_facts, results_of
from pytest_trt.report.status import Phase, PhaseOutcomes, Status, status_of
from pytest_trt.version import __version__

# History of the format:
#   1  first version
#: Format of reports. Bump it when a reader of an older one would misread a newer one; a field that
#: is added is no new format.
REPORT_SCHEMA = 1

#: A whole report as JSON-simple data.
Document: TypeAlias = dict[str, Any]

#: Characters of one failure that are kept, its beginning and its end; the fewer, the more tests
#: fail, as far as the last figure: a thousand failing tests make a report that can be opened.
_FAILURE_CHARS = 5000
_ALL_FAILURES_CHARS = 2_000_000
_FAILURE_CHARS_LEAST = 1000


def make_document(
    run: Mapping[str, Any],
    planned: Mapping[str, PlannedTest],
    told: Mapping[str, PhaseOutcomes],
    repeat: Mapping[str, str],
    required: Sequence[str] = (),
) -> Document:
    """Return the document of one run.

    Args:
        run: Facts of the run, see the schema.
        planned: Every collected test with a model, by node id.
        told: What was told of tests, by node id.
        repeat: The command that repeats each test, by node id.
        required: Architectures on which every test must have reached a verdict.
    """
    failing = sum(found.outcome == "failed" for found in told.values())
    most_chars = _ALL_FAILURES_CHARS // max(failing, 1)
    most_chars = min(_FAILURE_CHARS, max(most_chars, _FAILURE_CHARS_LEAST))
    tests = []
    engines: dict[str, dict[str, Any]] = {}
    for nodeid, plan in planned.items():
        found = told.get(nodeid)
        tests.append({**_test(plan, found, most_chars), "repeat": repeat.get(nodeid, "")})
        for engine in found.record.engines if found and found.record else ():
            facts = engines.setdefault(engine.key, engine_facts(engine))
            for name in ("load_s", "first_inference_s"):  # whoever came first has not run it yet
                facts[name] = getattr(engine, name) if facts[name] is None else facts[name]
    counts = Counter(test["status"] for test in tests)
    counts_in_order = {one.value: counts[one.value] for one in Status if counts[one.value]}
    document: Document = {
        "schema": REPORT_SCHEMA,
        "written_by": f"pytest-trt {__version__}",
        "runs": [{**run, "counts": counts_in_order}],
        "engines": engines,
        "tests": tests,
    }
    document["coverage"] = coverage_of(document, required)
    document["groups"] = grouped(tests)
    plain: Document = as_json(document)
    return plain


def grouped(tests: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return why tests of a report failed, each reason once."""
    found = [
        (test["id"], [from_data(Diagnostic, one) for one in test["diagnostics"]]) for test in tests
    ]
    return [to_data(group) for group in groups_of(found)]


def _test(plan: PlannedTest, told: PhaseOutcomes | None, most_chars: int) -> dict[str, Any]:
    status = status_of(told, selected=plan.selected)
    record = told.record if told else None
    phases = told.phases if told else {}
    return {
        "id": plan.nodeid,
        "test": plan.test,
        "run": 0,
        "file": plan.file,
        "line": plan.line,
        "model": plan.model,
        "precision": plan.precision,
        "arch": plan.arch,
        "checks": list(plan.checks),
        "on_engine": plan.on_engine or bool(record and record.engines),
        "status": status.value,
        "outcome": told.outcome if told else None,
        "reason": _reason(status, told),
        "duration_s": round(sum(phase.duration_s for phase in phases.values()), 3),
        "failure": _failure(phases, most_chars),
        "diagnostics": to_data(record.diagnostics) if record else [],
        "notes": to_data(record.notes) if record else [],
        "remarks": list(record.remarks) if record else [],
        "selftest": list(record.proofs) if record else [],
        "results": results_of(record, status) if record else [],
    }


def planned_from(nodeid: str, told: PhaseOutcomes) -> PlannedTest:
    """Return a test that was not collected here as far as its record tells it."""
    engine = told.record.engines[0] if told.record and told.record.engines else None
    arch = engine.arch if engine else ""
    return PlannedTest(
        nodeid=nodeid,
        test=nodeid,
        file=nodeid.partition("::")[0],
        line=0,
        model=engine.model if engine else "",
        precision=engine.precision if engine else "",
        arch=arch,
    )


def _reason(status: Status, told: PhaseOutcomes | None) -> str:
    if status is Status.NOT_RUN:
        return "the run ended before it"
    if told is None:
        return "left out by -k, -m or --deselect" if status is Status.DESELECTED else ""
    record = told.record
    if record is not None and record.skipped:
        return record.skipped
    for phase in told.phases.values():
        if phase.xfail is not None and phase.outcome == "skipped":
            return phase.xfail
        if phase.outcome != "passed":
            return phase.reason
    speeds = record.speeds if record else ()
    if status is Status.NOT_MEASURED and any(speed.update for speed in speeds):
        return "recorded as a baseline, compared with none"
    if status is Status.INCONCLUSIVE and record is not None and record.notes:
        return record.notes[-1].message
    if status is Status.INCONCLUSIVE and record is not None and record.remarks:
        return record.remarks[-1]
    return ""


def _failure(phases: Mapping[str, Phase], most_chars: int) -> str:
    text = "\n\n".join(phase.text for phase in phases.values() if phase.outcome == "failed")
    if len(text) <= most_chars:
        return text
    half = most_chars // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[... {left_out:,} characters left out ...]\n{text[-half:]}"


def as_json(value: Any) -> Any:
    """Return data with what JSON has no word for written out: "nan", "inf" and "-inf"."""
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {str(name): as_json(entry) for name, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [as_json(entry) for entry in value]
    return value
