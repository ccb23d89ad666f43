"""Records: what one test found, as plain data that rides on pytest's reports.

A record is made where the test ran (in an xdist worker, perhaps) and read where results are shown,
so it holds nothing but what JSON can hold. Renderers know records and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

from pytest_trt.diagnostics import Diagnostic

if TYPE_CHECKING:
    from pytest_trt.benchmark.result import BenchmarkResult


@dataclass(frozen=True, slots=True)
class EngineRecord:
    """An engine that a test asked for. Its layers one by one are in the cache, under its key.

    Attributes:
        model: File name of the model.
        precision: The precision that was asked for.
        arch: What it was built for.
        target: The same with the device, for people.
        toolchain: What built it, with its version.
        route: How its precision was reached.
        key: Digest of its key.
        cached: Whether it came out of the cache.
        build_s: Seconds that its build took, then or now.
        size_bytes: Size of the plan.
        reason: Why it was built.
        runs_here: Whether this machine can run it.
        notes: What the build had to say.
        warnings: What went wrong and was mended.
        threads: Threads of one inference; 0 leaves them to the backend.
        device_memory_bytes: Scratch memory of one execution context.
        layers: How many layers it has.
        layers_pct: Shares of its layers by precision ("half", "int8", "float").
        weights_pct: Shares of its weights by precision.
        load_s: Seconds that loading it took, where it was loaded.
        first_inference_s: Seconds of its first inference, where it ran.
        model_digest: Digest of the model with its external data.
        layer_rows: Its layers, see `layer_rows`; none unless reports are written.
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

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-simple data."""
        lists = ("notes", "warnings", "layer_rows")
        return {**asdict(self), **{name: list(getattr(self, name)) for name in lists}}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EngineRecord:
        """Return the record that `to_dict` made this data of."""
        tuples = {name: tuple(data[name]) for name in ("notes", "warnings")}
        rows = tuple(tuple(row) for row in data["layer_rows"])
        return cls(**{**data, **tuples, "layer_rows": rows})


@dataclass(frozen=True, slots=True)
class ConsistencyRecord:
    """What one `trt_consistency` check found for one engine.

    Attributes:
        model: File name of the model.
        precision: The engine's precision.
        arch: What the engine was built for.
        verdict: The verdict's text, see `Verdict`.
        runs: Calls of `run` that were compared.
        worst_output: The output that used most of its tolerance.
        used: The share of its tolerance that it used: 1.0 is all of it. None where nothing was
            compared by value.
        tolerance: The tolerance of that output, for people.
        comparisons: Every comparison in full, see `Comparison.to_dict`.
        key: Digest of the engine's key.
    """

    model: str
    precision: str
    arch: str
    verdict: str
    runs: int
    worst_output: str | None
    used: float | None
    tolerance: str
    comparisons: tuple[dict[str, Any], ...] = ()
    key: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-simple data."""
        data = {field.name: getattr(self, field.name) for field in fields(self)}
        # Infinity is no JSON.
        used = "inf" if self.used == float("inf") else self.used
        return {**data, "used": used, "comparisons": list(self.comparisons)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ConsistencyRecord:
        """Return the record that `to_dict` made this data of."""
        used = None if data["used"] is None else float(data["used"])
        return cls(**{**data, "used": used, "comparisons": tuple(data["comparisons"])})


@dataclass(frozen=True, slots=True)
class TestRecord:
    """All that one phase of one test found.

    Attributes:
        engines: Engines that it asked for.
        unbuilt: Model, architecture and precision of those that it did not get.
        diagnostics: Why it failed, where the plugin knows; the worst first.
        notes: What else a reader of its result has to know.
        checks: Consistency checks that it made.
        speeds: Benchmarks that it made.
        skipped: Why the plugin skipped it, if it did.
        remarks: The notes that are still text.
        failed_by_checks: Whether it failed because a check did not pass, and for no other reason.
        proofs: What --trt-selftest planted, and what the checks made of it.
    """

    __test__ = False  # the name is no test class

    engines: tuple[EngineRecord, ...] = ()
    checks: tuple[ConsistencyRecord, ...] = ()
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
        return {
            "unbuilt": [list(one) for one in self.unbuilt],
            "engines": [engine.to_dict() for engine in self.engines],
            "checks": [check.to_dict() for check in self.checks],
            "speeds": [speed.to_dict() for speed in self.speeds],
            "skipped": self.skipped,
            "remarks": list(self.remarks),
            "failed_by_checks": self.failed_by_checks,
            "proofs": list(self.proofs),
            "diagnostics": [one.to_dict() for one in self.diagnostics],
            "notes": [one.to_dict() for one in self.notes],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> TestRecord:
        """Return the record that `to_dict` made this data of."""
        return cls(
            engines=_all(EngineRecord, data["engines"]),
            checks=_all(ConsistencyRecord, data["checks"]),
            speeds=_speeds(data["speeds"]),
            skipped=data["skipped"],
            remarks=tuple(data["remarks"]),
            failed_by_checks=data["failed_by_checks"],
            proofs=tuple(data["proofs"]),
            unbuilt=tuple((str(m), str(a), str(p)) for m, a, p in data["unbuilt"]),
            diagnostics=_all(Diagnostic, data["diagnostics"]),
            notes=_all(Diagnostic, data["notes"]),
        )


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test's outcome beside what the plugin recorded of it.

    Attributes:
        nodeid: The test.
        outcome: "passed", "failed", "error", "skipped", "xfailed" or "xpassed", as pytest says.
        record: What the plugin found.
    """

    __test__ = False

    nodeid: str
    outcome: str
    record: TestRecord


def _all(cls: Any, items: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    return tuple(cls.from_dict(item) for item in items)


def _speeds(items: Sequence[Mapping[str, Any]]) -> tuple[BenchmarkResult, ...]:
    if not items:
        return ()
    # Most tests time nothing, and the module takes as long to load as all others of this folder.
    from pytest_trt.benchmark.result import BenchmarkResult

    return _all(BenchmarkResult, items)
