"""TestPlan: what one test checks, parsed, resolved and validated when the test is collected.

Nothing reads a marker afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast, get_args

import pytest

from pytest_trt.accuracy.resolve import resolve_tolerances
from pytest_trt.diagnostics import ConfigurationError, Diagnostic, PytestTrtError
from pytest_trt.plugin.planning.markers import BenchmarkMarker, ConsistencyMarker, ModelMarker
from pytest_trt.plugin.planning.named_models import NamedModel
from pytest_trt.plugin.planning.opponents import Opponent, same_engine
from pytest_trt.plugin.planning.stale_entries import StaleEntry
from pytest_trt.tensors.profiles import Profile
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import Point

if TYPE_CHECKING:
    from pytest_trt.accuracy.invariants import WantedInvariants
    from pytest_trt.accuracy.metric_checks import MetricCheck
    from pytest_trt.accuracy.tolerance import Tolerance
    from pytest_trt.statistics.limits import Limits

#: The fixtures by which a test is multiplied, in the order in which its id names them.
ARCH, MODEL, PRECISION, SHAPE = "trt_arch", "trt_model_path", "trt_precision", "trt_shape"


@dataclass(frozen=True, slots=True)
class TestPlan:
    """What one test checks, with what, and on what.

    Attributes:
        marks: The marks that it was made from, the closest first.
        model: The model under test and how its engines are built; None where no marker names one.
        profiles: The parsed optimisation profiles of the model.
        arch: The architecture under test.
        precision: The precision under test; empty without a model.
        named: Precisions that its accuracy check has to compare; empty where none is named.
        consistency: Tolerances of the accuracy check; None where the test has none.
        benchmark: Limits of the speed check; None where the test has none.
        opponents: The engines that it has to be faster than, by name.
        against: "model", "stored" or "both": what the accuracy check compares with.
        variants: What the test is multiplied by: values by fixture.
        ini_tolerances: Tolerances of the ini file, by precision.
        ini_limits: Limits of the ini file, by precision.
        wrong: Why the test fails before its setup: its model is one of several, and cannot be
            tested.
    """

    __test__ = False  # not a test class, despite its name

    marks: tuple[pytest.Mark, ...]
    model: ModelMarker | None
    profiles: tuple[Profile, ...]
    arch: str
    precision: str
    named: tuple[str, ...]
    consistency: ConsistencyMarker | None
    benchmark: BenchmarkMarker | None
    opponents: Mapping[str, Opponent]
    against: str
    variants: Mapping[str, Sequence[str]]
    ini_tolerances: Mapping[str, Mapping[str, object]]
    ini_limits: Mapping[str, Mapping[str, float | None]]
    wrong: tuple[Diagnostic, ...] = ()

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks that the test makes: "consistency", "benchmark"."""
        made = {"consistency": self.consistency, "benchmark": self.benchmark}
        return tuple(name for name, marker in made.items() if marker is not None)

    @property
    def invariants(self) -> WantedInvariants | None:
        """The invariants that the accuracy check requires of every run; None for none."""
        marker = self.consistency
        if marker is None or not marker.invariants:
            return None
        from pytest_trt.accuracy.invariants import WantedInvariants

        return WantedInvariants(
            batch_invariant=bool(marker.invariants.get("batch_invariant")),
            deterministic=marker.invariants.get("deterministic", 0),
            rebuilds=marker.invariants.get("rebuilds", 0),
        )

    def tolerances(self, outputs: Sequence[TensorSpec], precision: str) -> Mapping[str, Tolerance]:
        """Return the tolerance of every output in a precision.

        Raises:
            ConfigurationError: See `resolve_tolerances`.
        """
        marker = self.consistency or ConsistencyMarker()
        return tolerances_of(marker, self.ini_tolerances, outputs, precision)

    def metrics(self, outputs: Sequence[TensorSpec], precision: str) -> Sequence[MetricCheck]:
        """Return the metrics that judge outputs as a whole in a precision.

        Raises:
            ConfigurationError: See `resolve_metrics`.
        """
        return metrics_of(self.consistency or ConsistencyMarker(), outputs, precision)

    def limits(self, precision: str) -> Limits:
        """Return the limits of the speed check in a precision; none where it is its only opponent.

        Raises:
            ConfigurationError: All of them are switched off.
        """
        limits = limits_of(self.benchmark or BenchmarkMarker(), self.ini_limits, precision)
        return limits.without(self.same_engine(precision))

    def same_engine(self, precision: str) -> tuple[str, ...]:
        """Return the opponents of the speed check that are the engine of a precision itself."""
        own = self.model.id if self.model is not None else ""
        return same_engine(self.opponents, own, precision)


