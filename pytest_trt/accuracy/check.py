"""The consistency check of one test: every run compared, one verdict at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_trt.accuracy.compare import compare_outputs
from pytest_trt.accuracy.explain import explain
from pytest_trt.accuracy.findings import Comparison
from pytest_trt.accuracy.headline import fact
from pytest_trt.accuracy.other_reference import OtherReference
from pytest_trt.accuracy.resolve import resolve_tolerances
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.engine.build import Engine
from pytest_trt.plugin.failure import CheckFailure
from pytest_trt.plugin.markers import ConsistencyMarker
from pytest_trt.report.record import ConsistencyRecord
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Verdict

#: The most notes of a build that a failure repeats.
_NOTES = 4


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
        fail_at_once: Whether the first run that does not pass raises where it is called, for a
            debugger to stop there; otherwise all runs are judged together when the test is over.
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
        fail_at_once: bool = False,
        histogram: bool = False,
    ) -> None:
        self._marker = marker
        self._ini = ini
        self._reference = reference
        self._several = several
        self._other = other
        self._fail_at_once = fail_at_once
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

        Raises:
            CheckFailure: It does not pass, and that is to be said at once.
        """
        __tracebackhide__ = True
        reference, tolerances = self.asked(engine, inputs)
        comparison = compare_outputs(outputs, reference, tolerances, histogram=self._histogram)
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        agrees = None
        if self._other is not None and not comparison.passed:
            agrees = self._other.agrees(inputs, outputs, tolerances)
        self._runs.append(_Run(engine, shapes, where, comparison, agrees))
        if self._fail_at_once and not comparison.passed:
            raise CheckFailure(self.failure() or "", pytrace=True)

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

    def failure(self) -> str | None:
        """Return why the test fails, or None when every run passed.

        The run that is furthest off is told in full, the other ones that fail in a line each.
        """
        if not self._runs:
            return (
                "trt_consistency compared nothing: the test never called trt_session.run, so it "
                "cannot fail.\nFix: run the engine through the trt_session fixture "
                "(`trt_session.run(inputs)`), or remove the marker."
            )
        failed = [run for run in self._runs if not run.comparison.passed]
        if not failed:
            return None
        worst = max(failed, key=lambda run: run.used)
        engine = worst.engine
        other = self._other
        against = f", against {other.name}" if other else ""
        headline, *body = explain(
            worst.comparison,
            subject=f"{_named(engine)}{against}",
            precision=engine.spec.precision,
            several=self._several,
            other=other.told(agrees=worst.agrees) if other else None,
        )
        others = [self._in_short(run) for run in failed if run is not worst]
        passed = len(self._runs) - len(failed)
        if others or passed:
            others.append(f"  {passed} of {len(self._runs)} runs passed")
        fix = [body.pop()] if body and body[-1].startswith("Fix: ") else []
        notes = _build_notes(engine) if worst.comparison.has_nonfinite else []
        return "\n".join(
            [headline, f"  {self._circumstances(worst)}", *body, *others, *notes, *fix]
        )

    def _in_short(self, run: _Run) -> str:
        return f"  fails too: {self._circumstances(run)}: {fact(run.comparison)}"

    def _circumstances(self, run: _Run) -> str:
        number = self._runs.index(run) + 1
        which = f"run {number} of {len(self._runs)} at {run.where}"
        return f"{which}, inputs {run.shapes}, {run.engine.toolchain}"


def _build_notes(engine: Engine) -> list[str]:
    """What the build said of values that the precision cannot hold: where an overflow begins."""
    told = [f"  when it was built: {note}" for note in engine.notes[:_NOTES]]
    more = len(engine.notes) - _NOTES
    return [*told, f"  and {more} more notes, in the report"] if more > 0 else told


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
