"""What is done about the worst run of a test: the search for the bad layer, and a bundle."""

from __future__ import annotations

import math
import shlex
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from pytest_trt.accuracy.check import ConsistencyCheck, fault_of
from pytest_trt.accuracy.evidence import AnyRun, Evidence
from pytest_trt.accuracy.reference_names import ReferenceNames
from pytest_trt.accuracy.repeatable import RANDOM_OPERATORS
from pytest_trt.accuracy.result import UNMEASURED
from pytest_trt.diagnostics import Diagnostic, PytestTrtError, Remedy, as_typed
from pytest_trt.engine.protocols import BuildRequest, Plan, Progress
from pytest_trt.engine.spec import CALIBRATED, FULL_PRECISIONS, EngineSpec
from pytest_trt.onnx.file import OnnxModel
from pytest_trt.plugin.run import TrtRun
from pytest_trt.tensors.calibration_data import CalibrationData
from pytest_trt.tensors.spec import Tensors

if TYPE_CHECKING:
    from pytest_trt.precision.explain import About, Fp32Trial
    from pytest_trt.precision.localize import Case, Localization

#: Tests that fail and are searched in one run, by default: most fail for one reason.
MOST_SEARCHED = 3

#: What the parts of a search raise where its time is over.
TOO_SLOW = ("TRT301", "TRT345")

#: Precisions in which builders compute an activation with the layer before it, and round once.
_FUSING = frozenset(CALIBRATED)


def names_others(precisions: Iterable[str], precision: str) -> bool:
    """Whether a marker names other precisions that `keep_fp32=` would change too."""
    return bool({*precisions} - {precision, *FULL_PRECISIONS})


def runs_until(deadline_s: float, runs: Iterable[AnyRun]) -> Iterator[AnyRun]:
    """Yield runs until a time, in seconds of `time.monotonic`."""
    for one in runs:
        if time.monotonic() >= deadline_s:
            return
        yield one


