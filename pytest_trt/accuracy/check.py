"""The consistency check of one test: every run compared, one result for each engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np

from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.continued import ContinuedRuns
from pytest_trt.accuracy.earlier import FirstRuns
from pytest_trt.accuracy.evidence import AnyRun, Evidence, Retained, copied
from pytest_trt.accuracy.explanation import explain, explain_stored, fact
from pytest_trt.accuracy.invariants import Invariants, ObservedRun
from pytest_trt.accuracy.judge import gravest
from pytest_trt.accuracy.metric_checks import MetricCheck
from pytest_trt.accuracy.moved_rows import moved_rows
from pytest_trt.accuracy.other_reference import OtherReference
from pytest_trt.accuracy.repeatable import RANDOM_OPERATORS
from pytest_trt.accuracy.resolve import EXACT
from pytest_trt.accuracy.result import UNMEASURED, AccuracyResult, Against, Comparison, merge_runs
from pytest_trt.accuracy.sketch import Sketch
from pytest_trt.accuracy.stored import Stored, compare_stored
from pytest_trt.accuracy.subject import CalibratedBy, MovedRows, Subject, Tried
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic, Remedy, as_typed
from pytest_trt.engine.build import Engine
from pytest_trt.engine.known_faults import KnownFault, known_fault
from pytest_trt.engine.session import CallingLine
from pytest_trt.tensors.calibration import RangeWatch
from pytest_trt.tensors.containers import Items, description, items_of
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import CPU, Verdict
from pytest_trt.wording import count

#: Gives options, as they are typed, and what an engine with them returns for inputs.
Attempts: TypeAlias = Callable[[Engine, Tensors], Iterable[tuple[str, Tensors]]]

#: The most notes of a build that a failure repeats.
_NOTES = 4

#: Bytes of inputs and references of all runs of one engine that are retained, to try advice on.
_RETAINED_BYTES = 64_000_000

#: The most failing runs of an engine that are remembered one by one, the worst first.
_WORST = 10

#: Why a test fails that never ran an engine.
NOTHING_COMPARED = Diagnostic(
    "TRT160",
    "trt_consistency compared nothing: the test never called trt_session.run",
    {"check": "trt_consistency"},
    remedy=Remedy(
        "Run the engine through the trt_session fixture (`trt_session.run(inputs)`), or remove "
        "the marker."
    ),
)


class StoredReference(Protocol):
    """The stored answers of a test, and what becomes of them."""

    def compares_model(self) -> bool:
        """Whether a run is compared with the model's own outputs, also or instead."""

    def answer(self, inputs: Tensors) -> Mapping[str, Stored] | None:
        """Return what is stored for inputs; None where a run is compared with nothing stored."""

    def measure(self, engine: Engine, inputs: Tensors, compared: Callable[[], Comparison]) -> None:
        """Measure a run against the answers that may be stored instead, if there are any.

        Args:
            engine: What ran.
            inputs: Its inputs.
            compared: Compares its outputs with the model's own.
        """

    def about(self) -> tuple[str, ...]:
        """Return lines about what is stored: when, why, of which model."""

    @property
    def changed_since(self) -> str:
        """The stored answers, if the model file has changed since: "the answers of commit 12ab"."""

    @property
    def argument(self) -> str:
        """The test as pytest takes it where the run was started."""

    @property
    def update_tests(self) -> Sequence[str]:
        """The test and those that share what is stored, as pytest takes them."""

    @property
    def update_command(self) -> str:
        """The command that replaces what is stored."""

    @property
    def update_options(self) -> Sequence[str]:
        """Options of the run that this command repeats."""


#: Operators that choose experts, codes of a code book, or boxes. ArgMax mostly gives an output.
_CHOOSING = ("ArgMin", "NonMaxSuppression", "TopK")


