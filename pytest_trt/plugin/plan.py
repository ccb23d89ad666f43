"""TestPlan: what one test checks, parsed, resolved and validated when the test is collected.

A plan is made from the collected item, so that marks of `pytest.param`, of hooks and of subclasses
count. Nothing reads a marker afterwards.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import pytest

from pytest_trt.accuracy.resolve import resolve_tolerances
from pytest_trt.diagnostics import ConfigurationError, Diagnostic, PytestTrtError, Remedy
from pytest_trt.plugin.markers import (
    BenchmarkMarker,
    ConsistencyMarker,
    ModelMarker,
    check_names,
    parse_benchmark,
    parse_consistency,
    parse_model,
)
from pytest_trt.plugin.names import FIXTURES, is_ours
from pytest_trt.tensors.profile_choice import distinct_points, shapes_at, values_at
from pytest_trt.tensors.profiles import Profile, parse_profiles
from pytest_trt.tensors.seeded import check_ranges, check_seedable
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.tensors.value_ranges import Point

if TYPE_CHECKING:
    from pytest_trt.accuracy.tolerance import Tolerance
    from pytest_trt.plugin.run import TrtRun
    from pytest_trt.statistics.limits import Limits

#: Of a module or class: names of test functions, with the fixtures that the plugin gives values.
MULTIPLIED_KEY = pytest.StashKey[set[tuple[str, str]]]()

#: The fixtures by which a test is multiplied, in the order in which its id names them.
ARCH, PRECISION, SHAPE = "trt_arch", "trt_precision", "trt_shape"


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
        variants: What the test is multiplied by: values by fixture.
        ini_tolerances: Tolerances of the ini file, by precision.
        ini_limits: Limits of the ini file, by precision.
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
    variants: Mapping[str, Sequence[str]]
    ini_tolerances: Mapping[str, Mapping[str, object]]
    ini_limits: Mapping[str, Mapping[str, float | None]]

    @property
    def checks(self) -> tuple[str, ...]:
        """The checks that the test makes: "consistency", "benchmark"."""
        made = {"consistency": self.consistency, "benchmark": self.benchmark}
        return tuple(name for name, marker in made.items() if marker is not None)

    def tolerances(self, outputs: Sequence[TensorSpec], precision: str) -> Mapping[str, Tolerance]:
        """Return the tolerance of every output in a precision.

        Raises:
            ConfigurationError: See `resolve_tolerances`.
        """
        marker = self.consistency or ConsistencyMarker()
        return _tolerances(marker, self.ini_tolerances, outputs, precision)

    def limits(self, precision: str) -> Limits:
        """Return the limits of the speed check in a precision.

        Raises:
            ConfigurationError: All of them are switched off.
        """
        return _limits(self.benchmark or BenchmarkMarker(), self.ini_limits, precision)


def _tolerances(
    marker: ConsistencyMarker,
    ini: Mapping[str, Mapping[str, object]],
    outputs: Sequence[TensorSpec],
    precision: str,
) -> Mapping[str, Tolerance]:
    given = marker.at(precision)
    return resolve_tolerances(
        outputs,
        precision=precision,
        marker=given.tolerance,
        per_output=given.outputs,
        ini=ini,
    )


def _limits(
    marker: BenchmarkMarker, ini: Mapping[str, Mapping[str, float | None]], precision: str
) -> Limits:
    from pytest_trt.statistics.limits import resolve_limits

    return resolve_limits(marker.limits, ini.get(precision, {}))


class PlanError(Exception):
    """A test has no valid plan.

    Attributes:
        diagnostics: Everything that is wrong with its markers.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        self.diagnostics = tuple(diagnostics)


@dataclass(slots=True)
class _Parsed:
    """The parsed content of a set of marks, whichever test has them."""

    marks: tuple[pytest.Mark, ...]
    model: ModelMarker | None = None
    consistency: ConsistencyMarker | None = None
    benchmark: BenchmarkMarker | None = None
    profiles: tuple[Profile, ...] = ()
    wrong: list[Diagnostic] = field(default_factory=list)

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """Add an error to what is wrong, so that all of it is reported together."""
        with _gathered(self.wrong):
            yield


