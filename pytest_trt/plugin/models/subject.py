"""The model under test, as one test's markers describe it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.accuracy.subject import CalibratedBy
from pytest_trt.diagnostics import ConfigurationError, UnsupportedError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.builder_options import has_all
from pytest_trt.engine.protocols import BackendSession
from pytest_trt.engine.session import Session
from pytest_trt.engine.spec import EngineSpec
from pytest_trt.plugin.models.loadable import LoadableModel
from pytest_trt.plugin.models.project_reference import circular, project_reference
from pytest_trt.plugin.planning.keep_fp32 import parse_keep_fp32, warn_of_block_lists
from pytest_trt.plugin.planning.markers import ModelMarker
from pytest_trt.plugin.planning.opponents import Opponent
from pytest_trt.plugin.planning.plan import TestPlan
from pytest_trt.plugin.results.pinning import fixtures_of_override
from pytest_trt.plugin.state import OWN, PLAN_KEY, plan_of, planner_of, run_of, state_of
from pytest_trt.tensors.calibration_data import CalibrationData
from pytest_trt.tensors.profiles import Profile, needs_profile, parse_profiles
from pytest_trt.terms import CPU


@dataclass(frozen=True)
class ModelUnderTest(LoadableModel):
    """What a test's fixtures work on.

    Attributes:
        plan: What the test checks.
    """

    plan: TestPlan

    @classmethod
    def of(cls, request: pytest.FixtureRequest) -> ModelUnderTest:
        """Return the subject of the test that makes this request.

        Raises:
            ConfigurationError: No marker names a model.
        """
        plan, marker = planned_model(request)
        return cls(request, run_of(request.config), marker, plan.profiles, plan)

    def covered(self) -> tuple[Profile, ...]:
        """Return the profiles of the marker; where it gives none, those of its finished plan."""
        marker = self.model_marker
        if self.profiles or marker.plan is None or not any(map(needs_profile, self.model.inputs)):
            return self.profiles
        arch, precision = self.plan.arch, self.plan.precision
        spec = marker.spec(self.run.backend(arch).name, precision, ())
        return self.engine(spec, arch, tuple).spec.profiles

    def built(self, arch: str, precision: str, overrides: Mapping[str, Any]) -> Engine:
        """Build an engine, or take it from the cache."""
        spec = self._spec(arch, precision, overrides)
        try:
            return self.engine(spec, arch, self._calibration, self._calibrated_by)
        except UnsupportedError as error:
            if not overrides and precision == self.plan.precision and self._others(arch, error):
                self.skip(error.message)
            raise

    def build(self, arch: str, precision: str, overrides: Mapping[str, Any]) -> Session:
        """Build an engine, or take it from the cache, and return a session that loads it on use."""
        if overrides and self.model_marker.plan is not None:
            given = ", ".join(f"{name}=" for name in overrides)
            raise ConfigurationError(
                f"trt_build: {given} cannot change a finished plan, which trt_model names",
                fix="omit it, or build the engine in a test without plan=.",
            )
        engine = self.built(arch, precision, overrides)
        state = state_of(self.item)
        if self.plan.consistency is None:
            observe = self.noting(state) if self.plan.benchmark else None
            session = Session(engine, self.loaded, observe, self.engine_inputs)
            session.used = True  # that it can be built may be all that the test is about
        else:
            with self.run.lock:
                if OWN not in state.checks:
                    state.checks[OWN] = self._consistency_check()
            observe = self.observer(state, state.checks[OWN], self._calibration)
            session = Session(engine, self._compared, observe, self.engine_inputs)
        state.sessions.append(session)
        return session

    @contextmanager
    def _compared(self, engine: Engine) -> Iterator[BackendSession]:
        """Provide a loaded engine whose outputs are compared with the reference next."""
        __tracebackhide__ = True
        expecting: AbstractContextManager[None] = nullcontext()
        if self.plan.against != "stored" and not state_of(self.item).references:
            expecting = self.run.embedded.expecting(self.reference_model)
        with self.loaded(engine) as session, expecting:
            yield session

    def opponents(self, engine: Engine) -> dict[str, Engine]:
        """Build the engines that an engine has to be faster than, or take them from the cache.

        They are not recorded with the test, whose checks are about others.

        Returns:
            The engines by the name that the limit has.
        """
        arch, precision, plan = engine.target.arch, engine.spec.precision, self.plan
        names = plan.limits(precision).faster_than if plan.benchmark is not None else ()
        return {name: self._opponent(plan.opponents[name], arch, precision) for name in names}

    def _opponent(self, one: Opponent, arch: str, precision: str) -> Engine:
        marker, precision = one.model or self.model_marker, one.precision or precision
        other = replace(self, model_marker=marker)
        profiles = self.profiles
        if one.model is not None:
            profiles = parse_profiles(marker.profiles, other.model.inputs, where="trt_model")
        if one.embedded:
            arch, spec = CPU, EngineSpec(precision, profiles)
        else:
            spec = marker.spec(self.run.backend(arch).name, precision, profiles)
        plan = marker.plan
        # A plan of neither another precision nor another model is the one under test.
        named = plan.names if plan is not None and not one.embedded else ()
        with self.run.lock, self._task(f"{marker.name} {precision}") as say:
            if plan is not None and ("precision" if one.model is None else "stem") in named:
                return other._finished(plan, spec, arch)
            return self.run.engine(
                other.model,
                spec,
                arch,
                calibration=other._calibration,
                progress=say,
                embedded=one.embedded,
            )

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

    @property
    def _calibrated_by(self) -> CalibratedBy:
        own = self.model_marker.calibration or self.overrides("trt_calibration")
        return "project" if own else "seeded"

    def _calibration(self) -> CalibrationData:
        given = self.model_marker.calibration or self.request.getfixturevalue("trt_calibration")
        return self.run.calibration(given, self.model.inputs)

    def _consistency_check(self) -> ConsistencyCheck:
        # A project may override the fixture.
        if "trt_session" in fixtures_of_override(self.item, "trt_reference"):
            raise circular("requests trt_session")
        given = self.request.getfixturevalue("trt_reference")
        return self.check(
            self.plan,
            project_reference(given, self.item, self.run, self.model),
            calibrated_by=self._calibrated_by,
            calibration=self._calibration,
        )

    def _spec(self, arch: str, precision: str, overrides: Mapping[str, Any]) -> EngineSpec:
        """Return the request of an engine: the marker's, with what `trt_build` was given."""
        profiles = self.profiles
        if "profiles" in overrides:
            profiles = parse_profiles(overrides["profiles"], self.model.inputs, where="trt_build")
        options, keep = overrides.get("builder_options"), overrides.get("keep_fp32")
        if "builder_options" in overrides and not isinstance(options, Mapping):
            raise ConfigurationError(
                f"trt_build: builder_options={options!r} is not a mapping",
                fix="pass a dict of options, or omit builder_options= to use the marker's.",
            )
        warn_of_block_lists(options or {}, "trt_build")
        return self.model_marker.spec(
            self.run.backend(arch).name,
            precision,
            profiles,
            options=options,
            keep_fp32=None if keep is None else parse_keep_fp32(keep, "trt_build"),
        )


