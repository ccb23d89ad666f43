"""The consistency check of one test: every run compared, one verdict at the end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pytest_trt.accuracy import Comparison, compare_outputs, explain, resolve_tolerances
from pytest_trt.engine import Engine
from pytest_trt.model import Tensors
from pytest_trt.plugin.markers import ConsistencyMarker
from pytest_trt.report.record import ConsistencyRecord, Verdict

#: Failing runs of one test that are explained in full; the others are counted.
_EXPLAINED_RUNS = 3


@dataclass(frozen=True, slots=True)
class _Run:
    engine: Engine
    shapes: str
    comparison: Comparison


class ConsistencyCheck:
    """Compares an engine's outputs with the reference, run by run.

    Args:
        marker: The test's tolerances.
        ini: Tolerances by precision from the ini file.
        reference: Gives the reference outputs for inputs.
    """

    def __init__(
        self,
        marker: ConsistencyMarker,
        ini: Mapping[str, Mapping[str, object]],
        reference: Callable[[Tensors], Tensors],
    ) -> None:
        self._marker = marker
        self._ini = ini
        self._reference = reference
        self._runs: list[_Run] = []

    def observe(self, engine: Engine, inputs: Tensors, outputs: Tensors) -> None:
        """Compare one run.

        Raises:
            ConfigurationError: The marker names an output that the model does not have.
        """
        tolerances = resolve_tolerances(
            engine.model.outputs,
            precision=engine.spec.precision,
            marker=self._marker.tolerance,
            per_output=self._marker.outputs,
            ini=self._ini,
        )
        comparison = compare_outputs(outputs, self._reference(inputs), tolerances)
        shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in inputs.items())
        self._runs.append(_Run(engine, shapes, comparison))

    @property
    def runs(self) -> int:
        """How many runs were compared so far."""
        return len(self._runs)

    def records(self) -> list[ConsistencyRecord]:
        """Return what was found, one record per engine that ran."""
        by_engine: dict[str, list[_Run]] = {}
        for run in self._runs:
            by_engine.setdefault(run.engine.key.digest, []).append(run)
        return [_record(runs) for runs in by_engine.values()]

    def failure(self) -> str | None:
        """Return why the test fails, or None when every run passed."""
        if not self._runs:
            return (
                "trt_consistency compared nothing: the test never called trt_session.run, so it "
                "cannot fail.\nFix: run the engine through the trt_session fixture "
                "(`trt_session.run(inputs)`), or remove the marker."
            )
        failed = [(i, run) for i, run in enumerate(self._runs, 1) if not run.comparison.passed]
        if not failed:
            return None
        lines = []
        for number, run in failed[:_EXPLAINED_RUNS]:
            engine = run.engine
            subject = f"{engine.model.path.name} in {engine.spec.precision} on {engine.target.arch}"
            first, *others = explain(
                run.comparison, subject=subject, precision=engine.spec.precision
            )
            lines += [first, self._circumstances(number, run), *others, ""]
        if len(failed) > _EXPLAINED_RUNS:
            lines.append(f"... and {len(failed) - _EXPLAINED_RUNS} more failing runs.")
        if len(self._runs) > len(failed):
            lines.append(f"{len(self._runs) - len(failed)} of {len(self._runs)} runs passed.")
        return "\n".join(lines).rstrip()

    def _circumstances(self, number: int, run: _Run) -> str:
        which = f"run {number} of {len(self._runs)}, " if len(self._runs) > 1 else ""
        return f"  {which}inputs {run.shapes}, {run.engine.toolchain}"


def _record(runs: list[_Run]) -> ConsistencyRecord:
    engine = runs[0].engine
    outputs = [output for run in runs for output in run.comparison.outputs]
    worst = max(outputs, key=lambda output: output.used or 0.0, default=None)
    passed = all(run.comparison.passed for run in runs)
    return ConsistencyRecord(
        model=engine.model.path.name,
        precision=engine.spec.precision,
        arch=engine.target.arch,
        verdict=(Verdict.PASSED if passed else Verdict.REGRESSED).value,
        runs=len(runs),
        worst_output=worst.name if worst else None,
        used=worst.used if worst else None,
        tolerance=str(worst.tolerance) if worst else "",
        comparisons=tuple(run.comparison.to_dict() for run in runs),
    )