@contextmanager
def _gathered(wrong: list[Diagnostic]) -> Iterator[None]:
    try:
        yield
    except PytestTrtError as error:
        wrong.append(error.diagnostic)


class Planner:
    """Makes the plans of a run's tests.

    Args:
        run: What the tests of the run share.
    """

    def __init__(self, run: TrtRun) -> None:
        self._run = run
        self._parsed: dict[tuple[object, ...], _Parsed] = {}

    def variants(
        self, marks: Sequence[tuple[pytest.Mark, ...]], path: Path
    ) -> dict[str, tuple[str, ...]]:
        """Return by what a test function is multiplied: the values of all of its parameter sets.

        Args:
            marks: The marks of each parameter set, the closest first.
            path: The test's file.
        """
        union: dict[str, dict[str, None]] = {ARCH: {}, PRECISION: {}, SHAPE: {}}
        for each in marks:
            for fixture, values in self._values(self._parse(each, path)).items():
                union[fixture].update(dict.fromkeys(values))
        return {fixture: tuple(values) for fixture, values in union.items()}

    def is_surplus(self, item: pytest.Function) -> bool:
        """Whether a test has a value that only another parameter set of its function names."""
        values = self._values(self._parse(marks_of(item), item.path))
        return any(
            values[fixture] and value not in values[fixture]
            for fixture, value in _multiplied(item).items()
        )

    def plan(self, item: pytest.Function) -> TestPlan:
        """Return what a test checks.

        Raises:
            PlanError: Its markers are wrong, or ask for what this test does not do.
        """
        marks, settings = marks_of(item), self._run.settings
        parsed = self._parse(marks, item.path)
        wrong, values = list(parsed.wrong), self._values(parsed)
        checks = (self._check_benchmark, self._check_model, self._check_variants)
        for check in (_check_conflicts, _check_scopes, _check_ignored, *checks):
            with _gathered(wrong):
                check(item, parsed)
        if wrong:
            raise PlanError(wrong)
        params = _params(item)
        precisions = values[PRECISION] or ("",)
        precision = str(params.get(PRECISION, precisions[0]))
        named = (precision,) if PRECISION in params else precisions
        return TestPlan(
            marks=marks,
            model=parsed.model,
            profiles=parsed.profiles,
            arch=str(params.get(ARCH, values[ARCH][0])),
            precision=precision,
            # A marker without precision= names none, and trt_build may give any.
            named=() if precisions in (("fp32",), ("",)) else named,
            consistency=parsed.consistency,
            benchmark=parsed.benchmark,
            variants=values,
            ini_tolerances=settings.tolerances,
            ini_limits=settings.limits,
        )

    def _values(self, parsed: _Parsed) -> dict[str, tuple[str, ...]]:
        archs = tuple(selection.arch for selection in self._run.selections)
        if parsed.model is None:
            return {ARCH: archs, PRECISION: (), SHAPE: ()}
        return {ARCH: archs, PRECISION: parsed.model.precision, SHAPE: _points(parsed.profiles)}

    def _parse(self, marks: tuple[pytest.Mark, ...], path: Path) -> _Parsed:
        # The tests of a module share marks, which are parsed once. The result keeps them alive.
        key = (path, *map(id, marks))
        if key not in self._parsed:
            self._parsed[key] = self._newly_parsed(marks, path)
        return self._parsed[key]

    def _newly_parsed(self, marks: tuple[pytest.Mark, ...], path: Path) -> _Parsed:
        parsed = _Parsed(marks)
        with parsed.gathered():
            check_names(marks)
        with parsed.gathered():
            settings = self._run.settings
            parsed.model = parse_model(marks, path, settings.additional_backends, settings.backend)
        with parsed.gathered():
            parsed.consistency = parse_consistency(marks)
        with parsed.gathered():
            parsed.benchmark = parse_benchmark(marks)
        if parsed.model is not None:
            self._resolve(parsed, parsed.model)
        return parsed

    def _resolve(self, parsed: _Parsed, marker: ModelMarker) -> None:
        """Check the markers against the model, so that a mistake shows before anything is built."""
        settings = self._run.settings
        with parsed.gathered():
            inputs, outputs = self._run.interface(marker.model)
            with parsed.gathered():
                parsed.profiles = parse_profiles(marker.profiles, inputs, where="trt_model")
                given = {name for one in parsed.profiles for name in values_at(one, "opt")}
                check_ranges(inputs, marker.input_ranges, given=given)
            with parsed.gathered():
                self._check_reference(marker)
            for precision in marker.precision:
                if parsed.consistency is not None:
                    with parsed.gathered():
                        ini = settings.tolerances
                        _tolerances(parsed.consistency, ini, outputs, precision)
                if parsed.benchmark is not None:
                    with parsed.gathered():
                        _limits(parsed.benchmark, settings.limits, precision)

    def _check_reference(self, marker: ModelMarker) -> None:
        if marker.reference is None:
            return
        wanted, given = (
            {spec.name: spec.dtype for spec in self._run.interface(model)[0]}
            for model in (marker.reference, marker.model)
        )
        if wanted != given:
            raise ConfigurationError(
                f"the reference {marker.reference.name} takes {_listed(wanted)}, and the model "
                f"{marker.model.name} takes {_listed(given)}: the two cannot be compared",
                fix="name a reference that has the model's inputs.",
                code="TRT152",
                facts={"model": marker.model.name, "reference": marker.reference.name},
            )

    def _check_benchmark(self, item: pytest.Function, parsed: _Parsed) -> None:
        """Refuse benchmarks that would check nothing, or whose mode cannot be timed."""
        ours = BenchmarkMarker.NAME in item.fixturenames
        if parsed.benchmark is None:
            if ours and not parsed.wrong:
                raise ConfigurationError(
                    "the test uses the trt_benchmark fixture, but has no trt_benchmark marker: "
                    "nothing would be checked",
                    fix="mark it: @pytest.mark.trt_benchmark, with limits or without.",
                    code="TRT153",
                )
            return
        times_itself = hasattr(item.config.option, "benchmark_disable")  # pytest-benchmark
        if not (times_itself and "benchmark" in item.fixturenames):
            return
        if ours:
            raise ConfigurationError(
                "the test uses trt_benchmark and pytest-benchmark's benchmark, and a test has one "
                "baseline",
                fix="write a test for each.",
                code="TRT153",
            )
        if parsed.consistency is not None:
            raise ConfigurationError(
                "the test has trt_consistency and uses pytest-benchmark's benchmark, which would "
                "time the comparison with the reference too",
                fix=Remedy(
                    "write a test for each.",
                    alternatives=("or call trt_benchmark(inputs), which times the engine alone",),
                ),
                code="TRT153",
            )
        if parsed.benchmark.mode not in (None, "end_to_end"):
            raise ConfigurationError(
                f"trt_benchmark was given mode={parsed.benchmark.mode!r}, and pytest-benchmark, "
                "whose fixture the test uses, only reads the host's clock",
                fix='call trt_benchmark(inputs) instead, or give mode="end_to_end".',
                code="TRT153",
            )

    def _check_model(self, item: pytest.Function, parsed: _Parsed) -> None:
        """Refuse checks without a model; pytest-benchmark's fixture times anything."""
        if parsed.model is not None:
            if _seeds_inputs(item):
                _check_seeded(self._run.interface(parsed.model.model)[0], parsed.profiles)
        elif parsed.consistency is None and "benchmark" in item.fixturenames:
            if parsed.benchmark is not None:
                _limits(parsed.benchmark, {}, "")
        elif parsed.benchmark is None and "trt_engines" in item.fixturenames:
            return  # it names the models
        elif not parsed.wrong and (parsed.consistency or parsed.benchmark):
            checked = parsed.consistency or parsed.benchmark
            assert checked is not None
            raise ConfigurationError(
                f"{checked.NAME} has no model to check",
                fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
                code="TRT151",
                facts={"marker": checked.NAME},
            )

    def _check_variants(self, item: pytest.Function, parsed: _Parsed) -> None:
        """Refuse a test that would run for only a part of what its markers name."""
        params, values = _params(item), self._values(parsed)
        for fixture, value in _multiplied(item).items():
            if values[fixture] and value not in values[fixture]:
                raise _not_multiplied(item, fixture, values[fixture])
        for fixture in (ARCH, PRECISION, SHAPE):
            wanted = values[fixture]
            if fixture in item.fixturenames and fixture not in params and len(wanted) > 1:
                raise _not_multiplied(item, fixture, wanted)
        if parsed.model is not None and SHAPE in params:
            chosen_point(str(params[SHAPE]), parsed.profiles, parsed.model)
        if params.get(ARCH, values[ARCH][0]) not in values[ARCH]:
            raise ConfigurationError(
                f"the test is parametrised with trt_arch={params[ARCH]!r}, which this run does not "
                f"test: it tests {', '.join(values[ARCH])}",
                fix=f"run with --trt-arch={params[ARCH]}, or leave trt_arch to the plugin.",
                code="TRT154",
                facts={"fixture": ARCH, "values": list(values[ARCH])},
            )


