"""Invariants of an engine's outputs, which hold whatever the reference is; checked at each run.

- `batch_invariant`: a sample's outputs depend neither on the other samples of its batch nor on its
  position.
- `deterministic`: the same inputs give the same bits each time.
- `rebuilds`: engines that are built again agree with the reference too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from pytest_trt.accuracy.compare import compare_values
from pytest_trt.accuracy.explanation import explain, fact
from pytest_trt.accuracy.judge import gravest, scalar
from pytest_trt.accuracy.repeatable import same_outputs
from pytest_trt.accuracy.result import Comparison, Invariant, InvariantOutcome, merge_runs
from pytest_trt.accuracy.subject import Subject
from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic, Fact, PytestTrtError, Remedy, in_context
from pytest_trt.engine.build import Engine
from pytest_trt.tensors.batch import BatchAxes, allowed_sizes, batch_axes, taken
from pytest_trt.tensors.containers import items_of
from pytest_trt.tensors.spec import Tensors
from pytest_trt.terms import Verdict
from pytest_trt.wording import count

#: Samples that are repeated to fill a batch: the first, the middle and the last one.
_REPEATED = 3

#: The tolerance of outputs that must be identical.
_IDENTICAL = Tolerance(0.0, 0.0, nan="match", origin="deterministic=")


@dataclass(frozen=True, slots=True)
class WantedInvariants:
    """Which invariants a test requires.

    Attributes:
        batch_invariant: Whether samples may not affect each other.
        deterministic: How often the same inputs run, the test's own run included; 0 for no check.
        rebuilds: How many engines are built again; 0 for none.
        several_shapes: Whether the test runs once for each of several shapes, so that a run of one
            sample leaves nothing out.
    """

    batch_invariant: bool = False
    deterministic: int = 0
    rebuilds: int = 0
    several_shapes: bool = False


@dataclass(frozen=True, slots=True)
class ObservedRun:
    """One run of a test, and how its outputs are judged.

    Attributes:
        engine: What ran.
        inputs: Its inputs.
        outputs: What it returned.
        place: Where it ran, and with what, for messages.
        subject: The engine, for messages.
        compare: Compares outputs for inputs with others that they should be equal to.
        judge: Compares outputs for the inputs of this run with the reference.
        reference: Gives the reference for inputs.
    """

    engine: Engine
    inputs: Tensors
    outputs: Tensors
    place: str
    subject: Subject
    compare: Callable[[Tensors, Tensors, Tensors], Comparison]
    judge: Callable[[Tensors], Comparison]
    reference: Callable[[Tensors], Tensors]


class _Violation(NamedTuple):
    """How an invariant did not hold at one run of a test.

    Attributes:
        what: Which of the further runs differs, the worst of several: "samples alone".
        comparison: What they returned, compared.
        notes: Lines that explain it.
        samples: Numbers of the samples that differ.
    """

    what: str
    comparison: Comparison
    notes: tuple[str, ...] = ()
    samples: tuple[int, ...] = ()

    @property
    def size(self) -> float:
        """The difference as a share of the tolerance; absolute where nothing is allowed."""
        used = self.comparison.used
        return used if math.isfinite(used) else _largest(self.comparison)


@dataclass(slots=True)
class _Found:
    """What was found of one invariant of one engine, over all runs of the test."""

    name: Invariant
    runs: int = 0
    failed_runs: int = 0
    failed_by: float = 0.0
    used: float = 0.0
    worst: str = ""
    restriction: str = ""
    varied: bool = False
    unbatched: set[str] = field(default_factory=set)
    diagnostic: Diagnostic | None = None
    merged: Comparison = field(default_factory=lambda: Comparison(()))

    def add(self, what: str, comparison: Comparison) -> None:
        """Add further runs that were compared."""
        self.merged = merge_runs([self.merged, comparison])
        if not self.worst or comparison.used > self.used:
            self.used, self.worst = comparison.used, what

    @property
    def verdict(self) -> Verdict:
        if self.failed_runs:
            return Verdict.FAILED
        return Verdict.PASSED if self.runs else Verdict.NOT_MEASURED


class Invariants:
    """Checks the invariants of a test at each of its runs.

    Args:
        wanted: Which of them.
        run: Runs the engine once more.
        rebuilt: Gives, for a number of engines that are built again, what each returns for inputs.
    """

    def __init__(
        self,
        wanted: WantedInvariants,
        run: Callable[[Engine, Tensors], Tensors],
        rebuilt: Callable[[Engine, Tensors, int], Iterator[Tensors]],
    ) -> None:
        self._wanted, self._run, self._rebuilt = wanted, run, rebuilt
        self._found: dict[str, dict[Invariant, _Found]] = {}

    def altered(self, alter: Callable[[Engine, Tensors], Tensors]) -> Invariants:
        """Return the same invariants of further runs whose outputs are altered."""
        return Invariants(
            self._wanted,
            lambda engine, inputs: alter(engine, self._run(engine, inputs)),
            lambda *given: (alter(given[0], outputs) for outputs in self._rebuilt(*given)),
        )

    def observe(self, run: ObservedRun, *, passed: bool) -> bool:
        """Check the invariants at one run of the test; return whether they hold.

        Args:
            run: The run.
            passed: Whether its outputs agree with the reference: where they do not, no engine is
                built again.

        Raises:
            PytestTrtError: The engine cannot run once more, or cannot be built again.
        """
        checks: dict[Invariant, Callable[[ObservedRun, _Found], _Violation | None]] = {}
        if self._wanted.batch_invariant:
            checks["batch_invariant"] = self._batch
        if self._wanted.deterministic:
            checks["deterministic"] = self._repeat
        if self._wanted.rebuilds and passed:
            checks["rebuilds"] = self._rebuild
        held = True
        of_engine = self._found.setdefault(run.engine.key.digest, {})
        for name, check in checks.items():
            found = of_engine.setdefault(name, _Found(name))
            try:
                violation = check(run, found)
            except PytestTrtError as error:
                raise in_context(error, f"{name}=") from None
            if violation is not None:
                held = False
                found.failed_runs += 1
                if found.diagnostic is None or violation.size > found.failed_by:
                    found.failed_by = violation.size
                    found.diagnostic = _diagnostic(name, violation, run, found)
        return held

    def outcomes(self, engine: Engine) -> tuple[InvariantOutcome, ...]:
        """Return what was found of an engine."""
        return tuple(
            InvariantOutcome(
                name=found.name,
                verdict=found.verdict,
                runs=found.runs,
                failed_runs=found.failed_runs,
                used=None if found.name == "deterministic" or not found.worst else found.used,
                worst=found.worst,
                restriction=found.restriction or _unvaried(found),
            )
            for found in self._found.get(engine.key.digest, {}).values()
        )

    def diagnostics(self, engine: Engine) -> tuple[Diagnostic, ...]:
        """Return why the invariants of an engine fail the test; empty where they hold."""
        of_engine = self._found.get(engine.key.digest, {}).values()
        return tuple(
            found.diagnostic or _nothing_compared(engine, found)
            for found in of_engine
            if found.verdict is not Verdict.PASSED
        )

    # --- batch_invariant

    def _batch(self, run: ObservedRun, found: _Found) -> _Violation | None:
        model, spec = run.engine.model, run.engine.spec
        axes = batch_axes(model.inputs, model.outputs, where="batch_invariant")
        if not axes.size(run.inputs):
            return None  # there is no sample
        found.varied |= self._wanted.several_shapes or _differ(run.inputs, axes)
        sizes = allowed_sizes(axes, spec.profiles, model.inputs, run.inputs)
        violations = []
        for what, batches in _arrangements(axes.size(run.inputs), sizes):
            violation = self._arranged(run, found, axes, what, batches)
            violations += [violation] if violation is not None else []
        smallest = sizes[0] if sizes else 0
        if smallest > 1:
            found.restriction = (
                f"the model or its profiles allow no batch below {smallest}, so a sample ran "
                f"alone as a batch of {smallest} copies"
            )
        return max(violations, key=lambda one: one.comparison.used, default=None)

    def _arranged(
        self,
        run: ObservedRun,
        found: _Found,
        axes: BatchAxes,
        what: str,
        batches: Sequence[Sequence[int]],
    ) -> _Violation | None:
        """Run batches of the samples of a run, and compare each sample with its own outputs."""
        size = axes.size(run.inputs)
        left = {name: one for name, one in run.outputs.items() if name not in found.unbatched}
        of_outputs = axes.of_outputs(left, size)
        if not of_outputs:
            return None
        parts: dict[str, list[np.ndarray]] = {name: [] for name in of_outputs}
        for samples in batches:
            outputs = self._run(run.engine, taken(run.inputs, axes.inputs, samples, size))
            for name in axes.likely.keys() & parts.keys():
                if np.shape(outputs[name])[:1] != (len(samples),):  # so it was no batch
                    found.unbatched.add(name)
                    del parts[name]
            for name, arrays in parts.items():
                arrays.append(outputs[name])
        if not parts:
            return None
        found.runs += len(batches)
        order = [sample for samples in batches for sample in samples]
        own = {name: run.outputs[name] for name in parts}
        comparison = run.compare(
            taken(run.inputs, axes.inputs, order, size),
            {name: np.concatenate(arrays, of_outputs[name]) for name, arrays in parts.items()},
            taken(own, of_outputs, order, size),
        )
        found.add(what, comparison)
        if comparison.passed:
            return None
        differing = _differing(comparison, of_outputs, order)
        notes = ["compared with the outputs of the test's own run, not with the reference"]
        if differing:
            notes.append(f"samples that differ: {_listed(differing)} of {size}")
        worst = _worst_place(comparison, of_outputs) // len(batches[0])
        notes += self._cause(run, axes, batches[worst], of_outputs)
        return _Violation(what, comparison, tuple(notes), tuple(differing))

    def _cause(
        self, run: ObservedRun, axes: BatchAxes, samples: Sequence[int], of_outputs: dict[str, int]
    ) -> list[str]:
        """Return whether the reference depends on the batch too, where it can be computed."""
        if run.inputs.keys() != {spec.name for spec in run.engine.model.inputs}:
            return []  # those for the reference alone have no known batch
        size = axes.size(run.inputs)
        inputs = taken(run.inputs, axes.inputs, samples, size)
        # A project's own reference may raise anything for a batch that it does not expect.
        with suppress(Exception):
            whole, part = run.reference(run.inputs), run.reference(inputs)
            names = [name for name in of_outputs if name in whole and name in part]
            comparison = run.compare(
                inputs,
                {name: part[name] for name in names},
                taken({name: whole[name] for name in names}, of_outputs, samples, size),
            )
            if comparison.passed:
                return ["the FP32 reference does not depend on the batch: the engine does"]
            return ["the FP32 reference depends on the batch as well: the model mixes samples"]
        return []

    # --- deterministic

    def _repeat(self, run: ObservedRun, found: _Found) -> _Violation | None:
        worst, total = None, self._wanted.deterministic
        outputs = run.engine.model.outputs
        for number in range(2, total + 1):
            again = self._run(run.engine, run.inputs)
            found.runs += 1
            if same_outputs(run.outputs, again):
                continue
            actual, expected = (items_of(one, outputs).tensors for one in (again, run.outputs))
            comparison = compare_values(actual, expected, dict.fromkeys(expected, _IDENTICAL))
            if worst is None or _largest(comparison) > _largest(worst.comparison):
                worst = _Violation(f"run {number} of {total}", comparison)
        if worst is not None:
            found.worst = worst.what
        return worst

    # --- rebuilds

    def _rebuild(self, run: ObservedRun, found: _Found) -> _Violation | None:
        worst, total = None, self._wanted.rebuilds
        for number, outputs in enumerate(self._rebuilt(run.engine, run.inputs, total), start=1):
            what, comparison = f"rebuild {number} of {total}", run.judge(outputs)
            found.runs += 1
            found.add(what, comparison)
            if not comparison.passed and (worst is None or comparison.used > worst.comparison.used):
                worst = _Violation(what, comparison)
        return worst


def _differ(inputs: Tensors, axes: BatchAxes) -> bool:
    """Whether inputs have samples that differ."""
    return any(
        not np.array_equal(np.roll(value, 1, axes.inputs[name]), value)
        for name, value in inputs.items()
        if name in axes.inputs
    )


def _unvaried(found: _Found) -> str:
    """Return why samples could not affect each other, where no run had any that differ."""
    if found.name != "batch_invariant" or found.varied or found.failed_runs or not found.runs:
        return ""
    return "no run had samples that differ, and equal ones hide whether they affect each other"


def _arrangements(size: int, sizes: Sequence[int]) -> Iterator[tuple[str, list[list[int]]]]:
    """Yield in which batches the samples of a run are run again, and what that is called.

    Args:
        size: How many samples the run had.
        sizes: Batch sizes that are allowed, ascending, that of the run among them.
    """
    smallest = sizes[0]
    if smallest < size or size > 1:
        yield "samples alone", [[sample] * smallest for sample in range(size)]
    largest = size if smallest < size else next((one for one in sizes if one > size), size)
    if largest > smallest:
        chosen = dict.fromkeys([0, size // 2, size - 1][:_REPEATED])
        yield "samples repeated to fill a batch", [[sample] * largest for sample in chosen]
    if size > 1:
        yield "samples in reverse order", [list(range(size))[::-1]]
        # Of three samples in reverse order, the middle one is where it was.
        yield "samples shifted by one", [[*range(1, size), 0]]


def _differing(comparison: Comparison, axes: dict[str, int], order: Sequence[int]) -> list[int]:
    """Return which samples differ, as far as that is known: rows are along axis 0."""
    found: set[int] = set()
    for output in comparison.outputs:
        rows, axis = output.rows, axes[output.name]
        if rows is None or axis:
            if output.mismatched and output.worst_used is not None:
                found.add(order[output.worst_used.index[axis]])
        elif rows.total == len(order):
            ends = (rows.first, rows.last)
            all_differ = rows.mismatched == rows.last - rows.first + 1
            found.update(
                order[row] for row in (range(ends[0], ends[1] + 1) if all_differ else ends)
            )
    return sorted(found)


def _worst_place(comparison: Comparison, axes: dict[str, int]) -> int:
    """Return where the sample is that differs most, along the batch; 0 where that is unknown."""
    worst = max(comparison.outputs, key=lambda one: one.used, default=None)
    if worst is None or worst.worst_used is None:
        return 0
    return worst.worst_used.index[axes[worst.name]]


def _listed(samples: Sequence[int]) -> str:
    shown = ", ".join(map(str, samples[:8]))
    return f"{shown} and others" if len(samples) > 8 else shown


def _largest(comparison: Comparison) -> float:
    return max((one.worst_abs.value for one in comparison.outputs if one.worst_abs), default=0.0)


# --- messages


def _diagnostic(
    name: Invariant, violation: _Violation, run: ObservedRun, found: _Found
) -> Diagnostic:
    if name == "deterministic":
        return _of_repeated(violation, run)
    comparison, subject = violation.comparison, run.subject
    rebuilt = name == "rebuilds"
    runs = found.merged if rebuilt else comparison
    base = explain(comparison, subject, runs=runs, context=[run.place])
    offer = base.facts.get("offer") if rebuilt else None
    facts = {**base.facts, "invariant": name, "worst": violation.what, "offer": offer}
    if violation.samples:
        facts["samples"] = list(violation.samples)
    prefix = violation.what if rebuilt else f"outputs depend on the batch: {violation.what}"
    return Diagnostic(
        "TRT437" if rebuilt else "TRT435",
        f"{prefix}: {fact(comparison)} ({subject})",
        facts,
        (*violation.notes, *base.details),
        Remedy(_REBUILD_REMEDY, alternatives=base.remedy.alternatives)
        if rebuilt
        else _BATCH_REMEDY,
    )


def _of_repeated(violation: _Violation, run: ObservedRun) -> Diagnostic:
    """Return why outputs that should be identical are not: no tolerance applies to them."""
    comparison, subject = violation.comparison, run.subject
    facts: dict[str, Fact] = {
        "model": subject.model,
        "path": subject.path,
        "precision": subject.precision,
        "arch": subject.arch,
        "invariant": "deterministic",
        "worst": violation.what,
        "operators": list(subject.random),
    }
    what, details = "the bits only, such as the sign of a zero", [run.place]
    if not comparison.passed:
        _, output = gravest(comparison)
        what = fact(comparison)
        worst = output.worst_abs if output is not None else None
        if output is not None and worst is not None:
            of = count(output.compared, "element")
            what = f"{output.name}: {output.mismatched:,} of {of}, by up to {worst.value:.4g}"
            one, other = scalar(worst.actual), scalar(worst.reference)
            details.insert(0, f"most at {list(worst.index)}: {one}, in the first run {other}")
            facts |= {"output": output.name, "mismatched": output.mismatched}
            facts |= {"total": output.compared, "largest": worst.value}
    return Diagnostic(
        "TRT436",
        f"{violation.what} with the same inputs differs in {what} ({subject})",
        facts,
        tuple(details),
        _deterministic_remedy(subject),
    )


_BATCH_REMEDY = Remedy(
    "Look for an operator that works along axis 0: Softmax or a reduction, BatchNormalization in "
    "training mode, or a Reshape that merges the batch with another dimension. If axis 0 is the "
    "time axis of a recurrent model, it is not a batch: remove batch_invariant."
)

_REBUILD_REMEDY = (
    "The builder chooses kernels by timing them, so builds differ. Keep sensitive layers in FP32, "
    "or deploy the plan that was tested."
)


def _deterministic_remedy(subject: Subject) -> Remedy:
    if subject.random:
        drawn = ", ".join(subject.random)
        return Remedy(
            f"The model draws random numbers ({drawn}): export it in inference mode, or with the "
            "random numbers as an input."
        )
    return Remedy(
        "No operator of the model draws random numbers. Kernels that use atomic additions or read "
        "uninitialised memory may cause this: try another precision or version."
    )


def _nothing_compared(engine: Engine, found: _Found) -> Diagnostic:
    return Diagnostic(
        "TRT160",
        f"{found.name} compared nothing: for these inputs the profiles allow no other batch, or no "
        "output has the batch",
        {"check": found.name, "model": engine.model.path.name},
        remedy=Remedy("Run inputs of a batch that can be varied, or widen the profiles."),
    )
