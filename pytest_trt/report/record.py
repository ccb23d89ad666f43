"""Records: what one test found, as data that is attached to pytest's reports.

A record is made where the test ran, perhaps in an xdist worker, and read where results are shown.
It holds only what JSON can hold. Renderers read records and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.engine.record import EngineRecord
from pytest_trt.records import from_data, to_data

if TYPE_CHECKING:
    from pytest_trt.baseline.staged_answers import StagedAnswers
    from pytest_trt.baseline.staged_metrics import StagedMetrics
    from pytest_trt.benchmark.result import BenchmarkResult
    from pytest_trt.statistics.decline import TaskMetricResult

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class TestRecord:
    """Everything that one test found.

    Attributes:
        engines: Engines that it asked for.
        unbuilt: Path of the model, architecture and precision of engines that could not be built.
        diagnostics: Why it failed, where the plugin knows; the worst first.
        notes: What else a reader of its result has to know.
        hidden_warnings: Headlines of notes that are warnings, and that pytest did not show.
        checks: Results of its consistency checks.
        speeds: Results of its benchmarks.
        has_answers: Whether it is compared with stored answers.
        lacks_answers: Whether it is, and none were stored, so that it was not.
        accepted: Errors of outputs that are stored with its answers, by architecture and precision.
            Only where a report is written.
        accepted_reason: Why they were accepted, as given when they were stored; empty for none.
        answers: New answers that may be stored.
        task_metrics: Results of what it recorded with trt_metrics.
        staged_metrics: New task metrics that may be stored.
        skipped: Why the plugin skipped it, if it did.
        failed_by_checks: Whether it failed only because a check did not pass.
        proofs: What --trt-selftest injected, and how the checks responded.
    """

    __test__ = False  # not a test class, whatever its name says

    engines: tuple[EngineRecord, ...] = ()
    checks: tuple[AccuracyResult, ...] = ()
    speeds: tuple[BenchmarkResult, ...] = ()
    has_answers: bool = False
    lacks_answers: bool = False
    answers: StagedAnswers | None = None
    task_metrics: tuple[TaskMetricResult, ...] = ()
    staged_metrics: StagedMetrics | None = None
    skipped: str | None = None
    failed_by_checks: bool = False
    proofs: tuple[dict[str, Any], ...] = ()
    unbuilt: tuple[tuple[str, str, str], ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    notes: tuple[Diagnostic, ...] = ()
    hidden_warnings: tuple[str, ...] = ()
    accepted: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    accepted_reason: str = ""

    @property
    def terminal_notes(self) -> tuple[Diagnostic, ...]:
        """The notes; warnings that pytest did not show are notes as well."""
        return tuple(
            replace(one, severity="note") if one.headline in self.hidden_warnings else one
            for one in self.notes
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-simple data."""
        data: dict[str, Any] = to_data(self)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TestRecord:
        """Return the record that `to_dict` made this data from."""
        return cls(
            engines=_all(EngineRecord, data["engines"]),
            checks=tuple(from_data(AccuracyResult, check) for check in data["checks"]),
            speeds=_speeds(data["speeds"]),
            has_answers=data["has_answers"],
            lacks_answers=data["lacks_answers"],
            accepted=data["accepted"],
            accepted_reason=data["accepted_reason"],
            answers=_answers(data["answers"]),
            task_metrics=_task_metrics(data["task_metrics"]),
            staged_metrics=_staged_metrics(data["staged_metrics"]),
            diagnostics=_all(Diagnostic, data["diagnostics"]),
            notes=_all(Diagnostic, data["notes"]),
            hidden_warnings=tuple(data["hidden_warnings"]),
            skipped=data["skipped"],
            failed_by_checks=data["failed_by_checks"],
            proofs=tuple(data["proofs"]),
            unbuilt=tuple((path, arch, precision) for path, arch, precision in data["unbuilt"]),
        )


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test's outcome and its record.

    Attributes:
        nodeid: The test.
        outcome: pytest's outcome: "passed", "failed", "error", "skipped", "xfailed", "xpassed".
        record: What the plugin found.
    """

    __test__ = False

    nodeid: str
    outcome: str
    record: TestRecord


@dataclass(frozen=True, slots=True)
class PlannedTest:
    """A collected test with a model, whether or not it ran.

    Attributes:
        nodeid: The test's node id.
        test: The node id without the architecture: the same on every machine.
        file: Its file, relative to pytest's root directory.
        line: Its first line, from 1; 0 where it is unknown.
        model: The model's file, relative to pytest's root directory if it is below.
        precision: The precision under test.
        arch: The architecture under test.
        checks: The checks that its markers ask for: "consistency", "benchmark"; and "metrics"
            where it uses `trt_metrics`.
        on_engine: Whether it needs an engine: only then is a verdict on each architecture required.
        selected: Whether it was not deselected (`-k`, `-m`, `--deselect`).
        imported_from: The tool whose files it was imported from; empty for a test.
        compared_with: What its markers compare outputs with: "model", "stored", "drift".
        drift: By what factor an error may exceed the stored one; None without such a limit.
        argument: The test as pytest takes it in its root directory.
    """

    nodeid: str
    test: str
    file: str
    line: int
    model: str
    precision: str
    arch: str
    checks: tuple[str, ...] = ()
    on_engine: bool = True
    selected: bool = True
    imported_from: str = ""
    compared_with: tuple[str, ...] = ()
    drift: float | None = None
    argument: str = ""


def below(path: Path, root: Path) -> str:
    """Return a path relative to a folder if it is below, else the whole path."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def without_parameters(nodeid: str, ids: Sequence[str], *values: str) -> str:
    """Return a node id without some parameters, such as the architecture.

    "test_it.py::test_a[sm86-fp16]" and "[fp16]" of a run for one architecture are the same test.

    Args:
        nodeid: The test's node id.
        ids: The id of each of its parameters, such as ("sm86", "fp16"); empty without any.
        values: Those to leave out.
    """
    rest = list(ids)
    for value in values:
        if value in rest:
            rest.remove(value)
    if len(rest) == len(ids):
        return nodeid
    base = nodeid[: -len(f"[{'-'.join(ids)}]")]
    return f"{base}[{'-'.join(rest)}]" if rest else base


def _all(cls: type[_T], items: Sequence[object]) -> tuple[_T, ...]:
    return tuple(from_data(cls, item) for item in items)


def _answers(data: object) -> StagedAnswers | None:
    if data is None:
        return None
    from pytest_trt.baseline.staged_answers import StagedAnswers

    return from_data(StagedAnswers, data)


def _task_metrics(items: Sequence[object]) -> tuple[TaskMetricResult, ...]:
    if not items:
        return ()
    from pytest_trt.statistics.decline import TaskMetricResult

    return _all(TaskMetricResult, items)


def _staged_metrics(data: object) -> StagedMetrics | None:
    if data is None:
        return None
    from pytest_trt.baseline.staged_metrics import StagedMetrics

    return from_data(StagedMetrics, data)


def _speeds(items: Sequence[Mapping[str, Any]]) -> tuple[BenchmarkResult, ...]:
    if not items:
        return ()
    # Most tests time nothing, and the module takes as long to load as all others of this folder.
    from pytest_trt.benchmark.result import BenchmarkResult

    return tuple(BenchmarkResult.from_dict(item) for item in items)