def given_model(request: pytest.FixtureRequest) -> Path:
    """Return the path of the model under test; one that a fixture gives, from that fixture.

    Raises:
        ConfigurationError: No marker names a model, or the fixture gives no path.
        PlanError: The markers do not fit the model that the fixture gives.
    """
    plan, marker = planned_model(request)
    if not marker.fixture:
        return marker.path
    value = request.getfixturevalue(marker.fixture)
    if not isinstance(value, str | os.PathLike) or not isinstance(os.fspath(value), str):
        raise ConfigurationError(
            f"the fixture {marker.fixture}, which trt_model names, returned {type(value).__name__} "
            "and not a path",
            fix="return the path of an ONNX file.",
            code="TRT176",
            facts={"fixture": marker.fixture, "type": type(value).__name__},
        )
    # As open() takes it, and not relative to the test file: it is no text of a marker.
    path = Path(value).absolute()
    item = request.node
    plan = item.stash[PLAN_KEY] = planner_of(item.config).resolve(plan, path, item)
    assert plan.model is not None
    return plan.model.path


def planned_model(request: pytest.FixtureRequest) -> tuple[TestPlan, ModelMarker]:
    """Return the plan of the test that makes this request, and its model.

    Raises:
        ConfigurationError: No marker names a model.
    """
    if not isinstance(request.node, pytest.Function):
        raise ConfigurationError(
            f"{request.node.nodeid} uses pytest-trt's fixtures, but is not a Python test "
            f"function ({type(request.node).__name__})",
            fix="move it to a test function or method.",
            code="TRT158",
            facts={"type": type(request.node).__name__},
        )
    plan = plan_of(request.node)
    if plan is None or plan.model is None:
        raise ConfigurationError(
            f"{request.node.nodeid} uses pytest-trt's fixtures, but no trt_model marker names "
            "its model",
            fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
            code="TRT151",
            facts={"marker": ModelMarker.NAME},
        )
    return plan, plan.model
