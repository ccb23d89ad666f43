"""Results of a comparison: data that is stored as JSON, and from which all texts are rendered."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Literal, TypeAlias, get_args

from pytest_trt.accuracy.tolerance import Tolerance
from pytest_trt.diagnostics import Diagnostic, PytestTrtError
from pytest_trt.escaping import terminal
from pytest_trt.terms import Verdict
from pytest_trt.wording import count

#: What may be wrong, the kind that explains the others first. The first four concern the set of
#: outputs, as do metrics, the others one output; "nothing compared" may be either.
Kind: TypeAlias = Literal[
    "swapped",
    "renamed",
    "missing",
    "extra",
    "nothing compared",
    "shape",
    "nonfinite",
    "dtype",
    "mismatch",
    "not applicable",
    "cosine",
    "top1",
    "topk",
    "no metric value",
    "metric",
    "not stored",
]
KINDS: tuple[Kind, ...] = get_args(Kind)

#: Kinds about elements that have no difference to measure: such an output used infinitely much.
_WITHOUT_DIFFERENCE = ("nonfinite", "shape")

#: Kinds that say nothing about values: something could not be measured.
UNMEASURED: tuple[Kind, ...] = (
    "nothing compared",
    "not applicable",
    "no metric value",
    "not stored",
)


#: What outputs are compared with.
Against: TypeAlias = Literal["model", "stored"]

#: What has to hold of outputs whatever the reference is.
Invariant: TypeAlias = Literal["batch_invariant", "deterministic", "rebuilds"]

#: One element as JSON can hold it; a complex number as text.
Scalar: TypeAlias = bool | int | float | str


@dataclass(frozen=True, slots=True)
class Element:
    """One element that stands out.

    Attributes:
        value: The figure by which it stands out (a difference, a share).
        index: Where it is, one entry per axis.
        actual: The engine's value there.
        reference: The reference's value there.
    """

    value: float
    index: tuple[int, ...]
    actual: Scalar
    reference: Scalar


@dataclass(frozen=True, slots=True)
class NonFinite:
    """NaN and infinities on both sides of one output.

    Attributes:
        actual_nan: How many elements of the actual output are NaN; the next five likewise.
        actual_pos_inf: +Inf in the actual output.
        actual_neg_inf: -Inf in the actual output.
        reference_nan: NaN in the reference.
        reference_pos_inf: +Inf in the reference.
        reference_neg_inf: -Inf in the reference.
        positions: Positions where either side is not finite.
        disagreeing: Those of them where the two sides are not of the same kind.
        first: The first of the positions.
        first_disagreeing: The first of the disagreeing ones.
    """

    actual_nan: int = 0
    actual_pos_inf: int = 0
    actual_neg_inf: int = 0
    reference_nan: int = 0
    reference_pos_inf: int = 0
    reference_neg_inf: int = 0
    positions: int = 0
    disagreeing: int = 0
    first: Element | None = None
    first_disagreeing: Element | None = None

    @property
    def in_actual(self) -> int:
        """How many elements of the actual output are not finite."""
        return self.actual_nan + self.actual_pos_inf + self.actual_neg_inf

    @property
    def in_reference(self) -> int:
        """How many elements of the reference are not finite."""
        return self.reference_nan + self.reference_pos_inf + self.reference_neg_inf


@dataclass(frozen=True, slots=True)
class Finding:
    """One reason why a comparison does not pass.

    Attributes:
        kind: What is wrong.
        text: The finding in one sentence, with both values.
        outputs: Names of the outputs that a finding about the set of outputs concerns.
    """

    kind: Kind
    text: str
    outputs: tuple[str, ...] = ()


#: How a metric may be compared with the bound of its limit.
Sign: TypeAlias = Literal[">=", "<=", "==", ">", "<"]

#: What each of them asks of a value and a bound.
COMPARISONS: Mapping[Sign, Callable[[float, float], bool]] = MappingProxyType(
    {">=": operator.ge, "<=": operator.le, "==": operator.eq, ">": operator.gt, "<": operator.lt}
)


@dataclass(frozen=True, slots=True)
class MetricOutcome:
    """One metric of `metrics=` at one run, or at the worst of several.

    Attributes:
        name: The metric's name.
        output: The output that it judges; empty for one that judges several.
        unit: Its unit, such as "dB"; empty where it has none, or none is known.
        comparison: How its value has to compare with the bound.
        bound: What its value is compared with.
        value: The value, the worst of all runs; None where a run has none.
        problem: Why there is no value; empty where there is one.
        not_stored: Whether that is because only a sketch of an output is stored.
        runs: Runs at which it was measured.
        failed_runs: Those of them at which it was outside its limit, or had no value.
        one_value: Whether one value in all elements would have passed, in every run.
        same_samples: Whether the values of the first sample would have passed in all samples.
        lost_samples: Rows along axis 0 with wrong values that a ratio of the whole batch passed, in
            the run that has most of them.
        unseen: Whether zeros in all small parts, such as scores beside boxes, would have passed.
    """

    name: str
    output: str
    unit: str
    comparison: Sign
    bound: float
    value: float | None = None
    problem: str = ""
    not_stored: bool = False
    runs: int = 1
    failed_runs: int = 0
    one_value: bool = False
    same_samples: bool = False
    lost_samples: int = 0
    unseen: bool = False

    @property
    def passed(self) -> bool:
        """Whether every value was within the limit."""
        return not self.failed_runs

    @property
    def kind(self) -> Kind:
        """The kind of finding that it is where it does not pass."""
        if self.not_stored:
            return "not stored"
        return "metric" if self.value is not None else "no metric value"

    @property
    def excess(self) -> float:
        """How far the value is to the wrong side of the bound; negative where it is within it."""
        if self.value is None:
            return math.inf
        if self.value == self.bound:
            return 0.0
        away = self.value - self.bound
        return abs(away) if self.comparison == "==" else -away if ">" in self.comparison else away

    @property
    def limit(self) -> str:
        """The limit as it is typed, with the unit: ">= 40 dB"."""
        return f"{self.comparison} {self.bound:g} {self.unit}".rstrip()

    @property
    def figure(self) -> str:
        """The value in four digits, or in full where they hide that it is outside the limit."""
        if self.value is None:
            return "no value"
        short = f"{self.value:.4g}"
        hides = not self.passed and COMPARISONS[self.comparison](float(short), self.bound)
        return f"{repr(self.value) if hides else short} {self.unit}".rstrip()


@dataclass(frozen=True, slots=True)
class RowSpread:
    """Which rows along axis 0 (the batch, as a rule) hold the mismatches.

    Attributes:
        total: Rows of the output.
        mismatched: Rows with at least one mismatch.
        first: The first of them.
        last: The last of them.
    """

    total: int
    mismatched: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class SmallParts:
    """Parts of an output that are small beside all others: scores beside coordinates of boxes.

    Attributes:
        axis: Along which axis the parts are.
        indices: Their indices there.
        largest: The largest magnitude of their elements.
        least: The smallest of the largest magnitudes of the other parts.
    """

    axis: int
    indices: tuple[int, ...]
    largest: float
    least: float


@dataclass(frozen=True, slots=True)
class OutputResult:
    """One output against its reference.

    Attributes:
        name: The output's name.
        dtype: Element type of the actual output.
        shape: Shape of the actual output.
        size: Elements of the actual output.
        tolerance: What was allowed.
        compared: Elements whose difference was measured: finite on both sides. 0 when the shapes
            differ.
        mismatched: Elements among them that differ by more than allowed.
        worst_abs: Largest |actual - reference|; None when no element differs.
        worst_rel: Largest |actual - reference| / |reference|, over the elements whose reference is
            not 0; None when none of those differs.
        worst_used: Largest |actual - reference| / (atol + rtol * |reference|), i.e. the share of
            the tolerance used; infinite where nothing is allowed and something differs. None when
            no element differs.
        needed_atol: Smallest atol under which every element passes at the given rtol.
        needed_rtol: Smallest rtol under which every element passes at the given atol; infinite when
            none does, because the reference is 0 there.
        scale: Largest |reference| among the compared elements; 0 for strings.
        nonfinite: NaN and infinities.
        rows: Where the mismatches are along axis 0; None without mismatches or a batch axis.
        cosine: Smallest cosine similarity of the rows along axis 0 (of the whole tensor below two
            axes). None when the tolerance does not limit it; so are the next two.
        top1: Share of rows whose largest element is where the reference has its largest.
        topk: Mean share of the k largest elements that are among the reference's k largest.
        findings: Why this output fails; empty when it passes.
        histogram: How many elements use which share of the tolerance, see `error_histogram`; None
            unless requested.
        item_of: The sequence, map or optional that it is an item of; empty for an output itself.
        sampled: Of how many elements the stored sketch has the values; 0 where all were compared.
        ranked: Of how many rows the sketch has the largest elements; None where no limit ranks.
        whole_bytes: Size of the stored output if it were stored whole; 0 where it is.
        least: Smallest element of the reference, over all runs; None where no value is within the
            tolerance of all elements, or it is not known, not finite, or no real number.
        largest: Its largest element.
        same_samples: Whether the values of the reference's first sample, the first row along axis
            0, would have passed in all samples of every run; None where no run had several.
        lost_samples: Rows along axis 0 most of whose elements differ by more than allowed, in the
            run with most of them.
        lost_values: Values of the reference's integers, such as classes, where each element that
            has one differs by more than allowed, in the run with most of them.
        unseen: Small parts of the reference that would have passed as zeros, in every run.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    tolerance: Tolerance
    compared: int = 0
    mismatched: int = 0
    worst_abs: Element | None = None
    worst_rel: Element | None = None
    worst_used: Element | None = None
    needed_atol: float = 0.0
    needed_rtol: float = 0.0
    scale: float = 0.0
    nonfinite: NonFinite = NonFinite()
    rows: RowSpread | None = None
    cosine: float | None = None
    top1: float | None = None
    topk: float | None = None
    findings: tuple[Finding, ...] = ()
    histogram: tuple[int, ...] | None = None
    item_of: str = ""
    sampled: int = 0
    ranked: int | None = None
    whole_bytes: int = 0
    least: float | None = None
    largest: float | None = None
    same_samples: bool | None = None
    lost_samples: int = 0
    lost_values: int = 0
    unseen: SmallParts | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    @property
    def used(self) -> float:
        """Share of the tolerance used by the worst element: 1.0 is exactly at the limit.

        Infinite where elements fail that have no difference: a NaN, or an output of another shape.
        0 where elements are not compared.
        """
        if self.findings and any(one.kind in _WITHOUT_DIFFERENCE for one in self.findings):
            return math.inf
        compared = self.worst_used is not None and self.tolerance.elementwise
        return self.worst_used.value if compared and self.worst_used else 0.0

    @property
    def mismatched_pct(self) -> float:
        """Mismatched elements as a percentage of the compared ones."""
        return 100.0 * self.mismatched / self.compared if self.compared else 0.0


