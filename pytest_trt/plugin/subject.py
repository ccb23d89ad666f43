"""The model under test, as one test's markers describe it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt
import pytest

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.accuracy.other_reference import OtherReference
from pytest_trt.accuracy.reference import ReferenceSession
from pytest_trt.accuracy.subject import CalibratedBy
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import (
    ConfigurationError,
    Diagnostic,
    PytestTrtError,
    Remedy,
    UnsupportedError,
)
from pytest_trt.engine.build import Engine
from pytest_trt.engine.builder_options import has_all
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.engine.session import Observer, Session
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.plugin.failure import CheckFailure, PluginFailure
from pytest_trt.plugin.markers import ModelMarker
from pytest_trt.plugin.pinning import pin_baselines
from pytest_trt.plugin.plan import TestPlan
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import (
    TestState,
    plan_of,
    progress_of,
    run_of,
    state_of,
)
from pytest_trt.report.record import below
from pytest_trt.tensors.checks import check_calibration
from pytest_trt.tensors.profile_choice import shapes_at, values_at
from pytest_trt.tensors.profiles import Profile, needs_profile, parse_profiles
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors
from pytest_trt.tensors.value_ranges import Point
from pytest_trt.terms import CPU

#: Larger models are not loaded again for a line of advice.
_TRIED_BYTES = 200_000_000


@dataclass(frozen=True)
class ModelUnderTest:
    """What a test's fixtures work on.

    Attributes:
        request: The test's own request.
        run: What all tests of the run share.
        plan: What the test checks.
        model_marker: The model of the plan.
    """

    request: pytest.FixtureRequest
    run: TrtRun
    plan: TestPlan
    model_marker: ModelMarker

    @classmethod
    def of(cls, request: pytest.FixtureRequest) -> ModelUnderTest:
        """Return the subject of the test that makes this request.

        Raises:
            ConfigurationError: No marker names a model.
        """
        plan = plan_of(request.node)
        if plan is None or plan.model is None:
            raise ConfigurationError(
                f"{request.node.nodeid} uses pytest-trt's fixtures, but no trt_model marker names "
                "its model",
                fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
                code="TRT151",
                facts={"marker": ModelMarker.NAME},
            )
        return cls(request, run_of(request.config), plan, plan.model)

    @property
    def model(self) -> OnnxModel:
        """The model under test."""
        return self._read(self.model_marker.model)

    @property
    def reference_model(self) -> OnnxModel:
        """The model that computes the reference: the model itself, or the marker's reference."""
        return self._read(self.model_marker.reference or self.model_marker.model)

    def reference(self) -> ReferenceSession:
        """Return the FP32 reference as a session."""
        return ReferenceSession(self.reference_model, self.run.reference_outputs)

    def seeded(self, point: str, *, sample: int = 0) -> dict[str, npt.NDArray[np.generic]]:
        """Return seeded inputs.

        Args:
            point: "min", "opt" or "max", with the profile's number before it if there are several.
            sample: Each number gives different values, except those that the profile fixes.
        """
        profiles = self.plan.profiles
        index, _, name = point.rpartition("-")
        # Without a number it is the first profile's.
        if index not in ["", *map(str, range(len(profiles)))] or name not in ("min", "opt", "max"):
            numbered = ", with the profile's number before it, as 0-min" * (len(profiles) > 1)
            raise ConfigurationError(
                f"trt_shape {point!r} is not a point of the profile of "
                f"{self.model_marker.model.name}",
                fix=f"use min, opt or max{numbered}.",
            )
        profile = profiles[int(index or 0)] if profiles else None
        return seeded_inputs(
            self.model,
            shapes_at(self.model.inputs, profile, cast(Point, name)),
            seed=self.model_marker.seed + sample,
            ranges=self.model_marker.input_ranges,
            values=values_at(profile, cast(Point, name)),
        )

    def build(self, arch: str, precision: str, overrides: Mapping[str, Any]) -> Session:
        """Build an engine, or take it from the cache, and return a session that loads it on use."""
        marker, state = self.model_marker, state_of(self.request.node)
        spec = EngineSpec(
            precision=precision,
            profiles=self._profiles(overrides),
            builder_options=dict(
                overrides.get(
                    "builder_options", marker.options(self.run.backend(arch).name, precision)
                )
            ),
        )
        pin_baselines(self.request.session)
        try:
            with self._task(f"{marker.model.name} {precision}") as say:
                engine = self.run.engine(
                    self.model,
                    spec,
                    arch,
                    calibration=self._calibration,
                    progress=say,
                )
        except PytestTrtError as error:
            path = below(marker.model, self.request.config.rootpath)
            state.unbuilt.append((path, arch, precision))
            given = overrides or precision != self.plan.precision
            if isinstance(error, UnsupportedError) and not given and self._others(arch, error):
                self._skip(error.message)
            raise
        state.engines.append(engine)
        self._note_on(engine)
        state.check = state.check or self._consistency_check()
        return Session(engine, self.loaded, self._observer(state))

    def _others(self, arch: str, error: UnsupportedError) -> bool:
        """Whether the marker names other precisions that are not missing here as well."""
        marker, backend = self.model_marker, self.run.backend(arch).name
        option = error.diagnostic.facts.get("option")
        of_precision = error.diagnostic.facts.get("precision") is not None
        return any(
            has_all(backend, other, options) and (of_precision or option not in options)
            for other in marker.precision
            if other != self.plan.precision
            for options in [marker.options(backend, other)]
        )

    def _skip(self, reason: str) -> NoReturn:
        __tracebackhide__ = True
        state_of(self.request.node).skipped = reason
        pytest.skip(reason)

    def _observer(self, state: TestState) -> Observer | None:
        if state.check is None:
            return None
        observe: Observer = state.check.observe
        if self.run.settings.selftest:
            from pytest_trt.plugin.selftest import observing

            observe = observing(state.check, state.proofs)

        def observe_in_time(*seen: Any) -> None:
            __tracebackhide__ = True
            refuse_late_use(state, "trt_session.run")
            observe(*seen)
            # The test may have ended meanwhile: computing the reference can take long.
            refuse_late_use(state, "trt_session.run")

        return observe_in_time

    def _note_on(self, engine: Engine) -> None:
        """Note what passes here and fails elsewhere."""
        unbound = [spec.name for spec in engine.model.inputs if needs_profile(spec)]
        if unbound and not engine.spec.profiles:
            name = engine.model.path.name
            state_of(self.request.node).note(
                Diagnostic(
                    "TRT171",
                    f"{name} has dynamic inputs ({', '.join(unbound)}) and no profiles=: ONNX "
                    "Runtime does not need them, but TensorRT cannot build the model without them",
                    {"model": name, "inputs": unbound},
                    remedy=Remedy("give trt_model profiles= for these inputs."),
                    severity="note",
                )
            )

    def skip_unless_runnable(self, engine: Engine) -> None:
        """Skip a test whose engine this machine can build but not run."""
        __tracebackhide__ = True
        self.stop_if_lost(engine.target.arch)
        if self.run.settings.build_only:
            reason = "--trt-build-only: engine built, not run"
        else:
            obstacle = self.run.backend(engine.target.arch).cannot_run(engine.target)
            if obstacle is None:
                return
            reason = f"engine built for {engine.target.arch}, not run: {obstacle}"
        self._skip(reason)

    @contextmanager
    def loaded(self, engine: Engine) -> Iterator[BackendSession]:
        """Provide a loaded engine; a GPU that is lost meanwhile is recorded with this test."""
        __tracebackhide__ = True
        self.skip_unless_runnable(engine)
        with self.run.lost_device.watching(self.request.node.nodeid):
            yield self.run.session(engine)

    def _calibration(self) -> Sequence[Tensors]:
        samples = self.request.getfixturevalue("trt_calibration")
        if isinstance(samples, Iterator):
            samples = list(samples)
        check_calibration(self.model.inputs, samples)
        return cast("Sequence[Tensors]", samples)

    def stop_if_lost(self, arch: str) -> None:
        """Skip a test that cannot run because the GPU is lost, or fail it if no other test has.

        The test that lost it fails again when it is repeated.
        """
        __tracebackhide__ = True
        loss = self.run.lost_device.loss
        if loss is None or arch == CPU:
            return
        if loss.reported and loss.test != self.request.node.nodeid:
            self._skip(str(loss))
        raise PluginFailure(
            Diagnostic(
                "TRT721",
                str(loss),
                {"test": loss.test, "status": loss.status},
                remedy=Remedy(
                    "fix that test, or run it in its own process: after it, no test of the same "
                    "process can use the GPU."
                ),
            )
        )

    def _consistency_check(self) -> ConsistencyCheck | None:
        if self.plan.consistency is None:
            return None

        def tolerances(engine: Engine) -> Mapping[str, Tolerance]:
            return self.plan.tolerances(engine.model.outputs, engine.spec.precision)

        # A project may override the fixture, with any object that has the same `run`.
        reference = self.request.getfixturevalue("trt_reference")
        if not callable(getattr(reference, "run", None)):
            raise ConfigurationError(
                f"the trt_reference fixture returned {type(reference).__name__}, without run()",
                fix="return an object whose run(inputs) returns the outputs by name.",
                code="TRT157",
                facts={"type": type(reference).__name__},
            )
        return ConsistencyCheck(
            tolerances,
            reference.run,
            several=len(self.model_marker.precision) > 1,
            other=self._other(is_fixture=not isinstance(reference, ReferenceSession)),
            attempts=self._attempts,
            calibrated_by=self._calibrated_by(),
            on_failure=_fail_here if self.request.config.getoption("usepdb", False) else None,
            histogram=bool(self.run.settings.report),
        )

    def _attempts(self, engine: Engine, inputs: Tensors) -> Iterator[tuple[str, Tensors]]:
        """Yield what an fp32 engine of ONNX Runtime returns with fewer graph optimisations."""
        embedded, option = self.run.embedded, "graph_optimization_level"
        if (
            self.run.backend(engine.target.arch).name != embedded.name
            or engine.spec.precision != "fp32"
            or option in engine.spec.builder_options
            or engine.model.size_bytes > _TRIED_BYTES
        ):
            return
        for level in ("basic", "disabled"):
            with suppress(PytestTrtError):
                session = embedded.reference(engine.model, level)
                try:
                    outputs = session.run(inputs)
                finally:
                    session.close()
                yield json.dumps({option: level}), outputs

    def _calibrated_by(self) -> CalibratedBy:
        if self.model.is_quantized:
            return "model"
        # pytest has no other way to ask for a fixture without making it.
        manager = self.request.session._fixturemanager
        found = manager.getfixturedefs("trt_calibration", self.request.node) or ()
        is_ours = found and found[-1].func.__module__ == "pytest_trt.plugin.fixtures"
        return "seeded" if is_ours else "project"

    def _other(self, *, is_fixture: bool) -> OtherReference | None:
        if self.model_marker.reference is None and not is_fixture:
            return None

        def own(inputs: Tensors) -> Tensors:
            return self.run.reference_outputs(self.model, inputs)

        return OtherReference(self.model, None if is_fixture else self.reference_model, own)

    def _profiles(self, overrides: Mapping[str, Any]) -> tuple[Profile, ...]:
        if "profiles" not in overrides:
            return self.plan.profiles
        return parse_profiles(overrides["profiles"], self.model.inputs, where="trt_build")

    def _read(self, path: Path) -> OnnxModel:
        with self._task(f"reading {path.name}") as say:
            return self.run.model(path, say)

    def _task(self, title: str) -> Any:
        return progress_of(self.request.config).task(title)


def _fail_here(diagnostics: Sequence[Diagnostic]) -> NoReturn:
    """Fail at the line that ran the engine, for a debugger to stop there."""
    __tracebackhide__ = True
    raise CheckFailure(*diagnostics, pytrace=True)


def refuse_late_use(state: TestState, call: str) -> None:
    """Refuse a call after the test was judged: nothing would judge what it finds.

    Raises:
        ConfigurationError: The test is over.
    """
    if not state.over:
        return
    error = ConfigurationError(
        f"{call} was called after the test: in a fixture's teardown, or in a thread that the test "
        "did not wait for. Its result can no longer fail the test",
        code="TRT161",
        facts={"call": call},
        fix="call it in the test itself or in a fixture's setup, and join threads in the test.",
    )
    state.late_runs.append(error.diagnostic)
    raise error