def tolerances_of(
    marker: ConsistencyMarker,
    ini: Mapping[str, Mapping[str, object]],
    outputs: Sequence[TensorSpec],
    precision: str,
) -> Mapping[str, Tolerance]:
    """Return the tolerance of every output: the marker's, else the ini file's, else the default.

    Raises:
        ConfigurationError: See `resolve_tolerances`; or nothing judges an output.
    """
    given = marker.at(precision)
    tolerances = resolve_tolerances(
        outputs,
        precision=precision,
        marker=given.tolerance,
        per_output=given.outputs,
        ini=ini,
    )
    if not all(one.elementwise for one in tolerances.values()):
        from pytest_trt.accuracy.metric_checks import check_judged

        check_judged(tolerances, metrics_of(marker, outputs, precision))
        if marker.drift and not any(one.elementwise for one in tolerances.values()):
            raise ConfigurationError(
                "drift= limits the error of elements, and no output's elements are compared",
                fix="remove drift=, or compare the elements of an output.",
                code="TRT140",
                facts={"field": "drift"},
            )
    return tolerances


def metrics_of(
    marker: ConsistencyMarker, outputs: Sequence[TensorSpec], precision: str
) -> Sequence[MetricCheck]:
    """Return the metrics that a marker has for a model's outputs in a precision.

    Raises:
        ConfigurationError: See `resolve_metrics`.
    """
    given = marker.at(precision)
    if not given.metrics and not given.output_metrics:
        return ()
    from pytest_trt.accuracy.metric_checks import resolve_metrics

    return resolve_metrics(outputs, given.metrics, given.output_metrics)


def limits_of(
    marker: BenchmarkMarker, ini: Mapping[str, Mapping[str, float | None]], precision: str
) -> Limits:
    """Return the limits of a speed check: the marker's, else the ini file's, else the defaults.

    Raises:
        ConfigurationError: All of them are switched off.
    """
    from pytest_trt.statistics.limits import resolve_limits

    return resolve_limits(marker.limits, ini.get(precision, {}))


@dataclass(slots=True)
class Parsed:
    """The parsed content of a set of marks for one model, whichever test has them.

    Attributes:
        marks: The marks, the closest first.
        named: The model as the markers name it; None where they name none.
        model: The model; None where no marker names one, or a marker is wrong.
        consistency: The accuracy check.
        benchmark: The speed check.
        opponents: The engines that it compares with, by name.
        profiles: The profiles of the model.
        wrong: What is wrong with the marks.
        variants: What a test is multiplied by: values by fixture.
    """

    marks: tuple[pytest.Mark, ...]
    named: NamedModel | None = None
    model: ModelMarker | None = None
    consistency: ConsistencyMarker | None = None
    benchmark: BenchmarkMarker | None = None
    opponents: Mapping[str, Opponent] = field(default_factory=dict)
    profiles: tuple[Profile, ...] = ()
    wrong: list[Diagnostic] = field(default_factory=list)
    variants: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def sweeps(self) -> bool:
        """Whether a check also runs between the points of each profile."""
        checks = (self.consistency, self.benchmark)
        return any(one.sweep for one in checks if one is not None)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Add an error to what is wrong, so that all of it is reported together."""
        with gathered_into(self.wrong):
            yield


@dataclass(frozen=True, slots=True)
class ParsedModels:
    """The parsed content of a set of marks, for each model that they name.

    Attributes:
        by_id: The content by the model's id; a single entry where they name no model.
        several: Whether ids of tests name the model, see `NamedModels`.
        stale: Entries of `per_model` for models that are missing or left out.
    """

    by_id: Mapping[str, Parsed]
    several: bool = False
    stale: tuple[StaleEntry, ...] = ()

    def of(self, params: Mapping[str, object]) -> Parsed | None:
        """Return the content for the model of a test, by its parameters; None if it is unknown."""
        if MODEL in params:
            return self.by_id.get(str(params[MODEL]))
        return next(iter(self.by_id.values()))


@contextmanager
def gathered_into(wrong: list[Diagnostic]) -> Iterator[None]:
    """Add an error to a list instead of raising it."""
    try:
        yield
    except PytestTrtError as error:
        wrong.append(error.diagnostic)


def chosen_point(
    point: str, profiles: Sequence[Profile], model: ModelMarker
) -> tuple[Profile | None, Point]:
    """Return the profile and its point that a value of trt_shape names.

    Raises:
        ConfigurationError: The value names none.
    """
    index, _, name = point.rpartition("-")
    # Without a number it is the first profile's.
    if index not in ["", *map(str, range(len(profiles)))] or name not in get_args(Point):
        numbered = ", preceded by the number of the profile, such as 0-min" * (len(profiles) > 1)
        raise ConfigurationError(
            f"trt_shape={point!r} is not a point of a profile of {model.name}",
            fix=f"use {', '.join(get_args(Point))}{numbered}.",
            code="TRT154",
            facts={"fixture": SHAPE, "value": point},
        )
    return (profiles[int(index or 0)] if profiles else None), cast(Point, name)
