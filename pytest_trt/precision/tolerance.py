"""Tolerances from measured errors: the smallest that all runs pass, with a margin, and why.

For one output, rtol is what its large elements need (from a tenth of the largest on), and atol what
is left for all others. Errors are binned by the size of the reference, so that memory does not grow
with the number of runs.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from pytest_trt.accuracy.agreement import least_cosine, topk_agreement
from pytest_trt.accuracy.arrays import Array
from pytest_trt.accuracy.offer import BEYOND_DEFAULT, tests_nothing
from pytest_trt.accuracy.resolve import is_exact_dtype
from pytest_trt.accuracy.result import MetricOutcome
from pytest_trt.accuracy.tolerance import DEFAULT_TOLERANCES, Tolerance
from pytest_trt.engine.spec import FULL_PRECISIONS
from pytest_trt.precision.marker_edit import (
    CannotEditError,
    keywords_of,
    literal,
    place_of,
    set_argument,
    set_limit,
    tests_with,
    wrapped,
)
from pytest_trt.tensors.elements import dtype_name
from pytest_trt.units import rounded_up
from pytest_trt.wording import count

#: Bins of a factor of two of |reference|: four to the octave.
_PER_OCTAVE = 4

#: From this share of the largest |reference| on, elements are large.
_LARGE = 0.1

#: The share of the largest error that atol covers at least: elements near 0 may have it next time.
_NEAR_ZERO = 0.1

#: From this share of the largest error on, errors near 0 are of the size of all others.
_EVEN = 0.25

#: No tolerance is stricter than this share of the default of its precision, atol by the largest
#: reference: another machine, version or number of threads rounds differently.
_LEAST_SHARE = 0.1

#: Of outputs below 1, the least atol is the same share of the default, since they may be
#: differences of larger values; and no more than this share of the largest reference.
_MOST_OF_SMALL = 0.01

#: No cosine is stricter, for the same reason.
_MOST_COSINE = 0.9999

#: No smaller cosine is proposed: rows of unrelated numbers of one sign reach 0.75.
_LEAST_COSINE = 0.9

#: Other inputs decide a proposal whose errors are as many times those of the test's own, unless it
#: allows so many times the largest error that it has another cause, such as the least tolerance.
_OTHER_DATA, _DECIDED = 2.0, 10.0

_MARKER = "trt_consistency"

#: The growth of a stored error that is a note anyway.
_DRIFT = "2x"

#: The exponent of the bin of zeros.
_ZERO = -(1 << 30)


@dataclass
class OutputEvidence:
    """The errors of one output over all runs of a test.

    Attributes:
        tolerance: What the test allows now.
        runs: How many runs.
        elements: How many finite elements were compared.
        scale: The largest |reference|.
        max_abs: The largest error.
        own_max_abs: The largest error of what the test itself runs.
        reshaped: Runs in which its shape was not the reference's.
        nonfinite: Elements that are finite on one side only.
        cosine: The smallest cosine similarity of a row.
        top1: The smallest share, of a run, of rows whose largest element is the reference's.
        exact: Whether it is of a type that is compared exactly.
        differs: Why the model itself differs from the reference; empty where it does not.
        grown: From what to what its error has grown since it was stored; empty where it has not.
    """

    tolerance: Tolerance
    runs: int = 0
    elements: int = 0
    scale: float = 0.0
    max_abs: float = 0.0
    own_max_abs: float = 0.0
    reshaped: int = 0
    nonfinite: int = 0
    cosine: float = 1.0
    top1: float | None = None
    exact: bool = False
    differs: str = ""
    grown: str = ""
    _worst: dict[int, float] = field(default_factory=lambda: defaultdict(float))
    _counts: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, actual: Array, reference: Array, *, own: bool = True) -> None:
        """Add one run.

        Args:
            actual: What the engine returned.
            reference: What the reference returned.
            own: Whether the test itself runs these inputs.
        """
        self.runs += 1
        if is_exact_dtype(dtype_name(reference.dtype)):
            self.exact = True
            return
        if actual.shape != reference.shape or not reference.size:
            self.reshaped += actual.shape != reference.shape
            return
        a, r = (one.astype(np.float64).reshape(-1) for one in (actual, reference))
        finite = np.isfinite(a) & np.isfinite(r)
        self.nonfinite += int(np.count_nonzero(np.isfinite(a) ^ np.isfinite(r)))
        errors, sizes = np.abs(a[finite] - r[finite]), np.abs(r[finite])
        self.elements += errors.size
        self.scale = max(self.scale, float(sizes.max(initial=0.0)))
        largest = float(errors.max(initial=0.0))
        self.max_abs = max(self.max_abs, largest)
        if own:
            self.own_max_abs = max(self.own_max_abs, largest)
        for exponent, worst in _worst_by_bin(sizes, errors):
            self._worst[exponent] = max(self._worst[exponent], worst)
        for exponent, number in zip(*np.unique(_bins(errors), return_counts=True), strict=True):
            self._counts[int(exponent)] += int(number)
        self.cosine = min(self.cosine, least_cosine(actual, reference))
        if actual.ndim > 1 and actual.shape[-1] > 1:
            found = topk_agreement(actual, reference, 1, self.tolerance.nan)
            known = 1.0 if self.top1 is None else self.top1
            self.top1 = self.top1 if found is None else min(known, found)

    def quantile(self, share: float) -> float:
        """Return an error that a share of all elements does not exceed, rounded up to its bin."""
        wanted, seen = share * self.elements, 0
        for exponent in sorted(self._counts):
            seen += self._counts[exponent]
            if seen >= wanted:
                return min(_upper(exponent), self.max_abs)
        return self.max_abs

    @property
    def needed(self) -> tuple[float, float]:
        """The smallest rtol and atol under which every element passes, as the module has them."""
        large = [
            worst / _lower(exponent)
            for exponent, worst in self._worst.items()
            if _lower(exponent) >= _LARGE * self.scale > 0
        ]
        rtol = max(large, default=0.0)
        left = (worst - rtol * _lower(exponent) for exponent, worst in self._worst.items())
        return rtol, max(*left, _NEAR_ZERO * self.max_abs, 0.0)


def _bins(values: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    with np.errstate(divide="ignore"):
        logs = np.floor(np.log2(values) * _PER_OCTAVE)
    return np.where(values > 0, logs, _ZERO).astype(np.int64)


def _worst_by_bin(
    sizes: npt.NDArray[np.float64], errors: npt.NDArray[np.float64]
) -> Iterator[tuple[int, float]]:
    bins, places = np.unique(_bins(sizes), return_inverse=True)
    worst = np.zeros(len(bins))
    np.maximum.at(worst, places, errors)
    return zip(map(int, bins), map(float, worst), strict=True)


def _lower(exponent: int) -> float:
    return 0.0 if exponent == _ZERO else float(2.0 ** (exponent / _PER_OCTAVE))


def _upper(exponent: int) -> float:
    return 0.0 if exponent == _ZERO else float(2.0 ** ((exponent + 1) / _PER_OCTAVE))


@dataclass(frozen=True, slots=True)
class ToleranceProposal:
    """What is proposed for one output in one precision.

    Attributes:
        output: The output.
        precision: The precision.
        fields: The proposed fields of its tolerance; empty where none would test anything.
        reason: Why nothing is proposed; empty where something is.
        now: What the test allows now.
        runs: Runs that it is from.
        elements: Elements that it is from.
        scale: The largest |reference|.
        max_abs: The largest error.
        own_max_abs: The largest error of what the test itself runs.
        quantiles: The error that 50%, 99% and 99.9% of the elements do not exceed.
        cosine: The smallest cosine similarity of a row.
        top1: The smallest top-1 agreement of a run; None where there is none.
    """

    output: str
    precision: str
    fields: Mapping[str, float]
    reason: str
    now: str
    runs: int
    elements: int
    scale: float
    max_abs: float
    own_max_abs: float
    quantiles: tuple[float, float, float]
    cosine: float
    top1: float | None

    @property
    def is_of_other_data(self) -> bool:
        """Whether inputs that the test does not run decided the proposal."""
        allowed = self.fields.get("atol", 0.0) + self.fields.get("rtol", 0.0) * self.scale
        decided = bool(self.fields) and allowed < _DECIDED * self.max_abs
        return decided and self.max_abs > _OTHER_DATA * self.own_max_abs


def propose(output: str, precision: str, found: OutputEvidence, margin: float) -> ToleranceProposal:
    """Return the proposal for one output."""
    fields = _fields(found, precision, margin)
    reason = _reason(found, fields) or _beyond(found, fields, precision)
    return ToleranceProposal(
        output,
        precision,
        {} if reason else fields,
        reason,
        found.tolerance.allowance,
        found.runs,
        found.elements,
        found.scale,
        found.max_abs,
        found.own_max_abs,
        (found.quantile(0.5), found.quantile(0.99), found.quantile(0.999)),
        found.cosine,
        found.top1,
    )


def _reason(found: OutputEvidence, fields: Mapping[str, float]) -> str:
    if found.exact:
        return "it is compared exactly"
    if not found.tolerance.elementwise:
        return "its elements are not compared"
    if found.reshaped:
        return (
            f"its shape differs from the reference's in {found.reshaped} of "
            f"{count(found.runs, 'run')}, which no tolerance allows"
        )
    if found.nonfinite:
        are = "is" if found.nonfinite == 1 else "are"
        return (
            f"{count(found.nonfinite, 'element')} {are} not finite on one side, which no tolerance "
            "allows"
        )
    if not found.elements:
        return "it has no finite elements"
    if found.differs:
        return found.differs
    if found.grown:
        return (
            f"its error has more than doubled since it was stored, from {found.grown}: find what "
            "changed the engine, such as its calibration data, or accept it with --trt-update"
        )
    if fields:
        return ""
    rtol, atol = found.needed
    return (
        f"it needs rtol={rtol:.2g} and atol={atol:.2g}, or atol={found.max_abs:.2g} at rtol=0, and "
        f"its largest |reference| is {found.scale:.4g}: with the margin, that tests nothing"
    )


def _beyond(found: OutputEvidence, fields: Mapping[str, float], precision: str) -> str:
    """Return why the tolerance is too wide for a precision that only rounds as the reference."""
    default = DEFAULT_TOLERANCES.get(precision)
    if precision not in FULL_PRECISIONS or default is None:
        return ""
    # Small elements of large outputs differ by a share of the largest.
    most = {
        "rtol": BEYOND_DEFAULT * default.rtol,
        "atol": default.atol * max(BEYOND_DEFAULT, found.scale),
    }
    beyond = [f"{name}={fields[name]:g}" for name, limit in most.items() if fields[name] > limit]
    if not beyond:
        return ""
    return (
        f"it needs {' and '.join(beyond)}, {BEYOND_DEFAULT:g} times the default of {precision} "
        f"({default.allowance}) or more, which rounding does not explain"
    )


def _fields(found: OutputEvidence, precision: str, margin: float) -> dict[str, float]:
    default = DEFAULT_TOLERANCES.get(precision, DEFAULT_TOLERANCES["fp16"])
    (rtol, atol), least_rtol = found.needed, round(_LEAST_SHARE * default.rtol, 9)
    is_idle = tests_nothing(margin * rtol, default.rtol, 1.0) or tests_nothing(
        margin * atol, default.atol, found.scale
    )
    # Alone, half of the largest value would let a constant pass, whatever is usual.
    is_idle_alone = tests_nothing(margin * found.max_abs, 0.0, found.scale)
    if is_idle and is_idle_alone:
        return {}
    # Small elements of an output between 0 and 1, as of a sigmoid, need no share of themselves.
    # Nor do those whose errors are as large as others': a share of half, which may be usual for
    # INT8, would let large ones pass that have half of their size.
    is_even = atol >= _EVEN * found.max_abs and not is_idle_alone
    if is_idle or (is_even and tests_nothing(margin * rtol, 0.0, 1.0)):
        rtol, atol, least_rtol = 0.0, found.max_abs, 0.0
    fields = {
        "rtol": max(rounded_up(margin * rtol), least_rtol),
        "atol": rounded_up(max(margin * atol, _least_atol(default.atol, found.scale))),
    }
    cosine = min(1.0 - rounded_up(margin * (1.0 - found.cosine)), _MOST_COSINE)
    if cosine >= _LEAST_COSINE:
        fields["cosine"] = round(cosine, 9)
    if found.tolerance.top1 is not None and found.top1 is not None:
        top1 = math.floor((1.0 - margin * (1.0 - found.top1)) * 1000) / 1000
        if top1 > 0:
            fields["top1"] = top1
    return fields


def _least_atol(default: float, scale: float) -> float:
    least = _LEAST_SHARE * default
    if not scale:
        return least
    return max(least * scale, min(least, _MOST_OF_SMALL * scale))


@dataclass(frozen=True, slots=True)
class LimitProposal:
    """What is proposed for the limit of a metric.

    Attributes:
        metric: The metric.
        output: The output that it judges; empty for several.
        precision: The precision.
        now: The limit now, as it is typed.
        limit: The proposed limit, as it is typed; empty where there was no value.
        value: The worst value of all runs; None where a run had none.
        runs: Runs that it was measured at.
    """

    metric: str
    output: str
    precision: str
    now: str
    limit: str
    value: float | None
    runs: int


def propose_limit(
    found: MetricOutcome, precision: str, margin: float, *, differs: bool = False
) -> LimitProposal:
    """Return the proposal for the limit of a metric.

    Errors get the margin as a factor. Shares and similarities, which end at 1, may lose the margin
    times what they lost; decibels, as much as the factor is.

    Args:
        found: The metric, at its worst run.
        precision: The engine's precision.
        margin: By how much the limit exceeds what the runs needed.
        differs: Whether the model itself differs from the reference: no limit makes up for that.
    """
    now = f"{found.comparison} {found.bound:g}"
    limit = "" if found.value is None or differs else _limit(found, found.value, margin)
    return LimitProposal(found.name, found.output, precision, now, limit, found.value, found.runs)


def _limit(found: MetricOutcome, value: float, margin: float) -> str:
    if not math.isfinite(value) or found.comparison == "==":
        return ""
    if "<" in found.comparison:
        bound = rounded_up(max(value, 0.0) * margin) if value > 0 else found.bound
        return f"{found.comparison} {bound:g}"
    if found.unit == "dB":
        bound = math.floor(10 * (value - 20 * math.log10(margin))) / 10
    elif value <= 1.0:
        bound = math.floor(1000 * (1.0 - margin * (1.0 - value))) / 1000
    else:
        bound = value / margin
    return f"{found.comparison} {bound:.6g}" if bound > 0 else ""


def loosest(limits: Sequence[LimitProposal]) -> str:
    """Return the loosest of several limits of one metric; "" where one of them is none."""
    if not all(one.limit for one in limits) or len({one.limit.split()[0] for one in limits}) > 1:
        return ""
    choose = max if limits[0].limit.startswith("<") else min
    return choose((one.limit for one in limits), key=lambda text: float(text.split()[1]))


@dataclass(frozen=True, slots=True)
class TestTolerances:
    """What is proposed for one test function.

    Attributes:
        test: Its node id, without parameters.
        file: Its file.
        names: Its class, if any, and its name.
        outputs: What is proposed for each output and precision.
        limits: What is proposed for each metric of the marker.
        marker: The arguments of the closest marker.
        precisions: All precisions of the test, also those that did not run.
        models_left: How many of its models did not run.
        has_errors: Whether the errors of all its engines are stored.
    """

    __test__ = False  # not a test class, despite its name

    test: str
    file: Path
    names: tuple[str, ...]
    outputs: tuple[ToleranceProposal, ...]
    limits: tuple[LimitProposal, ...] = ()
    marker: Mapping[str, object] = field(default_factory=dict)
    precisions: tuple[str, ...] = ()
    models_left: int = 0
    has_errors: bool = False

    def place(self, source: str) -> tuple[int, int]:
        """Return where the source of the file has the marker: its line and column.

        Raises:
            CannotEditError: It is written elsewhere.
        """
        return place_of(source, self.names, _MARKER, self.marker)

    @property
    def drift(self) -> str:
        """By how much errors may grow, where those of all engines are stored and none has grown."""
        several = {*self.precisions} - {one.precision for one in self.outputs}
        sound = self.has_errors and not several and all(one.fields for one in self.outputs)
        return _DRIFT if sound and not self.models_left and "drift" not in self.marker else ""

    def arguments(self) -> str:
        """Return the proposals as arguments of the marker, to be pasted."""
        given: dict[str, object] = {"drift": self.drift} if self.drift else {}
        for one in self.outputs:
            if one.fields:
                _put(given, [*self._path(one, plain=True)], dict(one.fields))
        return ", ".join(f"{name}={literal(value)}" for name, value in given.items())

    def edited(self, source: str) -> str:
        """Return the source of the file with all proposals in the marker.

        Raises:
            CannotEditError: The marker cannot be edited safely.
        """
        before = source
        for one in self.outputs:
            keywords = keywords_of(source, self.names, _MARKER)
            path = self._path(one, plain=not keywords & {"outputs", "by_precision"})
            for name, value in one.fields.items():
                source = set_argument(source, self.names, _MARKER, [*path, name], value)
        if self.drift:
            source = set_argument(source, self.names, _MARKER, ["drift"], self.drift)
        for metric in {one.metric: None for one in self.limits}:
            # A marker has one limit for all outputs and precisions, unless it says otherwise.
            limits = [one for one in self.limits if one.metric == metric]
            limit = loosest(limits)
            if limit and metric not in self.limits_left:
                source = set_limit(source, self.names, _MARKER, metric, limit)
        return source if source == before else wrapped(source, self.names, _MARKER)

    @property
    def limits_left(self) -> tuple[str, ...]:
        """Metrics whose limits are not edited: they also apply where they were not measured."""
        measured: dict[str, set[str]] = defaultdict(set)
        for one in self.limits:
            measured[one.metric].add(one.precision)
        several = self._is_by_precision and "by_precision" in self.marker
        return tuple(
            metric
            for metric, precisions in measured.items()
            if several or not precisions >= {*self.precisions}
        )

    @property
    def _is_by_precision(self) -> bool:
        """Whether an argument for all precisions would apply to some that were not measured."""
        measured = {one.precision for one in self.outputs}
        return len(measured.union(self.precisions)) > 1 or "by_precision" in self.marker

    def _path(self, one: ToleranceProposal, *, plain: bool) -> tuple[str, ...]:
        """Return where the fields of an output stand in the marker."""
        if self._is_by_precision:
            return ("by_precision", one.precision, "outputs", one.output)
        if plain and len({other.output for other in self.outputs}) == 1:
            return ()
        return ("outputs", one.output)


def _put(given: dict[str, Any], path: Sequence[str], value: dict[str, float]) -> None:
    for name in path:
        given = given.setdefault(name, {})
    given.update(value)


def edit(source: str, tests: Sequence[TestTolerances]) -> tuple[str, dict[str, str]]:
    """Return source with the proposals of its tests, and why the markers of some are unchanged."""
    places: dict[tuple[int, int], list[TestTolerances]] = defaultdict(list)
    unchanged: dict[str, str] = {}
    for test in tests:
        try:
            places[test.place(source)].append(test)
        except (CannotEditError, SyntaxError) as error:
            unchanged[test.test] = str(error)
    for sharing in places.values():
        try:
            if len(sharing) > 1:
                # What one of them needs would fail another, or test nothing there.
                raise CannotEditError(f"it is that of {len(sharing)} tests; give each its own")
            names = tests_with(source, sharing[0].names, _MARKER)
            others = names - {test.names for test in tests if test.file == sharing[0].file}
            if others:
                raise CannotEditError(
                    f"it is also that of {'.'.join(min(others))}, which did not run; give each its "
                    "own"
                )
            if sharing[0].models_left:
                raise CannotEditError(
                    f"it is also that of {count(sharing[0].models_left, 'model')} that did not run"
                )
            source = sharing[0].edited(source)
        except CannotEditError as error:
            unchanged |= {test.test: str(error) for test in sharing}
    return source, unchanged
