"""Records: what one test found, as data that is attached to pytest's reports.

A record is made where the test ran, perhaps in an xdist worker, and read where results are shown.
It holds only what JSON can hold. Renderers read records and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from pytest_trt.accuracy.result import AccuracyResult
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.records import from_data, to_data

if TYPE_CHECKING:
    from pytest_trt.benchmark.result import BenchmarkResult

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine that a test asked for. Facts that the backend does not report are null.

    Attributes:
        model: File name of the model.
        precision: The requested precision.
        arch: The architecture that it was built for.
        target: The architecture with the device, such as "sm86 (NVIDIA A10)".
        toolchain: The backend that built it, with its version.
        route: How its precision was reached, such as "builder flags".
        key: Digest of its key in the engine cache.
        cached: Whether it came from the cache.
        build_s: Seconds that its build took, in this run or when it was cached.
        size_bytes: Size of the plan.
        reason: Why it was built: what differs from the closest cached engine; empty for the first
            engine of a model, precision and architecture.
        runs_here: Whether the machine that built it can run it.
        notes: Notes of the build, such as values that were rounded.
        warnings: Problems that were solved, such as a damaged cache entry.
        threads: Threads of one inference on the embedded backend; 0 means its default.
        device_memory_bytes: Scratch memory of one execution context.
        layers: Number of layers.
        layers_pct: Percentage of its layers by precision ("half", "int8", "float").
        weights_pct: Percentage of its weights by precision.
        load_s: Seconds that loading it took, where it was loaded.
        first_inference_s: Seconds of its first inference, where it ran.
        model_digest: Digest of the model with its external data.
        layer_rows: Its layers, unless there are too many to review: kind, precision, and the
            model's nodes in each. Only where a report is written.
        path: The model's file, relative to pytest's root directory if it is below.
    """

    model: str
    precision: str
    arch: str
    target: str
    toolchain: str
    route: str
    key: str
    cached: bool
    build_s: float
    size_bytes: int
    reason: str
    runs_here: bool
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    threads: int = 0
    device_memory_bytes: int | None = None
    layers: int | None = None
    layers_pct: Mapping[str, float] | None = None
    weights_pct: Mapping[str, float] | None = None
    load_s: float | None = None
    first_inference_s: float | None = None
    model_digest: str = ""
    layer_rows: tuple[tuple[str, ...], ...] = ()
    path: str = ""


@dataclass(frozen=True, slots=True)
class TestRecord:
    """Everything that one test found.

    Attributes:
        engines: Engines that it asked for.
        unbuilt: Model, architecture and precision of engines that could not be built.
        diagnostics: Why it failed, where the plugin knows; the worst first.
        notes: What else a reader of its result has to know.
        checks: Results of its consistency checks.
        speeds: Results of its benchmarks.
        skipped: Why the plugin skipped it, if it did.
        remarks: The notes that are still text.
        failed_by_checks: Whether it failed only because a check did not pass.
        proofs: What --trt-selftest planted, and how the checks responded.
    """

    __test__ = False  # not a test class, whatever its name says

    engines: tuple[EngineRecord, ...] = ()
    checks: tuple[AccuracyResult, ...] = ()
    speeds: tuple[BenchmarkResult, ...] = ()
    skipped: str | None = None
    remarks: tuple[str, ...] = ()
    failed_by_checks: bool = False
    proofs: tuple[dict[str, Any], ...] = ()
    unbuilt: tuple[tuple[str, str, str], ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    notes: tuple[Diagnostic, ...] = ()

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
            diagnostics=_all(Diagnostic, data["diagnostics"]),
            notes=_all(Diagnostic, data["notes"]),
            skipped=data["skipped"],
            remarks=tuple(data["remarks"]),
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
        checks: The checks that its markers ask for: "consistency", "benchmark".
        on_engine: Whether it needs an engine: only then is a verdict on each architecture required.
        selected: Whether it was not deselected (`-k`, `-m`, `--deselect`).
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


def without_arch(nodeid: str, parameters: str, arch: str) -> str:
    """Return a node id without the parameter that is the architecture.

    "test_it.py::test_a[sm86-fp16]" and "[fp16]" of a run for one architecture are the same test.

    Args:
        nodeid: The test's node id.
        parameters: pytest's id of its parameters, such as "sm86-fp16"; empty without any.
        arch: The architecture.
    """
    ids = parameters.split("-") if parameters else []
    if arch not in ids:
        return nodeid
    ids.remove(arch)
    base = nodeid[: -len(f"[{parameters}]")]
    return f"{base}[{'-'.join(ids)}]" if ids else base


def _all(cls: type[_T], items: Sequence[object]) -> tuple[_T, ...]:
    return tuple(from_data(cls, item) for item in items)


def _speeds(items: Sequence[Mapping[str, Any]]) -> tuple[BenchmarkResult, ...]:
    if not items:
        return ()
    # Most tests time nothing, and the module takes as long to load as all others of this folder.
    from pytest_trt.benchmark.result import BenchmarkResult

    return tuple(BenchmarkResult.from_dict(item) for item in items)
