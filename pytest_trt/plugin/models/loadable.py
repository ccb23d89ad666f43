"""A model whose engines a test builds, loads and runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, NoReturn, cast

import numpy as np
import numpy.typing as npt
import pytest

from pytest_trt.accuracy.check import ConsistencyCheck
from pytest_trt.accuracy.continued import ContinuedRuns
from pytest_trt.accuracy.evidence import Retained
from pytest_trt.accuracy.invariants import Invariants
from pytest_trt.accuracy.metric_checks import MetricCheck
from pytest_trt.accuracy.other_reference import OtherReference
from pytest_trt.accuracy.reference import ReferenceSession
from pytest_trt.accuracy.reference_names import ReferenceNames
from pytest_trt.accuracy.subject import CalibratedBy
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.accuracy.trial import specs_to_try
from pytest_trt.diagnostics import (
    ConfigurationError,
    Diagnostic,
    InputError,
    PytestTrtError,
    Remedy,
)
from pytest_trt.engine.build import Engine
from pytest_trt.engine.protocols import BackendSession, BuildRequest, Plan
from pytest_trt.engine.session import Observer, calling_line
from pytest_trt.engine.spec import EngineSpec, brings
from pytest_trt.escaping import terminal
from pytest_trt.onnx.digest_cache import changed
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.plugin.models.project_reference import ProjectReference
from pytest_trt.plugin.models.rebuilt import RebuiltEngines
from pytest_trt.plugin.models.searching import LayerSearch, bundles, names_others
from pytest_trt.plugin.planning.markers import ModelMarker
from pytest_trt.plugin.planning.marks import multiplied
from pytest_trt.plugin.planning.plan import SHAPE, TestPlan, chosen_point
from pytest_trt.plugin.planning.plan_files import PlanFiles
from pytest_trt.plugin.results.failure import CheckFailure, PluginFailure
from pytest_trt.plugin.results.pinning import pin_baselines
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.state import (
    RECORDER_KEY,
    TestState,
    override_of,
    plan_of,
    progress_of,
    state_of,
    test_argument,
)
from pytest_trt.report.record import below
from pytest_trt.tensors.calibration import calibration_problems
from pytest_trt.tensors.containers import shapes_text
from pytest_trt.tensors.profile_choice import shapes_at, values_at
from pytest_trt.tensors.profiles import Profile, needs_profile
from pytest_trt.tensors.seeded import seeded_inputs
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU

if TYPE_CHECKING:
    from pytest_trt.plugin.state import RECORDER_KEY, Answers
    from pytest_trt.tensors.value_ranges import Point

#: Samples that int8 engines are calibrated on when a project gives none of its own.
_SEEDED_SAMPLES = 8

#: No engine of a larger model is built for a line of advice.
_TRIED_BYTES = 50_000_000


@dataclass(frozen=True)
class LoadableModel:
    """A model, and how its engines are built, loaded and run in a test.

    Attributes:
        request: The request of the fixture that provides it.
        run: What all tests of the run share.
        model_marker: The model and its options.
        profiles: The parsed optimisation profiles.
    """

    request: pytest.FixtureRequest
    run: TrtRun
    model_marker: ModelMarker
    profiles: tuple[Profile, ...]

    @property
    def item(self) -> pytest.Item:
        """The test that builds or runs an engine."""
        return cast(pytest.Item, self.request.node)

    @property
    def model(self) -> OnnxModel:
        """The model under test."""
        return self._read(self.model_marker.path)

    @property
    def reference_model(self) -> OnnxModel:
        """The model that computes the reference: the model itself, or the marker's reference."""
        return self._read(self.model_marker.reference or self.model_marker.path)

    @property
    def _is_quantised_already(self) -> bool:
        return self.model.is_quantized or self.model_marker.plan is not None

    def reference(self) -> ReferenceSession:
        """Return the FP32 reference as a session."""
        return ReferenceSession(self.reference_model, self.run.reference_outputs, self._names)

    @property
    def _names(self) -> ReferenceNames:
        marker, model = self.model_marker, self.model
        return ReferenceNames(
            marker.reference_names,
            marker.reference_only,
            [spec.name for spec in model.inputs],
            [spec.name for spec in model.outputs],
        )

    def engine_inputs(self, inputs: Tensors) -> Tensors:
        """Return the inputs of a test without those for the reference alone."""
        if not self.model_marker.reference_only or not isinstance(inputs, Mapping):
            return inputs
        return self._names.engine_inputs(inputs)

    def test_inputs(self, point: str) -> dict[str, npt.NDArray[np.generic]]:
        """Return seeded inputs, those that only the reference has included."""
        made = self.seeded(point)
        given = self.model_marker.input_ranges.keys() | values_at(*self._chosen(point))
        for name in set(self.model.condition_inputs) - given:
            state_of(self.item).generated[name] = int(made[name].item())
        for name in {*self.model.computed_indices, *self.model.number_inputs} - given:
            rows = self.model.computed_indices.get(name)
            largest = max(self.model.index_limits.get(name, 0) - 1, 1)
            if (rows is None or rows > largest + 1) and made[name].max(initial=0) <= largest:
                state_of(self.item).limited[name] = largest, rows
        only = self.model_marker.reference_only
        others = [one for one in self.reference_model.inputs if one.name in only] if only else []
        if others:
            reference = replace(self.reference_model, inputs=tuple(others))
            shapes = shapes_at(others, None, "opt")
            made.update(seeded_inputs(reference, shapes, seed=self.model_marker.seed))
        return made

    def seeded(self, point: str, *, sample: int = 0) -> dict[str, npt.NDArray[np.generic]]:
        """Return seeded inputs.

        Args:
            point: "min", "opt" or "max", with the profile's number before it if there are several.
            sample: Each number gives different values, except those that the profile fixes.
        """
        profile, name = self._chosen(point)
        return seeded_inputs(
            self.model,
            shapes_at(self.model.inputs, profile, name),
            seed=self.model_marker.seed + sample,
            ranges=self.model_marker.input_ranges,
            values=values_at(profile, name),
        )

    def _chosen(self, point: str) -> tuple[Profile | None, Point]:
        return chosen_point(point, self.covered(), self.model_marker)

    def covered(self) -> tuple[Profile, ...]:
        """Return the profiles of the marker."""
        return self.profiles

    def seeded_samples(self) -> list[dict[str, npt.NDArray[np.generic]]]:
        """Return seeded inputs to calibrate an engine on, and warn that they are."""
        state_of(self.item).note(
            Diagnostic(
                "TRT170",
                # Without the model: pytest shows warnings of one text once, with their tests.
                "an engine was calibrated on random inputs, which are not representative",
                {"model": self.model_marker.name},
                remedy=Remedy("override the trt_calibration fixture with real inputs."),
                severity="warning",
            )
        )
        return [self.seeded("opt", sample=sample) for sample in range(_SEEDED_SAMPLES)]

    def engine(
        self,
        spec: EngineSpec,
        arch: str,
        calibration: Callable[[], object],
        calibrated_by: CalibratedBy = "",
    ) -> Engine:
        """Build an engine, or take it from the cache, and record it with the test."""
        marker, state = self.model_marker, state_of(self.item)
        pin_baselines(self.request.session)
        try:
            with self.run.lock, self._task(f"{marker.name} {spec.precision}") as say:
                if marker.plan is not None:
                    engine = self._finished(marker.plan, spec, arch)
                else:
                    engine = self.run.engine(
                        self.model, spec, arch, calibration=calibration, progress=say
                    )
        except PytestTrtError:
            path = below(marker.path, self.request.config.rootpath)
            state.unbuilt.append((path, arch, spec.precision))
            raise
        state.engines.append(engine)
        self._note_on(engine)
        statistics = engine.plan_facts.calibration
        if calibrated_by == "project" and statistics is not None:
            name = f"{marker.name} {spec.precision}"
            for problem in calibration_problems(statistics, spec.profiles, name):
                state.note(problem)
        return engine

    def _finished(self, files: PlanFiles, spec: EngineSpec, arch: str) -> Engine:
        """Return the finished plan of the marker; skip the test where it cannot be loaded."""
        __tracebackhide__ = True
        marker, backend = self.model_marker, self.run.backend(arch)
        if spec.precision not in marker.precision and "precision" not in files.names:
            raise ConfigurationError(
                f"plan={files.given!r} is of precision {', '.join(marker.precision)}, and "
                f"{spec.precision} was requested",
                fix="add the placeholder {precision} to plan=, or request that precision.",
            )
        path = files.path(marker.path, precision=spec.precision, arch=arch, backend=backend.name)
        found = self.run.checked_plan(path, self.model, spec, arch)
        if self.run.settings.build_only:
            self.skip("--trt-build-only: there is nothing to build for a finished plan")
        obstacle = backend.cannot_run(found.target)
        if obstacle is not None:
            self.skip(f"the plan for {arch} was not run: {obstacle}")
        return self.run.finished(found)

    def _note_on(self, engine: Engine) -> None:
        """Note what passes here and fails elsewhere, and what was built other than requested."""
        self._note_lowered_level(engine)
        if engine.finished:
            return
        name, precision = engine.model.path.name, engine.spec.precision
        if brings(engine.model, precision):
            state_of(self.item).note(
                Diagnostic(
                    "TRT308",
                    f"{name} brings its own Q/DQ nodes: its {precision} engine is built from the "
                    "model as it is",
                    {"model": name, "precision": precision},
                    severity="note",
                )
            )
        unbound = [spec.name for spec in engine.model.inputs if needs_profile(spec)]
        if unbound and not engine.spec.profiles:
            ranges = ", ".join(f'"{one}": (min, opt, max)' for one in unbound)
            state_of(self.item).note(
                Diagnostic(
                    "TRT171",
                    f"{name} has dynamic inputs ({', '.join(unbound)}) without profiles=: ONNX "
                    "Runtime runs the model, but TensorRT cannot build it",
                    {"model": name, "inputs": unbound},
                    remedy=Remedy("add to the trt_model marker:", (f"profiles={{{ranges}}}",)),
                    severity="note",
                )
            )

    def _note_lowered_level(self, engine: Engine) -> None:
        if engine.target.arch != CPU or engine.finished:
            return
        from pytest_trt.backends.onnxruntime.plan import lowered_level

        level = lowered_level(engine.plan)
        if level is None:
            return
        name, precision = engine.model.path.name, engine.spec.precision
        state_of(self.item).note(
            Diagnostic(
                "TRT307",
                f"the {precision} engine of {name} has graph_optimization_level={level!r}: higher "
                f"levels of {engine.toolchain} break this model",
                {"model": name, "precision": precision, "level": level},
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
        self.skip(reason)

    def check(
        self,
        plan: TestPlan,
        reference: Callable[[Tensors], Tensors],
        *,
        calibrated_by: CalibratedBy,
        calibration: Callable[[], object],
    ) -> ConsistencyCheck:
        """Return a check of a test that compares engines of this model."""
        resolved: dict[str, Mapping[str, Tolerance]] = {}

        def tolerances(engine: Engine) -> Mapping[str, Tolerance]:
            key = engine.key.digest
            if key not in resolved:
                resolved[key] = plan.tolerances(engine.model.outputs, engine.spec.precision)
            return resolved[key]

        def metrics(engine: Engine) -> Sequence[MetricCheck]:
            return plan.metrics(engine.model.outputs, engine.spec.precision)

        def own(inputs: Tensors) -> Tensors:
            return self.run.reference_outputs(self.model, self.engine_inputs(inputs))

        other = None
        if isinstance(reference, ProjectReference):
            other = OtherReference(self.model, None, own, reference)
        elif self.model_marker.reference is not None:
            other = OtherReference(self.model, self.reference_model, own)
        check = ConsistencyCheck(
            tolerances,
            reference,
            metrics=metrics,
            several=len(self.model_marker.precision) > 1,
            other=other,
            attempts=self._attempts,
            calibrated_by="model" if self._is_quantised_already else calibrated_by,
            on_failure=_fail_here if self.request.config.getoption("usepdb", False) else None,
            histogram=bool(self.run.settings.report),
            stored=None if plan.against == "model" else self._stored_answers(plan, reference),
            invariants=self._invariants(plan, calibration),
            retained=self._retained,
            test=test_argument(self.item),
            given=self.model_marker.input_ranges.keys(),
            first_runs=self.run.first_runs,
            # A reference of the project may have states of its own.
            continued=None
            if self.run.settings.selftest or isinstance(reference, ProjectReference)
            else ContinuedRuns(),
        )
        search = LayerSearch(
            self.run,
            check,
            self.reference_model,
            self._names,
            calibration,
            isinstance(reference, ProjectReference),
            self.model_marker.precision,
            test_argument(self.item),
        )
        state_of(self.item).searches += [
            search.diagnostics,
            partial(bundles, self.run, check, self.item.nodeid),
        ]
        return check

    @property
    def _retained(self) -> Retained:
        """Of which runs the worst is retained, to be searched or to be written as a bundle."""
        settings = self.run.settings
        if settings.selftest or (settings.localize == "never" and settings.repro is None):
            return "none"
        return "all" if settings.localize == "always" else "failed"

    def _invariants(self, plan: TestPlan, calibration: Callable[[], object]) -> Invariants | None:
        """Return the invariants that the test requires of its runs."""
        wanted = plan.invariants
        if wanted is None:
            return None
        if isinstance(self.item, pytest.Function) and SHAPE in multiplied(self.item):
            wanted = replace(wanted, several_shapes=len(plan.variants[SHAPE]) > 1)
        again = RebuiltEngines(self.run, self.item, calibration, self._task)

        def run(engine: Engine, inputs: Tensors) -> Tensors:
            return self.run.session(engine).run(self.engine_inputs(inputs))

        def rebuilt(engine: Engine, inputs: Tensors, total: int) -> Iterator[Tensors]:
            return again.outputs(engine, self.engine_inputs(inputs), total)

        return Invariants(wanted, run, rebuilt)

    def _stored_answers(self, plan: TestPlan, reference: Callable[[Tensors], Tensors]) -> Answers:
        """Return the stored answers of the test that is running, which are of one model."""
        state, producer = state_of(self.item), self.run.producer
        for library in self.model.custom_ops:
            producer += f", operators of {library.path.name} {library.digest[:12]}"
        if isinstance(reference, ProjectReference):
            producer = reference.own.producer or "the trt_reference fixture"
        if state.answers is None:
            from pytest_trt.plugin.models.stored_answers import StoredAnswers

            state.answers = StoredAnswers(
                self.item, self.run, plan, self.model, reference, producer
            )
        elif state.answers.model.digest != self.model.digest:
            raise ConfigurationError(
                f"the test compares {state.answers.model.path.name} and {self.model.path.name} "
                "with stored answers, but a test has those of one model",
                fix='Split the test, or compare with the models: against="model".',
                code="TRT163",
                facts={"test": self.item.nodeid, "model": self.model.path.name},
            )
        return state.answers

    def overrides(self, fixture: str) -> bool:
        """Whether a project overrides a fixture of the plugin for the test that is running."""
        return override_of(self.item, fixture) is not None

    def _attempts(self, engine: Engine, inputs: Tensors) -> Iterator[tuple[str, Tensors]]:
        """Yield what an engine of ONNX Runtime returns with arguments that a remedy may name."""
        embedded = self.run.embedded
        if (
            self.run.backend(engine.target.arch).name != embedded.name
            or engine.finished
            or engine.model.size_bytes > _TRIED_BYTES
        ):
            return
        several = names_others(self.model_marker.precision, engine.spec.precision)
        for argument, spec in specs_to_try(engine.model.op_types, engine.spec, several=several):
            with suppress(PytestTrtError), TemporaryDirectory() as folder:
                request = BuildRequest(engine.model, spec, engine.target, Path(folder))
                plan = Plan(Path(folder) / embedded.build(request).plan_name)
                run = embedded.run_isolated(plan, engine.model, spec, self.engine_inputs(inputs))
                if run is not None:
                    yield argument, run.outputs

    def skip(self, reason: str) -> NoReturn:
        """Skip the test."""
        __tracebackhide__ = True
        state_of(self.item).skipped = reason
        pytest.skip(terminal(reason))

    def observer(
        self, state: TestState, check: ConsistencyCheck, calibration: Callable[[], object]
    ) -> Observer:
        """Return what compares the runs of a test, and refuses those that no check judges."""
        observe: Callable[[Engine, Tensors, Tensors, str], None] = check.observe
        if self.run.settings.selftest:
            from pytest_trt.plugin.selftest import observing

            observe = observing(check, state.proofs)
        recorder = self.request.config.stash.get(RECORDER_KEY, None)
        if recorder is not None:
            observe = recorder.observing(self, check, calibration, observe)

        def observe_in_time(
            engine: Engine, inputs: Tensors, outputs: Tensors | BaseException
        ) -> None:
            __tracebackhide__ = True
            if isinstance(outputs, pytest.skip.Exception):  # this machine cannot run it
                return
            if isinstance(outputs, InputError):
                state.refused.append(ended_by(outputs, engine, calling_line()))
                return
            self.refuse_late_use(state, "trt_session.run")
            if engine.model.digest != self.model.digest:  # of another scope than the test
                raise changed(engine.model.path)
            where = calling_line()
            if isinstance(outputs, BaseException):
                state.uncompared.append(ended_by(outputs, engine, where))
                return
            try:
                observe(engine, inputs, outputs, where)
            except CheckFailure:  # compared, and wrong
                raise
            except BaseException as error:
                in_reference = error is state.reference_error
                state.uncompared.append(ended_by(error, engine, where, in_reference=in_reference))
                raise
            state.compared(inputs)
            # The test may have ended meanwhile: computing the reference can take long.
            self.refuse_late_use(state, "trt_session.run")

        return observe_in_time

    def noting(self, state: TestState) -> Observer:
        """Return what notes the shapes that a benchmark runs: it is called in what is timed."""

        def note(engine: Engine, inputs: Tensors, outputs: Tensors | BaseException) -> None:
            if not state.timing or isinstance(outputs, InputError):
                return
            shapes = shapes_text(engine.model.inputs, inputs, sizes=engine.model.sizes)
            state.timed.setdefault(engine.key.digest, set()).add(shapes)

        return note

    def refuse_late_use(self, state: TestState, call: str) -> None:
        """Refuse a call that no check judges: after the test, or in a process that it forked.

        Raises:
            ConfigurationError: It is one.
        """
        where = "after the test, by a fixture's teardown or by a thread that the test did not join"
        if state.process != os.getpid():
            where = "in a process that the test forked"
            if state.elsewhere is not None:
                state.elsewhere[0] = 1
        elif not state.over:
            return
        error = ConfigurationError(
            f"{call} was called {where}: its result cannot fail the test",
            code="TRT161",
            facts={"call": call, "test": self.item.nodeid},
            fix="call it in the test itself or in a fixture's setup, and join threads in the test.",
        )
        self.run.late_runs.append(error.diagnostic)
        raise error

    @contextmanager
    def loaded(self, engine: Engine) -> Iterator[BackendSession]:
        """Provide a loaded engine; a GPU that is lost meanwhile is recorded with this test."""
        __tracebackhide__ = True
        self.skip_unless_runnable(engine)
        test, plan, active = self.item.nodeid, plan_of(self.item), self.run.active
        running = [test] if plan is not None and plan.consistency is not None else []
        active += running
        try:
            with self.run.lock, self.run.lost_device.watching(test):
                yield self.run.session(engine)
            self.run.ran.add(engine.key.digest)
            state_of(self.item).ran.add(engine.key.digest)
        finally:
            for one in running:
                active.remove(one)

    def stop_if_lost(self, arch: str) -> None:
        """Skip a test that cannot run because the GPU is lost, or fail it if no other test has.

        The test that lost it fails again when it is repeated.
        """
        __tracebackhide__ = True
        loss = self.run.lost_device.loss
        if loss is None or arch == CPU:
            return
        if loss.reported and loss.test != self.item.nodeid:
            self.skip(str(loss))
        raise PluginFailure(
            Diagnostic(
                "TRT721",
                str(loss),
                {"test": loss.test, "status": loss.status},
                remedy=Remedy(
                    "fix that test, or run it in its own process. Until pytest restarts, no test "
                    "in this process can use the GPU."
                ),
            )
        )

    def _read(self, path: Path) -> OnnxModel:
        # One for the whole test: what is compared belongs together.
        models, marker = state_of(self.item).models, self.model_marker
        key = path, marker.custom_ops, marker.plugin_libraries
        if key not in models:
            with self._task(f"reading {path.name}") as say:
                models[key] = self._with_libraries(self.run.model(path, say))
        return models[key]

    def _with_libraries(self, model: OnnxModel) -> OnnxModel:
        """Return a model with the libraries of operators that the marker or the options name."""
        custom_ops, plugins = self.model_marker.custom_ops, self.model_marker.plugin_libraries
        if plugins is None:
            plugins = self.run.settings.plugin_library
        if not (custom_ops or plugins):
            return model
        from pytest_trt.backends.conversion.custom_ops import library_path

        paths = [library_path(one) if isinstance(one, str) else one for one in custom_ops]
        return replace(
            model,
            custom_ops=tuple(map(self.run.library, paths)),
            plugin_libraries=tuple(map(self.run.library, plugins)),
        )

    def _task(self, title: str) -> Any:
        return progress_of(self.request.config).task(title)


def ended_by(
    error: BaseException, engine: Engine, where: str, *, in_reference: bool = False
) -> str:
    """Return which run an error ended, and the error, in one line."""
    message = error.message if isinstance(error, PytestTrtError) else str(error)
    line = next(iter(message.splitlines()), "")
    name, precision = engine.model.path.name, engine.spec.precision
    of = "trt_reference raised " if in_reference else ""
    return f"{name} {precision} at {where}: {of}{type(error).__name__}: {line}"


def _fail_here(diagnostics: Sequence[Diagnostic]) -> NoReturn:
    """Fail at the line that ran the engine, for a debugger to stop there."""
    __tracebackhide__ = True
    raise CheckFailure(*diagnostics, pytrace=True)
