"""What a report consists of, as types: the JSON schema of reports is made from them.

Units are suffixes of names. Figures that JSON cannot hold are text: "nan", "inf", "-inf".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from pytest_trt.accuracy.result import Against, Element, InvariantOutcome, Kind, MetricOutcome
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.baseline.entry import check_rounds
from pytest_trt.benchmark.result import MetricChange
from pytest_trt.diagnostics import Diagnostic
from pytest_trt.engine.record import EngineRecord
from pytest_trt.records import RecordError
from pytest_trt.report.groups import Group
from pytest_trt.selftest.proof import Proof
from pytest_trt.statistics.absolute import AbsoluteLimitResult
from pytest_trt.statistics.decline import TaskMetricResult
from pytest_trt.statistics.faster import SpeedupResult
from pytest_trt.statistics.structure import StructuralLimitResult
from pytest_trt.terms import Metric, Mode, Verdict

#: History of the format:
#:   1  first version
#:   2  diagnostics, notes and groups instead of causes and remarks; results of checks as data
#: Increment it when a reader of an older format would misread a newer one; a new field alone is
#: not a new format.
REPORT_SCHEMA = 2


class Status(str, Enum):
    """The status of a test, or of one engine in it. Passed, failed and xfailed are verdicts.

    - passed: every check was made and passed.
    - failed: pytest counts it as failed: a check failed or was never made, or the test failed by
      itself.
    - xfailed: it failed as expected, after one of its checks, if it has any, judged something.
    - error: its setup or teardown failed, such as the build of an engine.
    - inconclusive: speed was measured, and the data neither show a regression nor rule one out.
    - not measured: a check had nothing to compare with, and pytest does not count that as failed.
    - skipped: by the test, or because its engine cannot run on this machine.
    - deselected: by -k, -m, --deselect or a hook.
    - not run: the run ended before it.
    """

    PASSED = "passed"
    FAILED = "failed"
    XFAILED = "xfailed"
    ERROR = "error"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"
    SKIPPED = "skipped"
    DESELECTED = "deselected"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that engines ran on.

    Attributes:
        name: Its name.
        driver: Version of the driver.
        sm_count: Number of streaming multiprocessors.
        memory_bytes: Device memory.
        mig: Whether it is a MIG slice.
    """

    name: str
    driver: str
    sm_count: int
    memory_bytes: int
    mig: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One architecture under test, and the toolchain used for it.

    Attributes:
        arch: The architecture.
        target: The architecture with the device.
        device: What engines depend on beyond the architecture, by label.
        backend: "tensorrt", "tensorrt_rtx" or "onnxruntime".
        toolchain: The backend with its version.
        toolchain_versions: Versions by component.
        why: Why this architecture and backend are tested.
        gpu: The GPU; null where none was used.
        measured_on: What speed depends on, by label: the architecture, the device, and without a
            GPU the host's CPU. Speed of another machine is another quantity.
    """

    arch: str
    target: str
    device: Mapping[str, str]
    backend: str
    toolchain: str
    toolchain_versions: Mapping[str, str]
    why: str
    gpu: Gpu | None
    measured_on: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of pytest.

    Attributes:
        id: Unique to the run.
        started: When it started, ISO 8601 in UTC.
        started_s: When it started, in seconds since 1970.
        duration_s: Seconds that it took.
        exit_status: pytest's exit status.
        interrupted: Whether it ended before every test had run.
        stopped: Why it was interrupted, where pytest reports that.
        commit: The commit that was checked out; null where that is unknown.
        platform: The operating system.
        versions: Versions of the plugin, Python and relevant packages.
        options: The plugin's options that were given, by their names in ini files.
        machine_facts: What hooks added, see `pytest_trt_machine_facts`.
        targets: What was tested, and with what.
        collection_errors: Files that could not be collected, and why: no report has their tests.
        counts: Number of tests by status.
        diagnostics: What concerns no single test, such as baselines of models that no longer exist.
        collection_reasons: Why files could not be collected, in one line each.
        skipped_files: Files that were skipped as a whole, and why: no report has their tests.
        skipped_model_files: Of them, those that name a marker or fixture of the plugin.
    """

    id: str
    started: str
    started_s: float
    duration_s: float
    exit_status: int
    interrupted: bool
    stopped: str
    commit: str | None
    platform: str
    versions: Mapping[str, str]
    options: Mapping[str, str]
    machine_facts: Mapping[str, str]
    targets: tuple[Target, ...]
    collection_errors: Mapping[str, str]
    counts: Mapping[str, int]
    diagnostics: tuple[Diagnostic, ...] = ()
    collection_reasons: Mapping[str, str] = field(default_factory=dict)
    skipped_files: Mapping[str, str] = field(default_factory=dict)
    skipped_model_files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputFinding:
    """Why an output, or the set of outputs, fails.

    Attributes:
        kind: What is wrong.
        text: The finding in one sentence.
    """

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """One output over all runs of the test; single elements are those of the worst run.

    Attributes:
        name: The output's name.
        dtype: Its element type.
        shape: Its shape.
        tolerance: What was allowed.
        used: The largest share of the tolerance that an element used: 1 is exactly at the limit;
            infinite where elements fail without a difference, such as NaN.
        worst_abs: Where |actual - reference| is largest; null where no element differs.
        worst_rel: Where |actual - reference| / |reference| is largest.
        worst_used: Where the largest share of the tolerance was used.
        compared: Elements whose difference was measured.
        mismatched: Elements that differ by more than allowed.
        needed_atol: Smallest atol that would have passed at this rtol.
        needed_rtol: Smallest rtol that would have passed at this atol.
        cosine: Smallest cosine similarity of a row; null where the tolerance does not ask for it.
        top1: Share of rows whose largest element is the reference's.
        topk: Mean share of the k largest elements that are the reference's.
        nonfinite: Positions where either side is NaN or infinite.
        nonfinite_disagreeing: Those of them where the two sides differ in kind.
        histogram: How many elements used which share of the tolerance: without error, then one
            count for each upper end of 2^-10, 2^-9, ... 2^10, then beyond. Null where nothing was
            compared by value.
        findings: Why the output fails, one of each kind.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    tolerance: Tolerance
    used: float
    worst_abs: Element | None
    worst_rel: Element | None
    worst_used: Element | None
    compared: int
    mismatched: int
    needed_atol: float
    needed_rtol: float
    cosine: float | None
    top1: float | None
    topk: float | None
    nonfinite: int
    nonfinite_disagreeing: int
    histogram: tuple[int, ...] | None
    findings: tuple[OutputFinding, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """Outputs of one engine against the FP32 reference, or stored answers.

    Attributes:
        verdict: What the check concluded.
        against: What they were compared with: the FP32 outputs of the "model", or "stored" answers.
        runs: Calls of trt_session.run that were compared.
        failed_runs: Those of them that failed.
        used: The largest share of its tolerance that an output used; null where nothing was
            compared by value.
        worst_output: The output that used it.
        outputs: Every output.
        findings: What is wrong with the set of outputs: missing, extra, renamed, swapped.
        metrics: Metrics of whole outputs, each at its worst run.
        invariants: What has to hold whatever the reference is, as far as the test requires it.
    """

    verdict: Verdict
    against: Against
    runs: int
    failed_runs: int
    used: float | None
    worst_output: str | None
    outputs: tuple[Output, ...]
    findings: tuple[OutputFinding, ...]
    metrics: tuple[MetricOutcome, ...] = ()
    invariants: tuple[InvariantOutcome, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Speed of one engine against a stored baseline and absolute limits.

    Attributes:
        verdict: What the check concluded.
        mode: How calls were timed: "graph", "enqueue" or "end_to_end".
        batch: Items of one call.
        calls: Calls in each round; 0 where nothing was measured.
        rounds: Rounds of the candidate.
        candidate: Medians over rounds, by name: p50_ms, p95_ms, p99_ms, throughput_qps.
        baseline: The same for what it was compared with; empty without a comparison.
        candidate_rounds: A figure for each round in the order of measurement, by metric: p50, p95
            and p99 in milliseconds, throughput per second; 5 significant digits.
        baseline_rounds: The same for the baseline: its stored rounds, or those of the interleaved
            A/B run.
        leading: The metric that a reader should see first; null without changes.
        changes: Result of each relative limit.
        unlimited: Changes of metrics without a relative limit, where they were measured.
        limits: Result of each absolute limit.
        speedups: Result of each opponent of `faster_than`.
        limited: Metrics with a relative limit, also where there was no baseline yet.
        spec: What was measured, by label: model, precision, shapes, options; long values are
            shortened. Speed of another spec is another quantity.
        structure: Result of each limit on the engine itself.
        layer_changes: How layers differ from the baseline engine's, one line each, the most
            important first; only where a limit was exceeded.
        baseline_file: The baseline file, relative to pytest's root directory if it is below.
        baseline_recorded: When the newest stored run was recorded; empty without one.
        baseline_update: What this run stored: "first", "added", "replaced", "calibrated",
            "not recorded", or empty.
        baseline_reason: Why the newest stored run was accepted; empty for no reason.
        differences: What differs between the baseline's run and this one, one line each.
        why: Why there is no comparison; empty where there is one.
    """

    verdict: Verdict
    mode: Mode
    batch: int
    calls: int
    rounds: int
    candidate: Mapping[str, float]
    baseline: Mapping[str, float]
    candidate_rounds: Mapping[str, tuple[float, ...]]
    baseline_rounds: Mapping[str, tuple[float, ...]]
    leading: Metric | None
    changes: tuple[MetricChange, ...]
    unlimited: tuple[MetricChange, ...]
    limits: tuple[AbsoluteLimitResult, ...]
    structure: tuple[StructuralLimitResult, ...]
    layer_changes: tuple[str, ...]
    baseline_file: str
    baseline_recorded: str
    baseline_update: str
    differences: tuple[str, ...]
    why: str
    baseline_reason: str = ""
    speedups: tuple[SpeedupResult, ...] = ()
    limited: tuple[Metric, ...] = ()
    spec: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_rounds(self.candidate_rounds, "candidate_rounds")
        check_rounds(self.baseline_rounds, "baseline_rounds")
        if self.candidate_rounds and self.calls < 1:
            raise RecordError(f"expected 1 or more, found {self.calls}", "calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptedErrors:
    """Errors of an engine that were stored with the answers of its test.

    Attributes:
        reason: Why they were accepted; empty for no reason.
        errors: The largest absolute error by output.
    """

    reason: str
    errors: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One engine in one test.

    Attributes:
        engine: The engine's key, see `engines`.
        model: File name of the model.
        precision: The requested precision.
        arch: The architecture that it was built for.
        status: The status of this engine.
        cached: Whether it came from the cache.
        build_s: Seconds that its build took, in this run or when it was cached; null for a finished
            plan.
        why_built: How it differs from the closest cached engine; empty where it was cached, or is
            the first of its model, precision and architecture.
        accuracy: The worst of the comparisons of its outputs; null where no check asked for one.
        speed: Null where no check asked for it.
        task_metrics: What the test recorded with trt_metrics.
        also: The other comparisons: outputs are compared with the model's reference, with stored
            answers, or with both. Null in reports of older versions, which left them out.
        accepted: What is stored of its errors; null where nothing is.
    """

    engine: str
    model: str
    precision: str
    arch: str
    status: Status
    cached: bool
    build_s: float | None
    why_built: str
    accuracy: Accuracy | None
    speed: Speed | None
    task_metrics: tuple[TaskMetricResult, ...] = ()
    also: tuple[Accuracy, ...] | None = None
    accepted: AcceptedErrors | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One test of one run.

    Attributes:
        id: pytest's node id.
        test: The node id without the architecture: the same in runs on several machines.
        run: Position of its run in `runs`, from 0.
        file: Its file, relative to pytest's root directory.
        line: Its first line; 0 where that is unknown.
        model: The model's file, relative to pytest's root directory if it is below.
        precision: The precision under test.
        arch: The architecture under test.
        checks: The checks that its markers ask for, and "metrics" where it uses `trt_metrics`.
        on_engine: Whether it needs an engine; required verdicts are about those that do.
        status: Its status.
        outcome: pytest's outcome; null where the test did not end.
        reason: Why it has this status, in one line; may be empty.
        duration_s: Seconds of setup, call and teardown.
        failure: Why it failed, as text; of a long one the beginning and the end.
        diagnostics: Why it failed, as data; empty for failures that are not the plugin's.
        notes: What else a reader of its result has to know.
        repeat: The command that repeats this test, from pytest's root directory.
        selftest: What --trt-selftest injected, and how the checks responded.
        results: A row for each engine that it asked for.
        imported_from: The tool whose files it was imported from, as evidence that nothing judged;
            empty for a test.
        judged: Whether its status is a verdict on the engine. A test also fails where a check had
            nothing to compare with or was never made.
        compared_with: What its markers compare outputs with: the "model", "stored" answers, and
            the stored size of the error ("drift"). Null in reports of older versions.
        drift: By what factor an error may exceed the stored one; null without such a limit.
    """

    __test__ = False  # not a test class, whatever its name says

    id: str
    test: str
    run: int
    file: str
    line: int
    model: str
    precision: str
    arch: str
    checks: tuple[str, ...]
    on_engine: bool
    status: Status
    outcome: Literal["passed", "failed", "skipped"] | None
    reason: str
    duration_s: float
    failure: str
    diagnostics: tuple[Diagnostic, ...]
    notes: tuple[Diagnostic, ...]
    repeat: str
    selftest: tuple[Proof, ...]
    results: tuple[Result, ...]
    imported_from: str = ""
    judged: bool = True
    compared_with: tuple[str, ...] | None = None
    drift: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """A required verdict that is missing.

    Attributes:
        test: The test.
        arch: The architecture.
        status: The test's status there; null where it was never collected for it.
        reason: Why it has this status.
        built_only: Whether its engine was built on a machine that cannot run it.
    """

    test: str
    arch: str
    status: Status | None
    reason: str
    built_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Verdicts that --trt-require-arch or merge --require-arch require.

    Attributes:
        required: Architectures on which every test must have a verdict.
        tests: Number of tests that this concerns.
        missing: Verdicts that are missing.
        diagnostic: What to do about them; null where none is missing.
        uncollected: Files that could not be collected, whose tests are not counted.
        option: The option that requires them.
    """

    required: tuple[str, ...]
    tests: int
    missing: tuple[Missing, ...]
    diagnostic: Diagnostic | None
    uncollected: tuple[str, ...] = ()
    option: str = "--trt-require-arch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What `pytest --trt-report=report.json` and `pytest-trt report merge` write.

    Units are suffixes of names. JSON has no NaN and no infinities: a figure may be "nan", "inf" or
    "-inf". Readers ignore fields that they do not know; an incompatible format has another number.

    Attributes:
        schema: Number of the format.
        written_by: pytest-trt and its version.
        runs: The run, or all runs that were merged.
        engines: Engines by key, as the first test that asked for one found it.
        tests: Every collected test with a model.
        groups: Why tests failed, each reason once.
        coverage: Required verdicts; null where none are required.
    """

    schema: int
    written_by: str
    runs: tuple[Run, ...]
    engines: Mapping[str, EngineRecord]
    tests: tuple[Test, ...]
    groups: tuple[Group, ...]
    coverage: Coverage | None

    def __post_init__(self) -> None:
        for index, run in enumerate(self.runs):
            if "pytest-trt" not in run.versions:
                raise RecordError("missing", "runs", index, "versions", "pytest-trt")
        for index, test in enumerate(self.tests):
            _check_position(test.run, self.runs, "tests", index, "run")
            for number, result in enumerate(test.results):
                if result.engine not in self.engines:
                    problem = "expected the key of an engine of the report"
                    raise RecordError(problem, "tests", index, "results", number, "engine")
        for index, group in enumerate(self.groups):
            for number, place in enumerate(group.tests):
                _check_position(place, self.tests, "groups", index, "tests", number)


def _check_position(place: int, of: Sequence[object], *path: str | int) -> None:
    if not 0 <= place < len(of):
        raise RecordError(f"expected a position below {len(of)}, found {place}", *path)
