"""The fixtures. Each returns a small object and does no work before it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.errors import ConfigurationError, PytestTrtError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from pytest_trt.engine import Engine, EngineSpec
    from pytest_trt.model import OnnxModel, Tensors
    from pytest_trt.plugin.consistency import ConsistencyCheck
    from pytest_trt.plugin.markers import ModelMarker
    from pytest_trt.plugin.run import TrtRun
    from pytest_trt.plugin.sessions import EngineSession, ReferenceSession

SETTINGS_KEY = pytest.StashKey["Settings"]()
RUN_KEY = pytest.StashKey["TrtRun"]()
PROGRESS_KEY = pytest.StashKey["TerminalProgress"]()
TEST_KEY = pytest.StashKey["TestState"]()

#: Samples that int8 engines are calibrated on when a project gives none of its own.
_SEEDED_CALIBRATION_SAMPLES = 8

_SEEDED_CALIBRATION_REMARK = (
    "int8 was calibrated on seeded inputs, which say nothing of real data: override the "
    "trt_calibration fixture with some."
)


@dataclass
class TestState:
    """What one test has done so far.

    Attributes:
        engines: Engines that it asked for.
        check: Its consistency check, once there is one.
        remarks: What the reader of a failure should know of how it ran.
        skipped: Why the plugin skipped it.
    """

    __test__ = False

    engines: list[Engine] = field(default_factory=list)
    check: ConsistencyCheck | None = None
    remarks: list[str] = field(default_factory=list)
    skipped: str | None = None


def run_of(config: pytest.Config) -> TrtRun:
    """Return what the tests of this run share, made when it is first asked for."""
    run = config.stash.get(RUN_KEY, None)
    if run is None:
        from pytest_trt.plugin.run import TrtRun

        run = config.stash[RUN_KEY] = TrtRun(config.stash[SETTINGS_KEY])
    return run


def state_of(item: pytest.Item) -> TestState:
    """Return the state of a test, which begins with the first question for it."""
    return item.stash.setdefault(TEST_KEY, TestState())


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Let a package error fail the test with its text alone: its traceback is not the user's."""
    __tracebackhide__ = True
    try:
        yield
    except PytestTrtError as error:
        pytest.fail(str(error), pytrace=False)


@dataclass(frozen=True)
class _Subject:
    """The model under test, as one test's marker describes it."""

    request: pytest.FixtureRequest
    run: TrtRun
    marker: ModelMarker

    def model(self) -> OnnxModel:
        return self.load(self.marker.model)

    def load(self, path: Path) -> OnnxModel:
        progress = self.request.config.stash[PROGRESS_KEY]
        with progress.task(f"reading {path.name}") as say:
            return self.run.model(path, say)

    def spec(self, precision: str, **overrides: Any) -> EngineSpec:
        from pytest_trt.engine import EngineSpec
        from pytest_trt.model import parse_profiles

        profiles = overrides.get("profiles", self.marker.profiles)
        return EngineSpec(
            precision=precision,
            profiles=parse_profiles(profiles, self.model().inputs, where="trt_model"),
            builder_options=dict(overrides.get("builder_options", self.marker.builder_options)),
        )

    def seeded(self, point: str, seed_offset: int = 0) -> dict[str, npt.NDArray[np.generic]]:
        from pytest_trt.model import parse_profiles, seeded_inputs, shapes_at

        model = self.model()
        profiles = parse_profiles(self.marker.profiles, model.inputs, where="trt_model")
        index, _, name = point.rpartition("-")
        profile = profiles[int(index or 0)] if profiles else None
        return seeded_inputs(
            model,
            shapes_at(model.inputs, profile, name),  # type: ignore[arg-type]
            seed=self.marker.seed + seed_offset,
            ranges=self.marker.input_ranges,
        )


@pytest.fixture
def _trt_subject(request: pytest.FixtureRequest) -> _Subject:
    from pytest_trt.plugin.markers import read_model_marker

    with _clear_errors():
        marker = read_model_marker(request.node)
        if marker is None:
            raise ConfigurationError(
                f"{request.node.nodeid} uses pytest-trt's fixtures, but no trt_model marker names "
                "its model.",
                fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
            )
        return _Subject(request, run_of(request.config), marker)


@pytest.fixture
def trt_arch(request: pytest.FixtureRequest) -> str:
    """The architecture under test, such as "sm86" or "cpu"; several run the test for each."""
    with _clear_errors():
        return run_of(request.config).selections[0].arch


@pytest.fixture
def trt_precision(_trt_subject: _Subject) -> str:
    """The precision under test, such as "fp16"; several run the test for each."""
    return _trt_subject.marker.precision[0]


@pytest.fixture
def trt_shape() -> str:
    """The point of the profile under test: "min", "opt" or "max"; the test runs for each.

    With several profiles their number stands before it: "0-min", "1-max".
    """
    return "opt"