def chosen_point(
    point: str, profiles: Sequence[Profile], model: ModelMarker
) -> tuple[Profile | None, Point]:
    """Return the profile and its point that a value of trt_shape names.

    Raises:
        ConfigurationError: The value names none.
    """
    index, _, name = point.rpartition("-")
    # Without a number it is the first profile's.
    if index not in ["", *map(str, range(len(profiles)))] or name not in ("min", "opt", "max"):
        numbered = ", preceded by the number of the profile, such as 0-min" * (len(profiles) > 1)
        raise ConfigurationError(
            f"trt_shape {point!r} is not a point of the profile of {model.model.name}",
            fix=f"use min, opt or max{numbered}.",
            code="TRT154",
            facts={"fixture": SHAPE, "value": point},
        )
    return (profiles[int(index or 0)] if profiles else None), cast(Point, name)


def _not_multiplied(
    item: pytest.Function, fixture: str, values: Sequence[str]
) -> ConfigurationError:
    of_unittest = not hasattr(item, "callspec") and item.__class__.__name__ == "TestCaseFunction"
    fix = Remedy(
        "name one value for this test, or put the marker where pytest can parametrise the test.",
        alternatives=(
            ("pytest does not parametrise methods of unittest.TestCase: use a plain class",)
            if of_unittest
            else (
                "on the function, its class or its module, or on a pytest.param of parametrize; "
                "not in a hook, and not on the parameters of a fixture",
            )
        ),
    )
    return ConfigurationError(
        f"the markers name {fixture} {' and '.join(values)}, but the test would run with only one "
        "of them",
        fix=fix,
        code="TRT154",
        facts={"fixture": fixture, "values": list(values)},
    )


