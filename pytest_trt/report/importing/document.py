"""The report of imported files: evidence without a verdict, in figures that our code computed."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any

from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.result import AccuracyResult, merge_runs
from pytest_trt.benchmark.judge import figures_of_rounds
from pytest_trt.benchmark.recorded_source import recorded_rounds
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.rounds import summarised
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.engine.facts import EngineFacts, Layer
from pytest_trt.engine.layer_changes import layer_kinds, layer_rows
from pytest_trt.engine.record import EngineRecord
from pytest_trt.report.document import Document, make_document
from pytest_trt.report.importing.files import Found
from pytest_trt.report.importing.trtexec import round_length, rounds_of
from pytest_trt.report.record import PlannedTest, TestRecord
from pytest_trt.report.status import PhaseOutcomes
from pytest_trt.statistics.rounds import Rounds
from pytest_trt.tensors.polygraphy import Runner
from pytest_trt.terms import Mode, Verdict
from pytest_trt.version import __version__
from pytest_trt.wording import count

#: Layers that a note names.
_SLOWEST = 3


@dataclass(frozen=True, slots=True)
class Named:
    """What the files do not say.

    Attributes:
        test: What the evidence is of, such as a test's node id: reports are compared by it.
        model: File name of the model.
        precision: The precision.
        arch: The architecture that it ran on.
        mode: How trtexec timed the queries: "enqueue", or "graph" with a CUDA graph.
        batch: Batch items of each query or iteration.
    """

    test: str
    model: str
    precision: str
    arch: str
    mode: Mode
    batch: int


def imported_document(found: Found, named: Named) -> Document:
    """Return the report of what files hold."""
    records = [*_of_trtexec(found, named), *_of_polygraphy(found, named)]
    planned, outcomes = {}, {}
    for label, record in records:
        test = named.test if len(records) == 1 else f"{named.test}::{label}"
        tool = "trtexec" if label == "trtexec" else "Polygraphy"
        planned[test] = PlannedTest(
            nodeid=test,
            test=test,
            file="",
            line=0,
            model=named.model,
            precision=named.precision,
            arch=named.arch,
            on_engine=False,
            imported_from=tool,
        )
        speeds = tuple(replace(speed, test=test) for speed in record.speeds)
        outcomes[test] = PhaseOutcomes(record=replace(record, speeds=speeds))
    return make_document(_run(found, named), planned, outcomes, {})


def _run(found: Found, named: Named) -> dict[str, Any]:
    moment = datetime.fromtimestamp(found.started_s, timezone.utc)
    files = [*found.trtexec, *found.polygraphy]
    tools = (["trtexec"] if found.trtexec else []) + (["Polygraphy"] if found.polygraphy else [])
    return {
        "id": uuid.uuid4().hex,
        "started": moment.isoformat(timespec="seconds"),
        "started_s": round(found.started_s, 3),
        "duration_s": 0.0,
        "exit_status": 0,
        "interrupted": False,
        "stopped": "",
        "commit": None,
        "platform": "",
        "versions": {"pytest-trt": __version__},
        "options": {},
        "machine_facts": {"imported files": ", ".join(files)},
        "targets": [
            {
                "arch": named.arch,
                "target": named.arch,
                "device": {},
                "backend": tool.lower(),
                "toolchain": tool,
                "toolchain_versions": {},
                "why": "imported",
                "gpu": None,
            }
            for tool in tools
        ],
        "collection_errors": {},
        "collection_reasons": {},
        "skipped_files": {},
        "skipped_model_files": [],
        "diagnostics": [],
    }


def _of_trtexec(found: Found, named: Named) -> Iterator[tuple[str, TestRecord]]:
    """Yield the evidence of trtexec's files, if there are any, with its label."""
    if not found.trtexec:
        return
    times = found.profile[1] if found.profile else ()
    engine = replace(_engine("trtexec", named, found.layers), layer_times=times)
    notes, speeds = [_imported("trtexec", found.trtexec)], []
    if found.queries is not None:
        rounds = rounds_of(found.queries, named.batch)
        queries = len(found.queries.compute_ms)
        if rounds is not None:
            speeds = [_speed(engine, named, rounds, named.mode)]
            notes.append(_note(f"GPU compute time of {queries:,} queries", queries=queries))
        else:
            notes.append(_note(f"too few queries for a round: {queries}", queries=queries))
    if found.profile is not None:
        iterations, layers = found.profile
        slowest = sorted(layers, key=lambda one: -one.share)[:_SLOWEST]
        shown = ", ".join(f"{one.name} {100 * one.share:.1f}%" for one in slowest)
        total_ms = sum(one.average_ms for one in layers)
        notes.append(
            _note(
                f"{count(len(layers), 'layer')} took {total_ms:.3g} ms in each of "
                f"{count(iterations, 'profiled iteration')}: {shown or 'none'}",
                iterations=iterations,
                layers=len(layers),
            )
        )
    yield "trtexec", TestRecord(engines=(engine,), speeds=tuple(speeds), notes=tuple(notes))


