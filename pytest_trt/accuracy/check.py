"""The consistency check of one test: every run compared, one verdict at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explain import explain
from pytest_trt.accuracy.findings import Comparison
from pytest_trt.accuracy.headline import fact
from pytest_trt.accuracy.other_reference import OtherReference
from pytest_trt.accuracy.resolve import resolve_tolerances
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic, Fact, Remedy
from pytest_trt.engine.build import Engine
from pytest_trt.plugin.markers import ConsistencyMarker
from pytest_trt.report.record import ConsistencyRecord
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Verdict

#: The most notes of a build that a failure repeats.
_NOTES = 4

#: The most failing runs of which a failure has a line each.
_RUNS = 10

#: Why a test fails that never ran the engine.
NOTHING_COMPARED = Diagnostic(
    "TRT160",
    "trt_consistency compared nothing: the test never called trt_session.run, so it cannot fail",
    {"check": "trt_consistency"},
    remedy=Remedy(
        "run the engine through the trt_session fixture (`trt_session.run(inputs)`), or remove "
        "the marker."
    ),
)


@dataclass(frozen=True, slots=True)
class _Run:
    engine: Engine
    shapes: str
    where: str
    comparison: Comparison
    agrees: bool | None = None

    @property
    def used(self) -> float:
        """The largest share of a tolerance that any output used."""
        return max((output.used or 0.0 for output in self.comparison.outputs), default=0.0)


class ConsistencyCheck:
    """Compares an engine's outputs with the reference, run by run.

    Args:
        marker: The test's tolerances.
        ini: Tolerances by precision from the ini file.
        several: Whether the test runs in several precisions.
        reference: Gives the reference outputs for inputs.
        other: The model that gives them, where that is another one: a run that fails is compared
            with the engine's own model too, which tells which of the two is to blame.
        on_failure: Receives why a run fails, right after it was compared, such as to stop a
            debugger at its line. All runs are judged together when the test is over, anyway.
        histogram: Whether to count how errors are spread, for a report.
    """

    def __init__(
        self,
        marker: ConsistencyMarker,
        ini: Mapping[str, Mapping[str, object]],
        reference: Callable[[Tensors], Tensors],
        *,
        several: bool = False,
        other: OtherReference | None = None,
        on_failure: Callable[[Sequence[Diagnostic]], None] | None = None,
        histogram: bool = False,
    ) -> None:
        self._marker = marker
        self._ini = ini
        self._reference = reference
        self._several = several
        self._other = other
        self._on_failure = on_failure
        self._histogram = histogram
        self._runs: list[_Run] = []

    def twin(self) -> ConsistencyCheck:
        """Return a check that asks the same and has compared nothing."""
        return ConsistencyCheck(self._marker, self._ini, self._reference, several=self._several)

    def asked(self, engine: Engine, inputs: Tensors) -> tuple[Tensors, Mapping[str, Tolerance]]:
        """Return what outputs should be, and how far from it each may be."""
        marker = self._marker.at(engine.spec.precision)
        tolerances = resolve_tolerances(
            engine.model.outputs,
            precision=engine.spec.precision,
            marker=marker.tolerance,
            per_output=marker.outputs,
            ini=self._ini,
        )
        return self._reference(inputs), tolerances

    def observe(self, engine: Engine, inputs: Tensors, outputs: Tensors, where: str) -> None:
        """Compare one run.

        Args:
            engine: What ran.
            inputs: What it was given.
            outputs: What it returned.
            where: The line that ran it.
        """
        __tracebackhide__ = True
        reference, tolerances = self.asked(engine, inputs)
        comparison = compare_outputs(outputs, reference, tolerances, histogram=self._histogram)
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        agrees = None
        if self._other is not None and not comparison.passed:
            agrees = self._other.agrees(inputs, outputs, tolerances)
        self._runs.append(_Run(engine, shapes, where, comparison, agrees))
        if self._on_failure is not None and not comparison.passed:
            self._on_failure(self.diagnostics())

    @property
    def has_failed(self) -> bool:
        """Whether a run was compared that does not pass."""
        return any(not run.comparison.passed for run in self._runs)

    def records(self) -> list[ConsistencyRecord]:
        """Return what was found, one record per engine that ran."""
        by_engine: dict[str, list[_Run]] = {}
        for run in self._runs:
            by_engine.setdefault(run.engine.key.digest, []).append(run)
        return [_record(runs) for runs in by_engine.values()]

    def diagnostics(self) -> tuple[Diagnostic, ...]:
        """Return why the test fails; nothing when every run passed.

        The worst run is explained in full, the other failing runs get a line each.
        """
        if not self._runs:
            return (NOTHING_COMPARED,)
        failed = sorted(
            (run for run in self._runs if not run.comparison.passed),
            key=lambda run: run.used,
            reverse=True,
        )
        if not failed:
            return ()
        worst, *others = failed
        engine, other = worst.engine, self._other
        headline, *details = explain(
            worst.comparison,
            subject=f"{_named(engine)}{f', against {other.name}' if other else ''}",
            precision=engine.spec.precision,
            several=self._several,
            other=other.told(agrees=worst.agrees) if other else None,
        )
        fix = details.pop().removeprefix("Fix: ")
        details = [self._circumstances(worst), *(line[2:] for line in details)]
        details += [
            f"fails too: {self._circumstances(run)}: {fact(run.comparison)}"
            for run in others[: _RUNS - 1]
        ]
        if len(failed) > _RUNS:
            details.append(f"and {len(failed) - _RUNS} more runs fail by less")
        if len(self._runs) > 1:
            passed = len(self._runs) - len(failed)
            details.append(f"{passed} of {len(self._runs)} runs passed")
        if worst.comparison.has_nonfinite:
            details += _build_notes(engine)
        facts: dict[str, Fact] = {
            "model": engine.model.path.name,
            "precision": engine.spec.precision,
            "arch": engine.target.arch,
            "runs": len(self._runs),
            "failed_runs": len(failed),
        }
        return (Diagnostic("TRT400", headline, facts, tuple(details), Remedy(fix)),)

    def _circumstances(self, run: _Run) -> str:
        number = self._runs.index(run) + 1
        which = f"run {number} of {len(self._runs)} at {run.where}"
        return f"{which}, inputs {run.shapes}, {run.engine.toolchain}"


def _build_notes(engine: Engine) -> list[str]:
    """What the build said of values that the precision cannot hold: where an overflow begins."""
    lines = [f"when it was built: {note}" for note in engine.notes[:_NOTES]]
    more = len(engine.notes) - _NOTES
    return [*lines, f"and {more} more notes, in the report"] if more > 0 else lines


def _named(engine: Engine) -> str:
    return f"{engine.model.path.name} in {engine.spec.precision} on {engine.target.arch}"


def _record(runs: list[_Run]) -> ConsistencyRecord:
    engine = runs[0].engine
    outputs = [output for run in runs for output in run.comparison.outputs]
    worst = max(outputs, key=lambda output: output.used or 0.0, default=None)
    passed = all(run.comparison.passed for run in runs)
    return ConsistencyRecord(
        model=engine.model.path.name,
        precision=engine.spec.precision,
        arch=engine.target.arch,
        verdict=(Verdict.PASSED if passed else Verdict.FAILED).value,
        runs=len(runs),
        worst_output=worst.name if worst else None,
        used=worst.used if worst else None,
        tolerance=str(worst.tolerance) if worst else "",
        comparisons=tuple(run.comparison.to_dict() for run in runs),
        key=engine.key.digest,
    )
