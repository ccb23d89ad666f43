"""The benchmark of one test: called once with the inputs, judged when the test is over."""

from __future__ import annotations

import pytest

from pytest_trt.benchmark.measurement import Measurement
from pytest_trt.benchmark.result import BenchmarkResult
from pytest_trt.benchmark.sampling import batch_of
from pytest_trt.benchmark.sessions import mode_for
from pytest_trt.diagnostics import ConfigurationError, Diagnostic, PytestTrtError, Remedy
from pytest_trt.engine.session import Session
from pytest_trt.plugin.markers import BenchmarkMarker
from pytest_trt.plugin.pytest_benchmark import DISABLED, is_disabled
from pytest_trt.plugin.state import CHECKS_KEY, plan_of, progress_of, state_of
from pytest_trt.plugin.subject import ModelUnderTest, refuse_late_use
from pytest_trt.report.speed_failure import explain_speed
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Verdict

NOTHING_MEASURED = Diagnostic(
    "TRT160",
    "trt_benchmark measured nothing: the test never called it, so it cannot fail",
    {"check": "trt_benchmark"},
    remedy=Remedy(
        "call the trt_benchmark fixture (`trt_benchmark(inputs)`) or pytest-benchmark's "
        "(`benchmark(function)`), or remove the marker."
    ),
)


class SpeedCheck:
    """What the benchmark of a test found.

    Attributes:
        record: What was found; None where nothing was measured.
    """

    def __init__(self) -> None:
        self.record: BenchmarkResult | None = None

    @property
    def has_failed(self) -> bool:
        """Whether something was measured that does not pass."""
        return self.record is not None and self.record.fails

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return why the test fails; nothing when it passes."""
        if self.record is None:
            return (NOTHING_MEASURED,)
        if not self.record.fails:
            return ()
        headline, *details = explain_speed(self.record).split("\n")
        fix = details.pop().removeprefix("Fix: ")
        facts = {name: getattr(self.record, name) for name in ("model", "precision", "arch")}
        lines = tuple(line[2:] for line in details)
        return (Diagnostic("TRT500", headline, facts, lines, Remedy(fix)),)


class BenchmarkCheck(SpeedCheck):
    """What `trt_benchmark` is in a test: call it once with the inputs.

    Args:
        subject: The model under test.
        session: Its engine.
        marker: What the test's markers say.
    """

    def __init__(self, subject: ModelUnderTest, session: Session, marker: BenchmarkMarker) -> None:
        super().__init__()
        self._subject, self._session, self._marker = subject, session, marker
        self._called = False

    def __call__(self, inputs: Tensors) -> None:
        """Measure the engine on these inputs, and hold what is found against baseline and limits.

        The verdict is told when the test is over.

        Args:
            inputs: Every input of the model by name, as numpy arrays in the model's dtypes.

        Raises:
            ConfigurationError: It was called before in this test.
            InputError: The inputs do not fit the model or its profiles.
            EngineRunError: The engine failed.
            BaselineError: The baseline file cannot be read.
        """
        __tracebackhide__ = True
        try:
            refuse_late_use(state_of(self._subject.request.node), "trt_benchmark")
            if self._called:
                raise ConfigurationError(
                    "trt_benchmark was called twice in one test, and a test has one baseline.",
                    fix="write a test for each call, or parametrise this one.",
                )
            self._called = True
            self._session.check(inputs)
            engine, request = self._session.engine, self._subject.request
            title = f"timing {request.node.name}"
            if is_disabled(request.config):
                self.record = self._unmeasured(inputs)
                return
            with progress_of(request.config).quiet_task(title) as say:
                checks = checks_of(request.session)
                measurement = Measurement(self._subject, engine, self._marker, checks, say)
                with self._subject.loaded(engine) as session:
                    self.record = measurement.of(session, inputs)
        except PytestTrtError as error:
            raise error.with_traceback(None) from None

    def _unmeasured(self, inputs: Tensors) -> BenchmarkResult:
        """Run the engine once, and return the record of a test whose speed nobody wants to know."""
        engine, item = self._session.engine, self._subject.request.node
        with self._subject.loaded(engine) as session:
            session.run(inputs)
            mode = mode_for(session, self._marker.mode)
        record = BenchmarkResult(
            test=item.nodeid,
            model=engine.model.path.name,
            precision=engine.spec.precision,
            arch=engine.target.arch,
            toolchain=str(engine.toolchain),
            verdict=Verdict.NOT_MEASURED.value,
            fails=False,
            mode=mode,
            batch=self._marker.batch or batch_of(engine.model.inputs, inputs),
            why=f"speed is not measured: {DISABLED}",
        )
        state_of(item).remark(f"{record.subject}: {record.why}")
        return record


def checks_of(session: pytest.Session) -> int:
    """Return how many limits the tests of a run have in all; counted once.

    Under xdist every worker collects all tests, so all of them count the same.
    """
    known = session.config.stash.get(CHECKS_KEY, None)
    if known is None:
        known = session.config.stash[CHECKS_KEY] = sum(map(_limits_of, session.items))
    return known


def _limits_of(item: pytest.Item) -> int:
    plan = plan_of(item)
    if plan is None or plan.benchmark is None:
        return 0
    return plan.limits(plan.precision).measured