def _check_conflicts(item: pytest.Function, parsed: _Parsed) -> None:
    """Refuse two marks of one place that disagree: decorators and lists have opposite orders."""
    for place, marks in _places(item):
        ours = [mark for mark in marks if is_ours(mark.name, item.config)]
        for number, mark in enumerate(ours):
            for other in (one for one in ours[:number] if one.name == mark.name):
                _refuse_conflict(place, mark, other)


def _check_scopes(item: pytest.Function, parsed: _Parsed) -> None:
    """Refuse a fixture of a wider scope that requests one of ours, as pytest does in the setup."""
    fixtures = _fixtures(item)
    for name, (*_, fixture) in fixtures.items():
        requested = FIXTURES.intersection(fixture.argnames, fixtures)
        narrow = sorted(each for each in requested if fixtures[each][-1].scope == "function")
        if fixture.scope != "function" and narrow:
            raise ConfigurationError(
                f"the fixture {name} has {fixture.scope} scope and requests {narrow[0]}, which has "
                "function scope",
                fix="request trt_engines instead, or give the fixture function scope.",
                code="TRT159",
                facts={"fixture": name, "scope": fixture.scope, "requested": narrow},
            )


def _check_ignored(item: pytest.Function, parsed: _Parsed) -> None:
    """Refuse a pytestmark of a conftest.py or package, which pytest ignores: it checks nothing."""
    for module in _modules_above(item):
        ours = [one for one in _pytestmark(module) if is_ours(one.name, item.config)]
        if ours:
            raise ConfigurationError(
                f"{ours[0].name} is in the pytestmark of {module.__file__}, which pytest ignores",
                fix="write it in each test file, or add it in pytest_itemcollected of conftest.py.",
                code="TRT169",
                facts={"marker": ours[0].name, "file": str(module.__file__)},
            )


