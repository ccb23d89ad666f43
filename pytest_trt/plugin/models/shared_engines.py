"""`trt_engines`: engines that fixtures of class, module or session scope share among tests.

What such an engine runs is compared in the test during which it runs, under that test's marker.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import Any

import pytest

from pytest_trt.accuracy.subject import CalibratedBy
from pytest_trt.diagnostics import ConfigurationError, InputError
from pytest_trt.engine.build import Engine
from pytest_trt.engine.session import Session, calling_line
from pytest_trt.plugin.models.loadable import LoadableModel, ended_by
from pytest_trt.plugin.models.project_reference import project_reference
from pytest_trt.plugin.planning.markers import calibration_path, parse_model, same_file
from pytest_trt.plugin.planning.named_models import check_per_model, named_models
from pytest_trt.plugin.planning.plan import TestPlan
from pytest_trt.plugin.state import ITEM_KEY, plan_of, run_of, state_of
from pytest_trt.tensors.calibration_data import CalibrationData
from pytest_trt.tensors.profiles import parse_profiles
from pytest_trt.tensors.spec import Tensors


@dataclass(frozen=True)
class SharedModel(LoadableModel):
    """A model whose engine outlives the test that built it."""

    @property
    def item(self) -> pytest.Item:
        """The test that is running: another one each time."""
        return self.request.config.stash[ITEM_KEY]

    def session(self, arch: str, calibration: object) -> Session:
        """Build the engine, or take it from the cache, and return a session that loads it."""
        marker = self.model_marker
        (precision,) = marker.precision
        spec = marker.spec(self.run.backend(arch).name, precision, self.profiles)

        def samples() -> CalibrationData:
            given = self.seeded_samples() if calibration is None else calibration
            return self.run.calibration(given, self.model.inputs)

        by: CalibratedBy = "seeded" if calibration is None else "project"
        observe = partial(self._observe, by, samples)
        engine = self.engine(spec, arch, samples, by)
        return Session(engine, self.loaded, observe, self.engine_inputs)

    def _observe(
        self,
        calibrated_by: CalibratedBy,
        calibration: Callable[[], CalibrationData],
        engine: Engine,
        *seen: Any,
    ) -> None:
        """Compare a run in the test that is running, if that has an accuracy check."""
        __tracebackhide__ = True
        item = self.item
        plan, state = plan_of(item), state_of(item)
        if plan is None or not plan.checks:
            return
        if all(one.key.digest != engine.key.digest for one in state.engines):
            state.engines.append(engine)
        if plan.consistency is None:
            self.noting(state)(engine, *seen)
            return
        if isinstance(seen[-1], InputError):
            state.refused.append(ended_by(seen[-1], engine, calling_line()))
            return
        # What the project's own reference runs cannot be compared with that reference.
        nested = get_ident() in state.in_reference
        marker = self.model_marker
        names = f"{marker.reference or ''} {marker.reference_names} {marker.reference_only}"
        key = f"{engine.key.digest} {names} {nested}"
        if key not in state.checks:
            try:
                reference = None if nested else self._reference_fixture(plan)
                state.checks[key] = self.check(
                    plan,
                    reference or self.reference().run,
                    calibrated_by=calibrated_by,
                    calibration=calibration,
                )
            except BaseException as error:  # which the test may catch
                state.uncompared.append(ended_by(error, engine, calling_line()))
                raise
            if reference is None and not self._has_reference_of(plan):
                state.other_references.add(key)
            state.observers[key] = self.observer(state, state.checks[key], calibration)
        state.observers[key](engine, *seen)

    def _reference_fixture(self, plan: TestPlan) -> Callable[[Tensors], Tensors] | None:
        """Return the project's own reference of the test that is running, if of this model."""
        same = plan.model is None or same_file(self.model_marker.path, plan.model.model)
        if not (same and self.overrides("trt_reference")):
            return None
        own, named = self.model_marker.reference, plan.model and plan.model.reference
        if own is not None and not (named and same_file(own, named)):
            raise ConfigurationError(
                f"trt_engines was given reference={own.name}, but the project overrides "
                "trt_reference for this test, so the run would not be compared with it",
                fix="remove reference= or the override.",
                code="TRT180",
                facts={"fixture": "trt_reference", "file": own.name},
            )
        # The fixture has function scope: the request of the factory cannot make it.
        request: pytest.FixtureRequest = self.item._request  # type: ignore[attr-defined]
        given = request.getfixturevalue("trt_reference")
        return project_reference(given, self.item, self.run, self.model)

    def _has_reference_of(self, plan: TestPlan) -> bool:
        """Whether the reference is the one that the markers of a test name, if they name one."""
        named, own = plan.model, self.model_marker
        if named is None or named.reference is None:
            return True
        return (
            same_file(named.reference, own.reference or own.path)
            and named.reference_names == own.reference_names
            and set(named.reference_only) == set(own.reference_only)
        )


def shared_session(
    request: pytest.FixtureRequest, model: str | Path | None, given: dict[str, Any]
) -> Session:
    """Return a session of an engine, for `trt_engines(model, ...)`.

    Raises:
        ConfigurationError: Something given is invalid, or the run tests several architectures and
            none was given.
    """
    run = run_of(request.config)
    if "fixture" in given:
        raise ConfigurationError(
            "trt_engines has session scope, so it cannot request the fixture of fixture=",
            fix="request that fixture, and pass the path that it gives: trt_engines(path).",
            code="TRT176",
            facts={"fixture": str(given["fixture"])},
        )
    arch, calibration = given.pop("arch", None), given.pop("calibration", None)
    mark = pytest.mark.trt_model(model, **given).mark
    # The file whose fixture calls: below this function are the factory and its fixture.
    caller = Path(sys._getframe(2).f_code.co_filename)
    named = named_models([mark], caller)
    if isinstance(calibration, str | os.PathLike):
        calibration = calibration_path(calibration, caller)
    check_per_model([mark], ())
    if named.several:
        raise ConfigurationError(
            "trt_engines takes the path of one model",
            fix="call it once per model, or parametrise the fixture.",
            code="TRT154",
            facts={"fixture": "trt_model_path", "values": [one.id for one in named.models]},
        )
    marker = parse_model([mark], caller, named.models[0], run.settings.additional_backends)
    if len(marker.precision) > 1:
        raise ConfigurationError(
            f"trt_engines takes one precision, not {len(marker.precision)}: "
            f"{', '.join(marker.precision)}",
            fix="call it once per precision, or parametrise the fixture.",
            code="TRT154",
            facts={"fixture": "trt_precision", "values": list(marker.precision)},
        )
    if calibration is not None and marker.plan is not None:
        raise ConfigurationError(
            "trt_engines: calibration= has no effect on a finished plan, which plan= names",
            fix="omit one of them.",
        )
    archs = [selection.arch for selection in run.selections]
    if (arch is None and len(archs) > 1) or arch not in (None, *archs):
        raise ConfigurationError(
            f"trt_engines was given arch={arch!r}, but this run tests {' and '.join(archs)}",
            fix="pass one of these as arch=, for example from a parametrised fixture.",
            code="TRT154",
            facts={"fixture": "trt_arch", "values": archs},
        )
    inputs, _ = run.interface(marker.path, again=True)
    profiles = parse_profiles(marker.profiles, inputs, where="trt_engines")
    shared = SharedModel(request, run, marker, profiles)
    session = shared.session(arch or archs[0], calibration)
    state, plan = state_of(shared.item), plan_of(shared.item)
    if state.called and plan is not None and plan.consistency is not None:
        state.sessions.append(session)  # no fixture's, which other tests may run
    return session