@dataclass(frozen=True, slots=True)
class _FailedRun:
    number: int
    where: str
    shapes: str
    comparison: Comparison
    agrees: bool | None
    engine_differs: str = ""
    model_changed: Comparison | None = None
    no_reference: str = ""
    moved: MovedRows | None = None

    @property
    def place(self) -> str:
        return f"run {self.number} at {self.where}"


@dataclass(slots=True)
class _EngineRuns:
    """All runs of one engine: the figures over all of them, and the worst that failed."""

    engine: Engine
    against: Against = "model"
    runs: int = 0
    failed: int = 0
    merged: Comparison = field(default_factory=lambda: Comparison(()))
    worst: list[_FailedRun] = field(default_factory=list)
    tried: Tried | None = None
    evidence: Evidence | None = None
    every: list[AnyRun] = field(default_factory=list)
    every_bytes: int = 0

    def add(self, comparison: Comparison) -> None:
        self.runs += 1
        self.failed += not comparison.passed
        self.merged = merge_runs([self.merged, comparison])

    def add_failed(self, run: _FailedRun) -> None:
        # sort() leaves runs that are equally far off in the order of their numbers.
        self.worst.append(run)
        self.worst.sort(key=lambda one: (-one.comparison.used, -one.comparison.excess))
        del self.worst[_WORST:]