class ComparisonError(PytestTrtError, AssertionError):
    """Raised by `Comparison.raise_if_failed`; an AssertionError too."""

    CODE = "TRT401"


@dataclass(frozen=True, slots=True, repr=False)
class Comparison:
    """All outputs of one run against their references.

    `str(comparison)` is the explanation, and the comparison is true if it passed, so that
    ``assert compare_outputs(actual, expected)`` reads well when it fails.

    Attributes:
        outputs: Every output that both sides have, in the reference's order.
        findings: What is wrong with the set of outputs: missing, extra, renamed, swapped, or none
            compared at all.
        diagnostics: Why it failed and what to do; empty when it passed.
        metrics: Metrics of whole outputs, as far as a test has any.
    """

    outputs: tuple[OutputResult, ...]
    findings: tuple[Finding, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    metrics: tuple[MetricOutcome, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing was found, in the set of outputs, in any of them, or by a metric."""
        return (
            not self.findings
            and not any(output.findings for output in self.outputs)
            and not any(self.failed_metrics)
        )

    @property
    def failed_metrics(self) -> Iterator[MetricOutcome]:
        """The metrics that are outside their limits, or have no value."""
        return (metric for metric in self.metrics if not metric.passed)

    @property
    def used(self) -> float:
        """Share of its tolerance that the worst output used; 1.0 is exactly at the limit."""
        return max((output.used for output in self.outputs), default=0.0)

    @property
    def excess(self) -> float:
        """How far the worst metric is outside its limit; 0 where none is."""
        return max((metric.excess for metric in self.failed_metrics), default=0.0)

    @property
    def kinds(self) -> frozenset[Kind]:
        """The kinds of everything that was found."""
        whole = {finding.kind for finding in self.findings}
        whole.update(metric.kind for metric in self.failed_metrics)
        return frozenset(whole.union(f.kind for output in self.outputs for f in output.findings))

    def raise_if_failed(self) -> None:
        """Raise if the comparison failed.

        Raises:
            ComparisonError: With the diagnostic that explains it.
        """
        __tracebackhide__ = True
        if not self.passed:
            one = self.diagnostics[0]
            raise ComparisonError(
                one.message, fix=one.remedy, code=one.code, facts=one.facts, details=one.details
            )

    def __bool__(self) -> bool:
        return self.passed

    def __str__(self) -> str:
        if self.diagnostics:
            return "\n\n".join(map(str, self.diagnostics))
        used = f"{100.0 * self.used:.3g}%"
        return f"{count(len(self.outputs), 'output')} passed, using {used} of the tolerance"

    def __repr__(self) -> str:
        return terminal(
            f"<Comparison: {self.diagnostics[0].headline if self.diagnostics else self}>"
        )


def merge_runs(comparisons: Iterable[Comparison]) -> Comparison:
    """Return several runs of one engine as one: of each output the worst run, with sums over all.

    Element counts are summed, needed tolerances and histograms cover all runs, and there is one
    finding of each kind.
    """
    outputs: dict[str, OutputResult] = {}
    findings: dict[Kind, Finding] = {}
    metrics: dict[tuple[str, str], MetricOutcome] = {}
    for comparison in comparisons:
        for output in comparison.outputs:
            known = outputs.get(output.name)
            outputs[output.name] = output if known is None else _merged(known, output)
        for finding in comparison.findings:
            findings.setdefault(finding.kind, finding)
        for metric in comparison.metrics:
            place = (metric.output, metric.name)
            metrics[place] = _worse(metrics[place], metric) if place in metrics else metric
    return Comparison(
        tuple(outputs.values()), tuple(findings.values()), metrics=tuple(metrics.values())
    )


def _worse(one: MetricOutcome, other: MetricOutcome) -> MetricOutcome:
    worst = other if other.excess > one.excess else one
    return replace(
        worst,
        runs=one.runs + other.runs,
        failed_runs=one.failed_runs + other.failed_runs,
        one_value=one.one_value and other.one_value,
        same_samples=one.same_samples and other.same_samples,
        lost_samples=max(one.lost_samples, other.lost_samples),
        unseen=one.unseen and other.unseen,
    )


def _merged(one: OutputResult, other: OutputResult) -> OutputResult:
    worst, rest = one, other
    if (other.used, bool(other.findings)) > (one.used, bool(one.findings)):
        worst, rest = other, one
    kinds = {finding.kind for finding in worst.findings}
    return replace(
        worst,
        size=max(one.size, other.size),
        compared=one.compared + other.compared,
        mismatched=one.mismatched + other.mismatched,
        needed_atol=max(one.needed_atol, other.needed_atol),
        needed_rtol=max(one.needed_rtol, other.needed_rtol),
        scale=min(one.scale, other.scale) if one.compared and other.compared else worst.scale,
        cosine=_least(one.cosine, other.cosine),
        top1=_least(one.top1, other.top1),
        topk=_least(one.topk, other.topk),
        nonfinite=replace(
            worst.nonfinite,
            positions=one.nonfinite.positions + other.nonfinite.positions,
            disagreeing=one.nonfinite.disagreeing + other.nonfinite.disagreeing,
        ),
        histogram=_summed(one.histogram, other.histogram),
        least=_bound(min, *((run.size, run.least) for run in (one, other))),
        largest=_bound(max, *((run.size, run.largest) for run in (one, other))),
        same_samples=all_known(one.same_samples, other.same_samples),
        lost_samples=max(one.lost_samples, other.lost_samples),
        lost_values=max(one.lost_values, other.lost_values),
        unseen=common_parts([run.unseen for run in (one, other) if run.size]),
        findings=(*worst.findings, *(f for f in rest.findings if f.kind not in kinds)),
    )


def _least(one: float | None, other: float | None) -> float | None:
    return min((value for value in (one, other) if value is not None), default=None)


def _bound(
    outermost: Callable[[list[float]], float], *runs: tuple[int, float | None]
) -> float | None:
    """Return a bound of the elements of several runs, given as sizes and bounds."""
    bounds = [bound for size, bound in runs if size]
    known = [bound for bound in bounds if bound is not None]
    return outermost(known) if known and len(known) == len(bounds) else None


def common_parts(found: Sequence[SmallParts | None]) -> SmallParts | None:
    """Return the parts that are small in all of several runs; None without any."""
    known = [one for one in found if one is not None]
    if not known or len(known) < len(found) or len({one.axis for one in known}) > 1:
        return None
    indices = sorted(set.intersection(*(set(one.indices) for one in known)))
    largest, least = max(one.largest for one in known), min(one.least for one in known)
    return SmallParts(known[0].axis, tuple(indices), largest, least) if indices else None


def all_known(*found: bool | None) -> bool | None:
    """Return whether all hold that are known; None if none is."""
    known = [one for one in found if one is not None]
    return all(known) if known else None


def _summed(one: tuple[int, ...] | None, other: tuple[int, ...] | None) -> tuple[int, ...] | None:
    if one is None or other is None:
        return one or other
    return tuple(a + b for a, b in zip(one, other, strict=True))


@dataclass(frozen=True, slots=True)
class InvariantOutcome:
    """One invariant of an engine, over all runs of the test.

    Attributes:
        name: The invariant, by its keyword of `trt_consistency`.
        verdict: Passed, failed, or not measured where nothing could be compared.
        runs: Further runs that were made for it; of `rebuilds` those of engines that were built
            again.
        failed_runs: Runs of the test at which it did not hold.
        used: The largest share of its tolerance that an output used; None for `deterministic`,
            which allows nothing.
        worst: Which of the further runs used it, or differed most: "rebuild 2 of 3".
        restriction: What could not be tried, and why; empty if nothing.
    """

    name: Invariant
    verdict: Verdict
    runs: int
    failed_runs: int = 0
    used: float | None = None
    worst: str = ""
    restriction: str = ""


@dataclass(frozen=True, slots=True)
class AccuracyResult:
    """What one `trt_consistency` check found for one engine, over all runs of the test.

    Attributes:
        model: File name of the model.
        precision: The engine's precision.
        arch: What the engine was built for.
        verdict: Passed, failed, or not measured where the engine never ran.
        runs: Calls of `run` that were compared.
        failed_runs: Those of them that failed.
        worst_output: The output that used most of its tolerance.
        used: The share of its tolerance that it used: 1.0 is exactly at the limit, infinite where
            elements fail that have no difference. None where nothing was compared by value.
        outputs: Every output, see `merge_runs`.
        findings: What is wrong with the set of outputs, one of each kind.
        diagnostics: Why it failed and what to do, for the worst run; empty when it passed.
        key: Digest of the engine's key.
        against: What it was compared with: the reference that was computed from the model, or the
            stored answers.
        metrics: Metrics of whole outputs, each at its worst run.
        invariants: Invariants that the test requires.
        constants: Inputs that had the same value in all elements of all runs, and the value.
    """

    model: str
    precision: str
    arch: str
    verdict: Verdict
    runs: int = 0
    failed_runs: int = 0
    worst_output: str | None = None
    used: float | None = None
    outputs: tuple[OutputResult, ...] = ()
    findings: tuple[Finding, ...] = ()
    diagnostics: tuple[Diagnostic, ...] = ()
    key: str = ""
    against: Against = "model"
    metrics: tuple[MetricOutcome, ...] = ()
    invariants: tuple[InvariantOutcome, ...] = ()
    constants: Mapping[str, str] = field(default_factory=dict)