@pytest.fixture
def trt_inputs(_trt_subject: _Subject, trt_shape: str) -> Mapping[str, npt.NDArray[np.generic]]:
    """Seeded inputs made from the model's own specs; override it to give real data.

    A test that uses it runs at the profile's min, opt and max. Floats are uniform in [0, 1),
    integers 0 or 1 or valid indices of the table that they look up; `trt_model(input_ranges=...)`
    says otherwise. An override may take the `trt_shape` fixture to keep the three points.
    """
    with _clear_errors():
        return _trt_subject.seeded(trt_shape)


@pytest.fixture
def trt_calibration(
    request: pytest.FixtureRequest, _trt_subject: _Subject
) -> Sequence[Mapping[str, npt.NDArray[np.generic]]]:
    """Inputs that int8 engines are calibrated on; override it to give real data."""
    state_of(request.node).remarks.append(_SEEDED_CALIBRATION_REMARK)
    with _clear_errors():
        return [_trt_subject.seeded("opt", seed) for seed in range(_SEEDED_CALIBRATION_SAMPLES)]


@pytest.fixture
def trt_build(
    request: pytest.FixtureRequest,
    _trt_subject: _Subject,
    trt_arch: str,
    trt_precision: str,
) -> Callable[..., EngineSession]:
    """A factory of engines, for tests that need several.

    `trt_build(precision="int8")` returns a session whose `.engine` has the facts and whose
    `.run(inputs)` runs it. What is not given comes from the trt_model marker: precision, profiles,
    builder_options.
    """

    def build(precision: str = trt_precision, **overrides: Any) -> EngineSession:
        __tracebackhide__ = True
        with _clear_errors():
            unknown = overrides.keys() - {"profiles", "builder_options"}
            if unknown:
                raise ConfigurationError(
                    f"trt_build does not know {', '.join(sorted(unknown))}.",
                    fix="it takes precision, profiles and builder_options.",
                )
            return _build(request, _trt_subject, trt_arch, precision, overrides)

    return build


def _build(
    request: pytest.FixtureRequest,
    subject: _Subject,
    arch: str,
    precision: str,
    overrides: Mapping[str, Any],
) -> EngineSession:
    from pytest_trt.plugin.sessions import EngineSession

    run, state = subject.run, state_of(request.node)
    with request.config.stash[PROGRESS_KEY].task(f"{subject.marker.model.name} {precision}") as say:
        engine = run.engine(
            subject.model(),
            subject.spec(precision, **overrides),
            arch,
            calibration=lambda: request.getfixturevalue("trt_calibration"),
            progress=say,
        )
    state.engines.append(engine)
    state.check = state.check or _consistency_check(request, subject)

    def load(engine: Engine) -> Any:
        skip_unless_runnable(request.node, run, engine)
        return run.session(engine)

    return EngineSession(engine, load, state.check.observe if state.check else None)


def _consistency_check(
    request: pytest.FixtureRequest, subject: _Subject
) -> ConsistencyCheck | None:
    from pytest_trt.plugin.consistency import ConsistencyCheck
    from pytest_trt.plugin.markers import read_consistency_marker

    marker = read_consistency_marker(request.node)
    if marker is None:
        return None

    def reference(inputs: Tensors) -> Tensors:
        path = subject.marker.reference or subject.marker.model
        return subject.run.reference_outputs(subject.load(path), inputs)

    return ConsistencyCheck(marker, subject.run.settings.tolerances, reference)


def skip_unless_runnable(item: pytest.Item, run: TrtRun, engine: Engine) -> None:
    """Skip a test whose engine this machine can build but not run."""
    __tracebackhide__ = True
    if run.settings.build_only:
        reason = "--trt-build-only: built, not run"
    else:
        obstacle = run.backend(engine.target.arch).cannot_run(engine.target)
        if obstacle is None:
            return
        reason = f"built for {engine.target.arch}, not run: {obstacle}"
    state_of(item).skipped = reason
    pytest.skip(reason)


@pytest.fixture
def trt_engine(trt_build: Callable[..., EngineSession]) -> Engine:
    """The built engine: its spec, key, plan path, size, and whether it came out of the cache."""
    return trt_build().engine


@pytest.fixture
def trt_session(
    request: pytest.FixtureRequest,
    _trt_subject: _Subject,
    trt_build: Callable[..., EngineSession],
) -> EngineSession:
    """The loaded engine: `trt_session.run(inputs)` returns its outputs by name.

    Under a trt_consistency marker every run is compared with the FP32 reference. Where the engine
    can be built but not run, the test is skipped with that reason.
    """
    session = trt_build()
    skip_unless_runnable(request.node, _trt_subject.run, session.engine)
    return session


@pytest.fixture
def trt_reference(_trt_subject: _Subject) -> ReferenceSession:
    """The FP32 reference: ONNX Runtime on the CPU, graph optimisations off; `.run(inputs)`."""
    from pytest_trt.plugin.sessions import ReferenceSession

    with _clear_errors():
        path = _trt_subject.marker.reference or _trt_subject.marker.model
        return ReferenceSession(_trt_subject.load(path), _trt_subject.run.reference_outputs)