class ConsistencyCheck:
    """Compares an engine's outputs with the reference, run by run.

    Attributes:
        metrics: Gives the metrics that judge whole outputs of an engine.
        invariants: What has to hold of every run whatever it is compared with; None for nothing.

    Args:
        tolerances: Gives the tolerance of every output of an engine.
        reference: Gives the reference outputs for inputs.
        metrics: Gives the metrics that judge whole outputs of an engine.
        several: Whether the test runs in several precisions.
        other: The model that gives the reference, where it is not the model under test: a run that
            fails is compared with the engine's own model too, which shows which of the two differs.
        attempts: Gives the outputs for inputs under options that a remedy may name; they are
            compared for the first run of an engine that fails.
        calibrated_by: See `Subject`.
        on_failure: Receives why a run fails, right after it was compared, such as to stop a
            debugger at its line. All runs are judged together when the test is over, anyway.
        histogram: Whether to count how errors are spread, for a report.
        stored: Stored answers, which runs are compared with also or instead.
        invariants: See the attribute.
        retained: Of which runs the worst is retained, to be repeated.
        test: The test as pytest takes it, for commands.
        given: Inputs whose range of values the markers give.
        first_runs: What the tests of a run share.
        continued: Follows runs that continue from outputs of the run before.
    """

    def __init__(
        self,
        tolerances: Callable[[Engine], Mapping[str, Tolerance]],
        reference: Callable[[Tensors], Tensors],
        *,
        metrics: Callable[[Engine], Sequence[MetricCheck]] = lambda _: (),
        several: bool = False,
        other: OtherReference | None = None,
        attempts: Attempts | None = None,
        calibrated_by: CalibratedBy = "",
        on_failure: Callable[[Sequence[Diagnostic]], None] | None = None,
        histogram: bool = False,
        stored: StoredReference | None = None,
        invariants: Invariants | None = None,
        retained: Retained = "none",
        test: str = "",
        given: Collection[str] = (),
        first_runs: FirstRuns | None = None,
        continued: ContinuedRuns | None = None,
    ) -> None:
        self._tolerances = tolerances
        self._reference = reference
        self.metrics = metrics
        self._several = several
        self._other = other
        self._attempts = attempts
        self._calibrated_by = calibrated_by
        self._on_failure = on_failure
        self._histogram = histogram
        self._stored = stored
        self.invariants = invariants
        self._retained = retained
        self._test = test
        self._engines: dict[tuple[str, Against], _EngineRuns] = {}
        self._given = given
        self._first_runs = first_runs or FirstRuns()
        self._continued = continued
        self._constants: dict[str, dict[str, Any]] = {}
        self._watches: dict[str, tuple[Engine, RangeWatch]] = {}

    def twin(
        self,
        invariants: Invariants | None = None,
        *,
        reference: Callable[[Tensors], Tensors] | None = None,
    ) -> ConsistencyCheck:
        """Return a check with the same tolerances and metrics that has compared nothing.

        Args:
            invariants: The invariants that it requires.
            reference: Gives the reference outputs; by default what gives them to this check.
        """
        return ConsistencyCheck(
            self._tolerances,
            reference or self._reference,
            metrics=self.metrics,
            several=self._several,
            stored=self._stored,
            invariants=invariants,
            test=self._test,
        )

    def reference(self, inputs: Tensors) -> Tensors:
        """Return what outputs should be."""
        return self._reference(inputs)

    def expected(self, engine: Engine, inputs: Tensors) -> tuple[Tensors, Mapping[str, Tolerance]]:
        """Return what outputs should be, item by item, and how far from it each may be."""
        __tracebackhide__ = True
        return self._by_item(engine, self._reference(inputs))

    def model_differs(self, inputs: Tensors, reference: Tensors) -> Mapping[str, str]:
        """Return outputs of which the model itself differs from its reference, and why."""
        return self._other.differing(inputs, reference) if self._other is not None else {}

    def _by_item(
        self, engine: Engine, reference: Tensors
    ) -> tuple[Tensors, Mapping[str, Tolerance]]:
        items = items_of(reference, engine.model.outputs)
        return items.tensors, _by_item(items, self._tolerances(engine))

    def observe(self, engine: Engine, inputs: Tensors, outputs: Tensors, where: str) -> None:
        """Compare one run."""
        __tracebackhide__ = True
        self._watch_ranges(engine, inputs)
        self._watch_constants(engine, inputs)
        passed, judges = True, list[Callable[[Tensors], Comparison]]()
        if self._stored is None or self._stored.compares_model():
            passed &= self._compare_with_model(engine, inputs, outputs, where)
            judges.append(lambda of: self._compared(engine, inputs, of, self._reference(inputs)))
        if self._stored is not None:
            stored = self._stored.answer(inputs)
            self._stored.measure(
                engine,
                inputs,
                lambda: self._compared(engine, inputs, outputs, self._reference(inputs)),
            )
            if stored is not None:
                passed &= self._compare_with_stored(engine, inputs, outputs, where, stored)
                judge = partial(self._compared_with_stored, engine, inputs, stored=stored)
                judges.append(judge)
        if self.invariants is None:
            return
        run = ObservedRun(
            engine,
            inputs,
            outputs,
            f"run {self._number} at {where}, inputs {_shapes(inputs)}, {engine.toolchain}",
            self._subject(engine),
            compare=lambda of, actual, expected: self._compared(
                engine, of, actual, expected, incomplete=actual.keys() != outputs.keys(), own=True
            ),
            judge=lambda of: max(
                (judge(of) for judge in judges), key=lambda one: (not one.passed, one.used)
            ),
            reference=self._reference,
        )
        held = self.invariants.observe(run, passed=passed and bool(judges))
        if not held and self._on_failure is not None:
            self._on_failure(self.diagnostics())

    def _watch_ranges(self, engine: Engine, inputs: Tensors) -> None:
        statistics = engine.plan_facts.calibration
        if statistics is not None:
            watch = self._watches.setdefault(engine.key.digest, (engine, RangeWatch(statistics)))
            watch[1].add(inputs)

    def _watch_constants(self, engine: Engine, inputs: Tensors) -> None:
        """Remember the value of each input that has had only one; None once it varies."""
        values = self._constants.setdefault(engine.key.digest, {})
        for name, array in inputs.items():
            if getattr(array, "ndim", 0) > 1 and array.size > 1 and values.get(name, 0) is not None:
                value = array.flat[0]
                same = value == array.flat[-1] and value == values.get(name, value)
                values[name] = value if same and (array == value).all() else None

    def _constants_of(self, engine: Engine) -> dict[str, str]:
        """Return inputs that never varied, without those that the markers give.

        Zeros of integers are what an input has that is not used, such as kinds of tokens.
        """
        return {
            name: f"{value:g}" if isinstance(value, np.floating) else str(value)
            for name, value in self._constants.get(engine.key.digest, {}).items()
            if value is not None and name not in self._given
            if value != 0 or value.dtype.kind not in "iub"
        }

    def warnings(self) -> Iterator[Diagnostic]:
        """Yield inputs of runs that are beyond what the project calibrated an engine on."""
        if self._calibrated_by == "project":
            for engine, watch in self._watches.values():
                name = f"{engine.model.path.name} {engine.spec.precision}"
                yield from (one.diagnostic(name) for one in watch.outside())

    def added_up(self) -> Iterator[Diagnostic]:
        """Yield errors that add up over runs, each of which passed."""
        if self._continued is not None and not self.has_failed:
            yield from self._continued.notes()

    def _compare_with_model(
        self, engine: Engine, inputs: Tensors, outputs: Tensors, where: str
    ) -> bool:
        __tracebackhide__ = True
        reference = self._reference(inputs)

        def compared(actual: Tensors, expected: Tensors) -> Comparison:
            return self._compared(engine, inputs, actual, expected)

        comparison = self._compared(engine, inputs, outputs, reference, histogram=self._histogram)
        comparison = self._first_runs.compared(engine.key.digest, inputs, comparison, reference)
        known = self._engines.get((engine.key.digest, "model"))
        if self._other is not None and not comparison.passed and not (known and known.failed):
            self._other.require_repeatable(inputs, *self._by_item(engine, reference))
        agrees, differs = None, ""
        if self._other is not None and not comparison.passed:
            agrees, differs = self._other.agrees(
                inputs,
                comparison,
                lambda own: compared(outputs, own),
                lambda own: compared(own, reference),
            )
            if agrees is not False:
                self._other.require_evaluation_mode()
        runs = self._runs_of(engine, "model", comparison)
        judge = partial(compared, expected=reference)
        self._retain(runs, Evidence(engine, inputs, outputs, reference, comparison, agrees, judge))
        again = partial(self._compared, engine, reference=reference)
        self._remember(runs, inputs, reference, again)
        if comparison.passed:
            if self._continued is not None:
                self._continued.observe(
                    engine,
                    inputs,
                    outputs,
                    reference,
                    reference=self._reference,
                    compare=partial(self._compared_alone, engine, outputs),
                )
            return True
        if runs.failed == 1 and self._attempts is not None and not agrees:
            attempts = self._attempts(engine, inputs)
            runs.tried = _tried(attempts, lambda other: compared(other, reference))
        shapes = _shapes(inputs)
        moved = _moved(comparison, items_of(outputs, engine.model.outputs).tensors, reference)
        run = _FailedRun(self._number, where, shapes, comparison, agrees, differs, moved=moved)
        self._fail(runs, run)
        return False

    def _compare_with_stored(
        self,
        engine: Engine,
        inputs: Tensors,
        outputs: Tensors,
        where: str,
        stored: Mapping[str, Stored],
    ) -> bool:
        """Compare one run with stored answers; if it fails, the model's own outputs too."""
        __tracebackhide__ = True
        comparison = self._compared_with_stored(
            engine, inputs, outputs, stored, histogram=self._histogram
        )
        comparison = self._first_runs.compared(engine.key.digest, inputs, comparison, stored)
        runs = self._runs_of(engine, "stored", comparison)
        again = partial(self._compared_with_stored, engine, stored=stored)
        self._remember(runs, inputs, stored, again)
        if comparison.passed:
            self._retain_passed(runs, inputs, outputs, comparison, stored)
            return True
        changed = agrees = None
        no_reference = ""
        try:
            reference = self._reference(inputs)
            own = self._compared_with_stored(engine, inputs, reference, stored)
        except Exception as error:  # a model that only TensorRT can run, a server that stopped
            no_reference = str(error).partition("\n")[0] or type(error).__name__
        else:
            changed = None if own.kinds <= {*UNMEASURED} else own
            if changed is None:
                # The reference is right; where it is another model, this one may differ from it.
                if self._other is not None:
                    compared = partial(self._compared, engine, inputs, outputs)
                    agrees, _ = self._other.agrees(inputs, comparison, compared)
                judge = partial(self._compared_with_stored, engine, inputs, stored=stored)
                run = Evidence(engine, inputs, outputs, reference, comparison, agrees, judge)
                self._retain(runs, run)
        shapes = _shapes(inputs)
        self._fail(
            runs,
            _FailedRun(self._number, where, shapes, comparison, agrees, "", changed, no_reference),
        )
        return False

    def _retain_passed(
        self,
        runs: _EngineRuns,
        inputs: Tensors,
        outputs: Tensors,
        comparison: Comparison,
        stored: Mapping[str, Stored],
    ) -> None:
        """Retain a run that agrees with stored answers alone, if all runs are retained."""
        if self._retained != "all" or (runs.engine.key.digest, "model") in self._engines:
            return
        with suppress(Exception):  # a search is advice, and needs a reference; the verdict does not
            reference = self._reference(inputs)
            judge = partial(self._compared_with_stored, runs.engine, inputs, stored=stored)
            run = Evidence(runs.engine, inputs, outputs, reference, comparison, None, judge)
            self._retain(runs, run)

    def _retain(self, runs: _EngineRuns, run: Evidence) -> None:
        """Retain a run if it is the worst so far, of those that are retained."""
        wanted = self._retained == "all" or (
            self._retained == "failed" and not run.comparison.passed
        )
        if wanted and (runs.evidence is None or run.order > runs.evidence.order):
            runs.evidence = replace(
                run, inputs=copied(run.inputs), outputs=copied(run.outputs), number=runs.runs
            )

    def _remember(
        self,
        runs: _EngineRuns,
        inputs: Tensors,
        reference: Mapping[str, object],
        judge: Callable[[Tensors, Tensors], Comparison],
    ) -> None:
        """Remember a run, so that advice is tried on it too."""
        if self._retained == "none":
            return
        arrays = (*inputs.values(), *reference.values())
        runs.every_bytes += sum(getattr(one, "nbytes", 0) for one in arrays)
        if runs.every_bytes <= _RETAINED_BYTES:
            own = copied(inputs)
            runs.every.append(AnyRun(runs.runs, own, partial(judge, own)))

    def release(self) -> None:
        """Drop the runs that were retained: nothing will repeat them any more."""
        for runs in self._engines.values():
            runs.evidence = None
            runs.every.clear()
        self._continued = None

    def evidence(self) -> list[Evidence]:
        """Return the worst run of each engine, if it was retained; those that failed first."""
        found = [
            replace(
                one.evidence,
                others=tuple(each for each in one.every if each.number != one.evidence.number),
                runs=one.runs,
            )
            for one in self._engines.values()
            if one.evidence is not None and not self._has_same_cause(one)
        ]
        return sorted(found, key=lambda one: one.order, reverse=True)

    def _runs_of(self, engine: Engine, against: Against, comparison: Comparison) -> _EngineRuns:
        key = engine.key.digest, against
        runs = self._engines.setdefault(key, _EngineRuns(engine, against))
        runs.add(comparison)
        return runs

    def _fail(self, runs: _EngineRuns, run: _FailedRun) -> None:
        __tracebackhide__ = True
        runs.add_failed(run)
        if self._on_failure is not None:
            self._on_failure(self.diagnostics())

    def _compared_alone(self, engine: Engine, outputs: Tensors, reference: Tensors) -> Comparison:
        """Return outputs compared without metrics."""
        expected, tolerances = self._by_item(engine, reference)
        return compare_values(items_of(outputs, engine.model.outputs).tensors, expected, tolerances)

    def _compared(
        self,
        engine: Engine,
        inputs: Tensors,
        outputs: Tensors,
        reference: Tensors,
        *,
        histogram: bool = False,
        incomplete: bool = False,
        own: bool = False,
    ) -> Comparison:
        """Return outputs compared with a reference: elements, and metrics of whole outputs.

        Args:
            engine: What returned them.
            inputs: What it was given.
            outputs: What it returned.
            reference: What is right.
            histogram: Whether to count how errors are spread.
            incomplete: Whether outputs were left out on both sides; so are metrics that need them.
            own: Whether the reference is what the engine itself returned, whose NaN and infinities
                were judged already: here they only have to be the same.
        """
        items = items_of(outputs, engine.model.outputs)
        expected, tolerances = self._by_item(engine, reference)
        if own:
            tolerances = {
                name: replace(one, nan="match") if one.nan == "forbid" else one
                for name, one in tolerances.items()
            }
        comparison = compare_values(items.tensors, expected, tolerances, histogram=histogram)
        metrics = (
            one.measure(
                outputs,
                reference,
                inputs,
                trial=self._needs_trial(engine, "model", one, comparison),
            )
            for one in self.metrics(engine)
            if not incomplete or (one.judges is not None and reference.keys() >= {*one.judges})
        )
        return replace(_with_owners(comparison, items.owners), metrics=tuple(metrics))

    def _compared_with_stored(
        self,
        engine: Engine,
        inputs: Tensors,
        outputs: Tensors,
        stored: Mapping[str, Stored],
        *,
        histogram: bool = False,
    ) -> Comparison:
        """Return outputs compared with stored ones: elements, and metrics of whole outputs."""
        items = items_of(outputs, engine.model.outputs)
        tolerances = _by_item(items, self._tolerances(engine))
        comparison = compare_stored(items.tensors, stored, tolerances, histogram=histogram)
        whole = {name: one for name, one in stored.items() if not isinstance(one, Sketch)}
        sketches = [name for name in stored if name not in whole]
        metrics = tuple(
            one.of_sketches(lacking)
            if (lacking := [name for name in sketches if one.judges_output(name)])
            else one.measure(
                items.tensors,
                whole,
                inputs,
                trial=self._needs_trial(engine, "stored", one, comparison),
            )
            for one in self.metrics(engine)
        )
        return replace(_with_owners(comparison, items.owners), metrics=metrics)

    def _needs_trial(
        self, engine: Engine, against: Against, metric: MetricCheck, comparison: Comparison
    ) -> bool:
        """Whether a metric alone judges an output, or would fail what its elements would not.

        What one run showed to fail needs no trial in others: each is another pass or two.
        """
        runs = self._engines.get((engine.key.digest, against))
        if runs and any(
            (one.name, one.output) == (metric.name, metric.output)
            and not (one.one_value or one.same_samples or one.unseen)
            for one in runs.merged.metrics
        ):
            return False
        return any(
            not one.tolerance.elementwise
            or one.same_samples
            or one.least is not None
            or one.unseen is not None
            for one in comparison.outputs
            if metric.judges_output(one.name)
        )

    @property
    def _number(self) -> int:
        return max(
            sum(one.runs for one in self._engines.values() if one.against == against)
            for against in ("model", "stored")
        )

    @property
    def engines(self) -> tuple[Engine, ...]:
        """The engines whose runs were compared."""
        return tuple({key: runs.engine for (key, _), runs in self._engines.items()}.values())

    @property
    def has_failed(self) -> bool:
        """Whether a run was compared that failed, or an invariant does not hold."""
        return any(one.failed for one in self._engines.values()) or any(self._of_invariants())

    def results(self) -> list[AccuracyResult]:
        """Return what was found, one result per engine that ran."""
        return [self._result(runs) for runs in self._engines.values()]

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return why the test fails: one diagnostic per engine that failed, the worst first."""
        if not self._engines:
            return (NOTHING_COMPARED,)
        failed = [runs for runs in self._engines.values() if runs.failed]
        failed.sort(key=lambda runs: -runs.merged.used)
        explained = (runs for runs in failed if not self._has_same_cause(runs))
        return (*map(self._diagnostic, explained), *self._of_invariants())

    def _has_same_cause(self, runs: _EngineRuns) -> bool:
        """Whether an engine differs from stored answers for the reason that is explained anyway.

        Where the reference agrees with the stored answers, what differs from one differs from both.
        """
        model = self._engines.get((runs.engine.key.digest, "model"))
        if runs.against != "stored" or not runs.failed or model is None or not model.failed:
            return False
        stored = runs.worst[0]
        return (
            stored.model_changed is None
            and not stored.no_reference
            and stored.agrees == model.worst[0].agrees
            and not stored.comparison.kinds <= {*UNMEASURED}
        )

    def _of_invariants(self, engine: Engine | None = None) -> Iterator[Diagnostic]:
        """Yield why invariants fail the test: those of one engine, or of all."""
        if self.invariants is not None:
            for one in self.engines if engine is None else (engine,):
                yield from self.invariants.diagnostics(one)

    def _result(self, runs: _EngineRuns) -> AccuracyResult:
        engine, merged = runs.engine, runs.merged
        # Of an engine with a result for each thing that it was compared with, the first has them.
        first = next(one for one in self._engines.values() if one.engine.key == engine.key) is runs
        invariants = self.invariants.outcomes(engine) if self.invariants and first else ()
        violations = tuple(self._of_invariants(engine)) if first else ()
        explained = runs.failed and not self._has_same_cause(runs)
        judged = [one for one in merged.outputs if one.tolerance.elementwise or not one.passed]
        worst = max(judged, key=lambda output: output.used, default=None)
        return AccuracyResult(
            model=engine.model.path.name,
            precision=engine.spec.precision,
            arch=engine.target.arch,
            verdict=Verdict.FAILED if runs.failed or violations else Verdict.PASSED,
            runs=runs.runs,
            failed_runs=runs.failed,
            worst_output=worst.name if worst else None,
            used=worst.used if worst else None,
            outputs=merged.outputs,
            findings=merged.findings,
            diagnostics=(
                *([self._diagnostic(runs)] if explained else []),
                *violations,
            ),
            key=engine.key.digest,
            against=runs.against,
            metrics=merged.metrics,
            invariants=invariants,
            constants=self._constants_of(engine),
        )

    def _diagnostic(self, runs: _EngineRuns) -> Diagnostic:
        """Explain the worst run in full, and give the next nine a line each."""
        worst, *others = runs.worst
        engine, total = runs.engine, self._number
        which = f"run {worst.number} of {total} " if total > 1 else ""
        context = [
            f"{which}at {worst.where}, inputs {worst.shapes}, {engine.toolchain}",
            *(f"{one.place}, inputs {one.shapes}: {fact(one.comparison)}" for one in others),
        ]
        stored, changed = self._engines.get((engine.key.digest, "stored")), ""
        if stored is not None and stored is not runs and self._has_same_cause(stored):
            changed = self._stored.changed_since if self._stored is not None else ""
            context.append(f"the stored answers differ too: {fact(stored.worst[0].comparison)}")
        if runs.failed > len(runs.worst):
            context.append(
                f"and {count(runs.failed - len(runs.worst), 'other run')} failed by less"
            )
        if runs.runs > 1:
            context.append(f"{runs.failed:,} of {count(runs.runs, 'run')} of this engine failed")
        if "nonfinite" in worst.comparison.kinds:
            context += _build_notes(engine)
        subject = replace(
            self._subject(engine),
            other=self._other.as_subject(
                agrees=worst.agrees, engine_differs=worst.engine_differs, changed=changed
            )
            if self._other
            else None,
            tried=runs.tried,
            moved=worst.moved,
        )
        if runs.against == "stored" and self._stored is not None:
            context += self._stored.about()
            found = explain_stored(
                worst.comparison,
                worst.model_changed,
                subject,
                runs=runs.merged,
                context=context,
                update=self._stored.update_command,
                no_reference=worst.no_reference,
            )
            named = {
                "test_argument": self._stored.argument,
                "update_tests": list(self._stored.update_tests),
                "update_options": list(self._stored.update_options),
            }
            found = replace(found, facts={**found.facts, **named})
        else:
            found = explain(worst.comparison, subject, runs=runs.merged, context=context)
        facts = {**found.facts, "runs": runs.runs, "failed_runs": runs.failed}
        if isinstance(worst.where, CallingLine) and worst.where.line:
            facts |= {"file": Path(worst.where.file).name, "line": worst.where.line}
        return replace(found, facts=facts)

    def _subject(self, engine: Engine) -> Subject:
        watch = self._watches.get(engine.key.digest)
        return Subject(
            model=engine.model.path.name,
            path=as_typed(engine.model.path),
            precision=engine.spec.precision,
            arch=engine.target.arch,
            random=tuple(op for op in RANDOM_OPERATORS if op in engine.model.op_types),
            choosing=tuple(op for op in _CHOOSING if op in engine.model.op_types),
            several=self._several,
            calibrated_by=self._calibrated_by,
            plan=as_typed(engine.plan) if engine.finished else "",
            outside=watch[1].outside() if watch else (),
            fault=fault_of(engine),
            test=self._test,
        )


def fault_of(engine: Engine) -> KnownFault | None:
    """Return the known fault of what runs an engine, on this CPU; None for none."""
    toolchain = engine.toolchain
    if engine.target.arch != CPU:
        return None
    return known_fault(toolchain.product, toolchain.version, engine.spec.precision)


def _shapes(inputs: Tensors) -> str:
    return ", ".join(f"{name} {description(value)}" for name, value in inputs.items())


def _moved(comparison: Comparison, outputs: Tensors, reference: Tensors) -> MovedRows | None:
    """Return the rows that only changed places in the output that a failure is about."""
    finding, output = gravest(comparison)
    if finding.kind != "mismatch" or output is None:
        return None
    actual, expected = outputs.get(output.name), reference.get(output.name)
    if not isinstance(actual, np.ndarray) or not isinstance(expected, np.ndarray):
        return None
    return moved_rows(actual, expected, output.tolerance)


def _by_item(reference: Items, tolerances: Mapping[str, Tolerance]) -> Mapping[str, Tolerance]:
    """Return the tolerance of each item: its output's, and equality for the keys of a map."""
    of_items = {
        item: EXACT if item in reference.keys else tolerances[owner]
        for item, owner in reference.owners.items()
        if owner in tolerances
    }
    names = tolerances.keys() & reference.tensors.keys()
    return {**{name: tolerances[name] for name in names}, **of_items}


def _tried(
    attempts: Iterable[tuple[str, Tensors]], compared: Callable[[Tensors], Comparison]
) -> Tried | None:
    """Return which option makes a run pass; None where nothing could be tried."""
    options: list[str] = []
    for option, outputs in attempts:
        options.append(option)
        if compared(outputs).passed:
            return Tried(tuple(options), option)
    return Tried(tuple(options)) if options else None


def _with_owners(comparison: Comparison, owners: Mapping[str, str]) -> Comparison:
    if not owners:
        return comparison
    outputs = tuple(replace(one, item_of=owners.get(one.name, "")) for one in comparison.outputs)
    return replace(comparison, outputs=outputs)


def _build_notes(engine: Engine) -> list[str]:
    """What the build noted about values that the precision cannot hold: where overflows begin."""
    notes = [f"at build time: {note}" for note in engine.notes[:_NOTES]]
    more = len(engine.notes) - _NOTES
    return [*notes, f"and {count(more, 'more note')}, in the report"] if more > 0 else notes
