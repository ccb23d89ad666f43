"""The fixtures. Each returns a small object and does no work before it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import ConfigurationError, PytestTrtError
from pytest_trt.plugin.names import FIXTURES
from pytest_trt.plugin.state import plan_of, run_of

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_trt.accuracy.reference import ReferenceSession
    from pytest_trt.engine.build import Engine
    from pytest_trt.engine.session import EngineFactory, Session, SharedEngineFactory
    from pytest_trt.plugin.benchmark import BenchmarkCheck
    from pytest_trt.plugin.models.subject import ModelUnderTest
    from pytest_trt.plugin.task_metrics import TaskMetrics

__all__ = list(FIXTURES)


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Turn a package error into a failure without a traceback, which is not the user's code."""
    __tracebackhide__ = True
    try:
        yield
    except PytestTrtError as error:
        from pytest_trt.plugin.results.failure import PluginFailure

        raise PluginFailure(error.diagnostic) from None


def _parameter(request: pytest.FixtureRequest, fixture: str) -> str | None:
    """Return what the test passes to a fixture by `parametrize(..., indirect=True)`, or None.

    Raises:
        ConfigurationError: It passes nothing, because it requests the fixture while it runs, and
            its markers ask for several values, of which it would run for one.
    """
    if hasattr(request, "param"):
        return str(request.param)
    plan = plan_of(request.node)
    values = plan.variants[fixture] if plan is not None else ()
    if len(values) > 1:
        raise ConfigurationError(
            f"{fixture} was requested while the test ran, too late to run the test once for each "
            f"of {', '.join(values)}",
            fix=f"add {fixture} to the arguments of the test, or of a fixture that it requests.",
            code="TRT154",
            facts={"fixture": fixture, "values": list(values)},
        )
    return None


@pytest.fixture
def trt_model_path(request: pytest.FixtureRequest) -> Path:
    """The ONNX file of the model under test, absolute; the test runs once per model."""
    from pytest_trt.plugin.models.subject import given_model
    from pytest_trt.plugin.planning.planner import PlanError
    from pytest_trt.plugin.results.failure import PluginFailure

    with _clear_errors():
        _parameter(request, "trt_model_path")
        try:
            return given_model(request)
        except PlanError as error:
            raise PluginFailure(*error.diagnostics) from None


@pytest.fixture
def _trt_subject(request: pytest.FixtureRequest, trt_model_path: Path) -> ModelUnderTest:
    """The model under test, shared by the other fixtures."""
    from pytest_trt.plugin.models.subject import ModelUnderTest

    with _clear_errors():
        return ModelUnderTest.of(request)


@pytest.fixture
def trt_arch(request: pytest.FixtureRequest) -> str:
    """The architecture under test, such as "sm86" or "cpu"; the test runs once per value."""
    with _clear_errors():
        return _parameter(request, "trt_arch") or run_of(request.config).selections[0].arch


@pytest.fixture
def trt_precision(request: pytest.FixtureRequest, _trt_subject: ModelUnderTest) -> str:
    """The precision under test, such as "fp16"; the test runs once per value."""
    with _clear_errors():
        return _parameter(request, "trt_precision") or _trt_subject.model_marker.precision[0]


@pytest.fixture
def trt_shape(request: pytest.FixtureRequest) -> str:
    """The point of the profile under test: "min", "opt" or "max"; the test runs once per value.

    With several profiles, the profile's number precedes it: "0-min", "1-max". `sweep="profile"`
    adds "low", "high", "pow2_minus" and "pow2_plus" between them.
    """
    with _clear_errors():
        return _parameter(request, "trt_shape") or "opt"


@pytest.fixture
def trt_inputs(
    _trt_subject: ModelUnderTest, trt_shape: str
) -> Mapping[str, npt.NDArray[np.generic]]:
    """Seeded inputs made from the model's own specs; override it to give real data.

    A test that uses it runs at the profile's min, opt and max. Floats are uniform in [0, 1),
    integers of at most 16 bits have all values of their type, and wider ones are 0 or 1. Indices of
    a table that the model stores, and categories that it encodes as one-hot rows, have all valid
    values, also floats that are cast to integers.
    `trt_model(input_ranges=...)` changes that. A note names inputs whose range is unknown and
    matters: indices that the model computes, columns of indices of different tables (TRT183),
    lengths, positions and time steps (TRT189). An override may use the `trt_shape` fixture to keep
    the three points.
    """
    with _clear_errors():
        return _trt_subject.test_inputs(trt_shape)


@pytest.fixture
def trt_calibration(
    _trt_subject: ModelUnderTest,
) -> Sequence[Mapping[str, npt.NDArray[np.generic]]]:
    """Inputs that int8 engines are calibrated on; override it to give real data.

    An override returns samples {input: array}: a list, a generator or a function that returns one,
    or the path of a file or folder; see docs/how-to/calibration.md.
    """
    with _clear_errors():
        return _trt_subject.seeded_samples()