def _of_polygraphy(found: Found, named: Named) -> Iterator[tuple[str, TestRecord]]:
    """Yield the evidence of each runner with its label: the first is what others compare with."""
    if not found.polygraphy:
        return
    notes = [_imported("Polygraphy", found.polygraphy)]
    if found.inputs:
        forms = ", ".join(f"{name} {list(one.shape)}" for name, one in found.inputs[0].items())
        notes.append(_note(f"{count(len(found.inputs), 'set')} of inputs: {forms}"))
    if not found.runners:
        yield "inputs", TestRecord(notes=tuple(notes))
        return
    first, *others = found.runners
    labels: list[str] = []
    for runner in found.runners:
        label = runner.label
        labels.append(label)
        label = f"{label}-{labels.count(label)}" if labels.count(label) > 1 else label
        engine = _engine(label, named, None)
        own, checks = list(notes), tuple[AccuracyResult, ...]()
        if others and runner is not first:
            check, problems = _compared(runner, first, engine, named)
            checks = (check,)
            own.append(_note(f"compared with {labels[0]}", problems))
        rounds = _timed(runner, named.batch)
        speeds = (_speed(engine, named, rounds, "end_to_end"),) if rounds else ()
        yield (
            label,
            TestRecord(engines=(engine,), checks=checks, speeds=speeds, notes=tuple(own)),
        )


def _compared(
    runner: Runner, reference: Runner, engine: EngineRecord, named: Named
) -> tuple[AccuracyResult, list[str]]:
    """Return how far outputs are from others, and what is missing or of another form."""
    pairs = list(zip(runner.iterations, reference.iterations, strict=False))
    merged = merge_runs(
        compare_values(
            one.outputs, other.outputs, precision=named.precision or "fp32", histogram=True
        )
        for one, other in pairs
    )
    problems = [finding.text for finding in merged.findings]
    problems += [
        finding.text
        for output in merged.outputs
        for finding in output.findings
        if not output.compared
    ]
    lengths = [len(one.iterations) for one in (runner, reference)]
    if len(set(lengths)) > 1:
        problems.append("the numbers of iterations differ: {} and {}".format(*lengths))
    worst = max(merged.outputs, key=lambda output: output.used, default=None)
    # Findings are judgements; nobody asked for one.
    outputs = tuple(replace(output, findings=()) for output in merged.outputs)
    result = AccuracyResult(
        model=named.model,
        precision=named.precision,
        arch=named.arch,
        verdict=Verdict.NOT_MEASURED,
        runs=len(pairs),
        worst_output=worst.name if worst else None,
        used=worst.used if worst else None,
        outputs=outputs,
        key=engine.key,
        against="stored",
    )
    return result, problems


def _timed(runner: Runner, batch: int) -> Rounds | None:
    """Return the runtimes of iterations as rounds; None where there are too few."""
    seconds = [one.runtime_s for one in runner.iterations if one.runtime_s is not None]
    taken = recorded_rounds(seconds, round_length(len(seconds)))
    return summarised(taken, items_per_call=batch) if taken else None


def _speed(engine: EngineRecord, named: Named, rounds: Rounds, mode: Mode) -> BenchmarkResult:
    return BenchmarkResult(
        test="",
        model=named.model,
        precision=named.precision,
        arch=named.arch,
        toolchain=engine.toolchain,
        mode=mode,
        batch=named.batch,
        kind="not measured",
        calls=rounds.calls,
        rounds=len(rounds),
        candidate=figures_of_rounds(rounds),
        candidate_rounds=rounds.figures(),
        key=engine.key,
    )


def _engine(label: str, named: Named, layers: tuple[Layer, ...] | None) -> EngineRecord:
    facts = EngineFacts(size_bytes=0, build_s=None, layers=layers)
    parts = (label, named.test, named.model, named.precision, named.arch)
    return EngineRecord(
        model=named.model,
        precision=named.precision,
        arch=named.arch,
        target=named.arch,
        toolchain=label,
        route="imported",
        key=hashlib.sha256("\0".join(parts).encode()).hexdigest(),
        cached=False,
        build_s=None,
        size_bytes=None,
        reason="",
        runs_here=True,
        layers=None if layers is None else len(layers),
        layers_pct=facts.layers_pct,
        weights_pct=facts.weights_pct,
        layer_rows=layer_rows(layers, reported=True),
        layer_kinds=layer_kinds(layers),
    )


def _imported(tool: str, files: Sequence[str]) -> Diagnostic:
    return Diagnostic(
        code="TRT940",
        message=f"imported from {tool}, not judged: {', '.join(files)}",
        facts={"tool": tool, "files": list(files)},
        severity="note",
    )


def _note(message: str, details: Sequence[str] = (), **facts: Any) -> Diagnostic:
    return Diagnostic(
        code="TRT941", message=message, facts=facts, details=tuple(details), severity="note"
    )