def _modules_above(item: pytest.Function) -> Iterator[ModuleType]:
    """Yield the conftest.py modules above a test, and the packages that it is in."""
    for plugin in item.config.pluginmanager.get_plugins():
        file = getattr(plugin, "__file__", None)
        if file and Path(file).name == "conftest.py" and Path(file).parent in item.path.parents:
            yield plugin
    name = getattr(item.module, "__name__", "")
    while name := name.rpartition(".")[0]:
        if getattr(sys.modules.get(name), "__file__", None):
            yield sys.modules[name]


def _fixtures(item: pytest.Function) -> Mapping[str, Sequence[Any]]:
    """Return the fixtures of a test by name, the one that it gets last."""
    fixtures: Mapping[str, Sequence[Any]] = getattr(
        getattr(item, "_fixtureinfo", None), "name2fixturedefs", {}
    )
    return fixtures


def _refuse_conflict(place: str, mark: pytest.Mark, other: pytest.Mark) -> None:
    """Refuse marks of which one would be ignored in part: others set other keywords, and add up."""
    given, others = (
        {**one.kwargs, **({"model": one.args[0]} if one.args else {})} for one in (mark, other)
    )
    differing = {
        name
        for name in given.keys() & others.keys()
        if _without_arrays(given[name]) != _without_arrays(others[name])
    }
    # The closest trt_consistency decides alone, and a marker that names a model discards others.
    if mark.name == ConsistencyMarker.NAME or "model" in given.keys() & others.keys():
        differing |= given.keys() ^ others.keys()
    if differing:
        raise ConfigurationError(
            f"{mark.name} is given twice on {place}, with different {', '.join(sorted(differing))}",
            fix="write one marker: a list and stacked decorators are read in opposite orders.",
            code="TRT150",
            facts={"marker": mark.name},
        )