@dataclass(frozen=True, slots=True)
class LayerSearch:
    """Searches the engines of one check of a test.

    Attributes:
        run: What all tests share.
        check: The check, which retains the worst run of each engine.
        reference: The model that gives the reference.
        names: What it calls inputs and outputs.
        has_own_reference: Whether an object of the project gives the reference instead.
        calibration: Gives the inputs that int8 engines are calibrated on.
        precisions: Those that the marker names.
        test: The test as pytest takes it.
    """

    run: TrtRun
    check: ConsistencyCheck
    reference: OnnxModel
    names: ReferenceNames
    calibration: Callable[[], object]
    has_own_reference: bool
    precisions: tuple[str, ...] = ()
    test: str = ""

    def diagnostics(self, progress: Progress) -> Iterator[Diagnostic]:
        """Yield what was found of each engine whose worst run was retained."""
        if self.run.settings.localize == "never":
            return
        for one in self.check.evidence():
            if self.run.settings.localize == "auto":
                if self.run.searched >= MOST_SEARCHED:
                    return
                self.run.searched += 1
            found = self._searched(one, progress)
            if found is not None:
                yield found

    def _searched(self, run: Evidence, progress: Progress) -> Diagnostic | None:
        from pytest_trt.precision.explain import About, explain, not_searched

        engine, between_models = run.engine, self._is_between_models(run)
        about = About(
            engine.model.path.name,
            as_typed(engine.model.path),
            engine.spec.precision,
            engine.target.arch,
            self.reference.path.name if between_models else "",
            None if between_models else fault_of(engine),
            run.engine.spec.keep_fp32,
            several=names_others(self.precisions, run.engine.spec.precision),
        )
        if run.agrees and not between_models:
            return None  # the project's own reference differs, which is no model
        if run.comparison.kinds and run.comparison.kinds <= {*UNMEASURED}:
            return None  # nothing is known of its accuracy
        failed = [one for one in run.comparison.outputs if not one.passed]
        if failed and all(o.nonfinite.in_reference and o.tolerance.nan == "forbid" for o in failed):
            return None  # the failure blames the reference, and NaN has no relative error
        reason = self._obstacle(run)
        if reason:
            return not_searched(reason, about, Remedy())
        settings, build_s = self.run.settings, engine.plan_facts.build_s or 0.0
        if settings.localize == "auto" and build_s > settings.localize_timeout:
            return not_searched(*self._out_of_time(about, build_s))
        try:
            from pytest_trt.precision.localize import localize

            case = self._case(run, progress, between_models=between_models)
            found = localize(case, timeout_s=self.run.settings.localize_timeout)
            untried = between_models or run.comparison.passed
            trial = None if untried else self._fp32_trial(run, found, progress)
        except PytestTrtError as error:
            if error.diagnostic.code in TOO_SLOW:
                return not_searched(*self._out_of_time(about))
            return not_searched(error.message, about, Remedy())
        except Exception as error:  # advice must not take the place of a verdict
            return not_searched(f"{type(error).__name__}: {error}", about, Remedy())
        shown = explain(found, about, trial, failed=not run.comparison.passed)
        if found.first is not None and found.first.carried is None:
            return replace(shown, remedy=self._out_of_time(about)[2])
        return shown

    def _out_of_time(self, about: About, build_s: float = 0.0) -> tuple[str, About, Remedy]:
        limit_s = self.run.settings.localize_timeout
        reason = f"it takes longer than --trt-localize-timeout={limit_s:g}"
        if build_s:
            reason += f": building the engine took {build_s:.0f} s"
        needed_s = math.ceil(2 * max(limit_s, build_s))
        longer = f"pytest-trt localize {shlex.quote(self.test)} --timeout {max(600, needed_s)}"
        return reason, about, Remedy("To search it with more time:", (longer,))

    def _is_between_models(self, run: Evidence) -> bool:
        """Whether the engine computes what its model does, and another model is the reference."""
        other = self.reference.path != run.engine.model.path and not self.has_own_reference
        return other and run.agrees is True

    def _obstacle(self, run: Evidence) -> str:
        model = run.engine.model
        random = [op for op in RANDOM_OPERATORS if op in model.op_types]
        if random:
            return f"the model draws random numbers ({', '.join(random)})"
        if run.engine.finished and not self._is_between_models(run):
            return "a finished plan has no inner tensors that could be read"
        return ""

    def _case(self, run: Evidence, progress: Progress, *, between_models: bool) -> Case:
        from pytest_trt.precision.localize import LIMITS, Case
        from pytest_trt.precision.observe import EngineAgain, ModelAgain

        engine, settings = run.engine, self.run.settings
        own = self.names.engine_inputs(run.inputs)
        threads, seconds = settings.threads, settings.localize_timeout
        if between_models:
            return Case(
                self.reference,
                engine.model.path,
                self.names.reference_inputs(run.inputs),
                run.outputs,
                run.expected,
                ModelAgain(engine.model, own, threads, seconds),
                threads=threads,
                progress=progress,
            )
        backend = self.run.backend(engine.target.arch)
        return Case(
            engine.model,
            engine.model.path,
            own,
            run.outputs,
            run.expected,
            EngineAgain(
                engine,
                backend,
                own,
                self._samples,
                self.run.lost_device.release,
                progress,
                seconds,
            ),
            LIMITS.get(engine.spec.precision, LIMITS["fp32"]),
            fuses=backend is not self.run.embedded or engine.spec.precision in _FUSING,
            threads=threads,
            progress=progress,
        )

    def _fp32_trial(
        self, run: Evidence, found: Localization, progress: Progress
    ) -> Fp32Trial | None:
        """Return what becomes of the outputs where the first bad layer stays in FP32.

        With the layers that read it, where it alone is not enough: a value beyond FP16 is cast to
        it where they are FP16.
        """
        first, spec = found.first, run.engine.spec
        if first is None or spec.precision in FULL_PRECISIONS:
            return None
        trial: Fp32Trial | None = None
        # A plan is loaded for each of the other runs, of which there may be thousands.
        deadline_s = time.monotonic() + self.run.settings.localize_timeout - found.seconds
        for layers in ((first.node,), (first.node, *first.readers)):
            if found.seconds > self.run.settings.localize_timeout / 2 or (trial and trial.passes):
                break
            changed = replace(spec, keep_fp32=(*spec.keep_fp32, *layers))
            with suppress(PytestTrtError, OSError):
                new = self._tried(run, changed, layers, deadline_s, progress)
                better = trial is None or new.passed > trial.passed
                if better or (trial and new.error < trial.error / 2):
                    trial = new
        return trial

    def _tried(
        self,
        run: Evidence,
        spec: EngineSpec,
        layers: tuple[str, ...],
        deadline_s: float,
        progress: Progress,
    ) -> Fp32Trial:
        """Return what becomes of the retained runs with an engine of another spec, until a time."""
        from pytest_trt.precision.explain import Fp32Trial
        from pytest_trt.precision.localize import outputs_error
        from pytest_trt.precision.observe import run_plan

        engine, release = run.engine, self.run.lost_device.release
        backend = self.run.backend(engine.target.arch)
        samples = self._samples() if engine.route.needs_calibration else ()
        with TemporaryDirectory(prefix="pytest-trt-") as folder:
            request = BuildRequest(
                engine.model, spec, engine.target, Path(folder), samples, progress
            )
            plan = Plan(request.directory / backend.build(request).plan_name)

            def outputs(inputs: Tensors) -> Tensors:
                own = self.names.engine_inputs(inputs)
                return run_plan(backend, request, plan, own, release)

            worst = outputs(run.inputs)
            passed = [run.judge(worst).passed]
            for one in runs_until(deadline_s, run.others) if all(passed) else ():
                passed.append(one.judge(outputs(one.inputs)).passed)
        return Fp32Trial(
            layers,
            error=outputs_error(worst, run.expected),
            passed=sum(passed),
            tried=len(passed),
            runs=run.runs,
        )

    def _samples(self) -> CalibrationData:
        inputs = self.check.evidence()[0].engine.model.inputs
        return CalibrationData.of(self.calibration(), inputs)


def bundles(
    run: TrtRun, check: ConsistencyCheck, test: str, progress: Progress
) -> Iterator[Diagnostic]:
    """Write a bundle that repeats the worst run of each engine that fails; yield where they are."""
    folder = run.settings.repro
    if folder is None:
        return
    from pytest_trt.precision.repro import write_bundle

    for one in check.evidence():
        if not one.comparison.passed:
            progress("writing a bundle")
            yield write_bundle(folder, test, one)