@pytest.fixture
def trt_build(_trt_subject: ModelUnderTest, trt_arch: str, trt_precision: str) -> EngineFactory:
    """A factory of engines, for tests that need several.

    `trt_build(precision="int8")` returns a session whose `.engine` has the facts and whose
    `.run(inputs)` runs it. What is not given comes from the trt_model marker: precision, profiles,
    builder_options, keep_fp32.
    """

    def build(precision: str = trt_precision, **overrides: Any) -> Session:
        __tracebackhide__ = True
        with _clear_errors():
            unknown = overrides.keys() - {"profiles", "builder_options", "keep_fp32"}
            if unknown:
                raise ConfigurationError(
                    f"trt_build has no argument {', '.join(sorted(unknown))}",
                    fix="use precision=, profiles=, builder_options= and keep_fp32=.",
                )
            return _trt_subject.build(trt_arch, precision, overrides)

    return build


@pytest.fixture(scope="session")
def trt_engines(request: pytest.FixtureRequest) -> SharedEngineFactory:
    """A factory of engines for fixtures of any scope, whose tests share them.

    `trt_engines("models/model.onnx", precision="fp16")` returns a session. It takes what the
    trt_model marker takes, paths being relative to the file that calls it, and `arch` and
    `calibration`. A run is compared in the test during which it happens, if a trt_consistency
    marker is on that test.
    """

    def engines(model: str | Path | None = None, **given: Any) -> Session:
        __tracebackhide__ = True
        from pytest_trt.plugin.models.shared_engines import shared_session

        with _clear_errors():
            return shared_session(request, model, given)

    return engines


@pytest.fixture
def trt_engine(_trt_subject: ModelUnderTest, trt_arch: str, trt_precision: str) -> Engine:
    """The built engine: its spec, key, plan path, facts, and whether it was cached."""
    with _clear_errors():
        # Without a check of its outputs, so that an override of trt_reference may look at it.
        return _trt_subject.built(trt_arch, trt_precision, {})


@pytest.fixture
def trt_session(_trt_subject: ModelUnderTest, trt_arch: str, trt_build: EngineFactory) -> Session:
    """The loaded engine: `trt_session.run(inputs)` returns its outputs by name.

    Under a trt_consistency marker every run is compared with the FP32 reference. If the engine can
    be built but not run, the test is skipped with that reason.
    """
    # Before a build that nothing would run.
    _trt_subject.stop_if_lost(trt_arch)
    _trt_subject.run.begin_context(trt_arch)
    session = trt_build()
    if _trt_subject.run.settings.build_only:
        _trt_subject.opponents(session.engine)
    _trt_subject.skip_unless_runnable(session.engine)
    # A fixture for all tests of a class may request it for some of them.
    info = getattr(_trt_subject.item, "_fixtureinfo", None)
    session.used = info is None or "trt_session" not in info.argnames
    return session


@pytest.fixture
def trt_benchmark(_trt_subject: ModelUnderTest, trt_session: Session) -> BenchmarkCheck:
    """Measures the engine: call it once with the inputs, `trt_benchmark(inputs)`.

    The result is compared with the stored baseline and with the absolute limits of the test's
    trt_benchmark markers. If the engine can be built but not run, the test is skipped.
    """
    from pytest_trt.plugin.benchmark import BenchmarkCheck

    with _clear_errors():
        marker = _trt_subject.plan.benchmark
        if marker is None:  # requested by name while the test ran
            raise ConfigurationError(
                "the test requests the trt_benchmark fixture, but has no trt_benchmark marker: "
                "nothing would be checked",
                fix="mark the test: @pytest.mark.trt_benchmark (limits are optional).",
                code="TRT153",
            )
        return BenchmarkCheck(_trt_subject, trt_session, marker)


@pytest.fixture
def trt_reference(_trt_subject: ModelUnderTest) -> ReferenceSession:
    """The FP32 reference: ONNX Runtime on the CPU, graph optimisations off; `.run(inputs)`.

    Checks compare with it. An override returns a function of the inputs, an object with
    `run(inputs)`, golden outputs by name, or the path of a file of them:
    see docs/how-to/references.md.
    """
    with _clear_errors():
        return _trt_subject.reference()


@pytest.fixture
def trt_metrics(_trt_subject: ModelUnderTest, trt_session: Session) -> TaskMetrics:
    """Records metrics of a task, such as accuracy, which are compared with their baseline.

    `trt_metrics.record("accuracy", 0.981, of=2000, limit="0.5 points")`. A test that uses it and
    records nothing fails. If the engine can be built but not run, the test is skipped.
    """
    from pytest_trt.plugin.state import state_of
    from pytest_trt.plugin.task_metrics import TaskMetrics

    item = _trt_subject.item
    state = state_of(item)
    recorder = TaskMetrics(item, _trt_subject.run, _trt_subject.plan, trt_session.engine, state)
    state.metrics = recorder
    return recorder