def _without_arrays(value: Any) -> Any:
    """Return a value whose comparison is true or false: arrays in it compare element by element."""
    if isinstance(value, Mapping):
        return {key: _without_arrays(own) for key, own in value.items()}
    if isinstance(value, list | tuple):
        return [_without_arrays(own) for own in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _places(item: pytest.Function) -> Iterator[tuple[str, Sequence[pytest.Mark]]]:
    """Yield each place where marks are written side by side, and those of it."""
    yield "one parameter set", getattr(getattr(item, "callspec", None), "marks", ())
    yield f"the function {item.originalname}", _pytestmark(item.obj)
    for node in item.listchain():
        if isinstance(node, pytest.Class):
            for cls in node.obj.__mro__:
                yield f"the class {cls.__name__}", _pytestmark(cls)
        elif isinstance(node, pytest.Module):
            yield f"the module {node.name}", _pytestmark(node.obj)


def same_marks(some: Sequence[pytest.Mark], others: Sequence[pytest.Mark]) -> bool:
    """Whether marks are the same objects: arrays in them cannot be compared."""
    return [*map(id, some)] == [*map(id, others)]


def marks_of(node: pytest.Item | pytest.Collector) -> tuple[pytest.Mark, ...]:
    """Return the plugin's marks of a test, the closest first.

    A mark of `pytest.param` is closer than one of the function, and one of a class is closer than
    one of its bases; pytest itself orders both the other way round.
    """
    return tuple(
        mark
        for each in reversed(node.listchain())
        for mark in _own_marks(each)
        if is_ours(mark.name, node.config)
    )


def _own_marks(node: object) -> Sequence[pytest.Mark]:
    marks: list[pytest.Mark] = getattr(node, "own_markers", [])
    if len(marks) < 2:
        return marks
    if isinstance(node, pytest.Class):
        ranks = {
            id(mark): depth
            for depth, cls in enumerate(node.obj.__mro__)
            for mark in _pytestmark(cls)
        }
        # What a hook put in front stays there, what it appended is furthest.
        first = len(list(takewhile(lambda mark: id(mark) not in ranks, marks)))
        rest = sorted(marks[first:], key=lambda mark: ranks.get(id(mark), len(ranks)))
        return [*marks[:first], *rest]
    of_set = {id(mark) for mark in getattr(getattr(node, "callspec", None), "marks", ())}
    if of_set:
        own = of_set | {id(mark) for mark in _pytestmark(getattr(node, "obj", None))}
        first = len(list(takewhile(lambda mark: id(mark) not in own, marks)))
        return [
            *marks[:first],
            *(mark for mark in marks[first:] if id(mark) in of_set),
            *(mark for mark in marks[first:] if id(mark) not in of_set),
        ]
    return marks


def _pytestmark(obj: object) -> list[pytest.Mark]:
    found: Any = getattr(obj, "__dict__", {}).get("pytestmark", [])
    marks = found if isinstance(found, list) else [found]
    return [mark if isinstance(mark, pytest.Mark) else mark.mark for mark in marks]


def _params(item: pytest.Function) -> Mapping[str, object]:
    callspec = getattr(item, "callspec", None)
    return callspec.params if callspec is not None else {}


def _multiplied(item: pytest.Function) -> dict[str, object]:
    """Return the values that the plugin itself gave a test when it multiplied it."""
    assert item.parent is not None
    by_plugin = item.parent.stash.get(MULTIPLIED_KEY, set())
    return {
        fixture: value
        for fixture, value in _params(item).items()
        if (item.originalname, fixture) in by_plugin
    }


def _points(profiles: Sequence[Profile]) -> tuple[str, ...]:
    if len(profiles) < 2:
        return distinct_points(profiles[0] if profiles else None)
    return tuple(
        f"{index}-{point}"
        for index, profile in enumerate(profiles)
        for point in distinct_points(profile)
    )


def _seeds_inputs(item: pytest.Function) -> bool:
    """Whether a test uses the plugin's own trt_inputs, which needs shapes.

    If pytest does not show whether the fixture is overridden, the test finds out when it runs.
    """
    named = _fixtures(item).get("trt_inputs", ())
    return bool(named) and named[-1].func.__module__ == "pytest_trt.plugin.fixtures"


def _check_seeded(inputs: Sequence[TensorSpec], profiles: Sequence[Profile]) -> None:
    """Refuse inputs that cannot be generated before an engine is built for them."""
    check_seedable(inputs, {})
    # Where the values of an input may be a shape, the build checks what the profile needs.
    may_be_shape = (i.dtype in ("int32", "int64") and len(i.shape or (0, 0)) < 2 for i in inputs)
    if not profiles and any(may_be_shape):
        return
    for profile in profiles or (None,):
        for point in distinct_points(profile):
            check_seedable(inputs, shapes_at(inputs, profile, point))


def _listed(dtypes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in dtypes.items()) or "nothing"
