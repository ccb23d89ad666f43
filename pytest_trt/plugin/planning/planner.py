"""Makes the plans of a run's tests.

A plan is made from the collected item, so that marks of `pytest.param`, of hooks and of subclasses
count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytest_trt.diagnostics import Diagnostic, Remedy
from pytest_trt.plugin.planning.lost_marks import check_wrapped
from pytest_trt.plugin.planning.markers import (
    BenchmarkMarker,
    ModelMarker,
    check_names,
    parse_benchmark,
    parse_consistency,
    parse_model,
)
from pytest_trt.plugin.planning.marks import marks_of, multiplied, params_of
from pytest_trt.plugin.planning.named_models import (
    NamedModel,
    NamedModels,
    check_per_model,
    named_models,
)
from pytest_trt.plugin.planning.opponents import (
    check_same_inputs,
    nothing_to_compare,
    parse_opponents,
    same_engine,
)
from pytest_trt.plugin.planning.plan import (
    ARCH,
    MODEL,
    PRECISION,
    SHAPE,
    Parsed,
    ParsedModels,
    TestPlan,
    gathered_into,
    limits_of,
    metrics_of,
    tolerances_of,
)
from pytest_trt.plugin.planning.reference_check import check_reference
from pytest_trt.plugin.planning.refusals import (
    check_benchmark,
    check_conflicts,
    check_ignored,
    check_ignored_parameters,
    check_model,
    check_model_fixture,
    check_models,
    check_overrides,
    check_plan_files,
    check_rebuilds,
    check_scopes,
    check_sweep,
    check_variants,
    unknown_model,
)
from pytest_trt.plugin.planning.stale_entries import StaleEntry
from pytest_trt.tensors.batch import batch_axes, require_batches
from pytest_trt.tensors.profile_choice import distinct_points, values_at
from pytest_trt.tensors.profiles import parse_profiles, profiles_without_model
from pytest_trt.tensors.seeded import check_ranges

if TYPE_CHECKING:
    from pytest_trt.plugin.run import TrtRun


class PlanError(Exception):
    """A test has no valid plan.

    Attributes:
        diagnostics: Everything that is wrong with its markers.
    """

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        super().__init__("\n".join(map(str, diagnostics)))
        # Several checks may read one model, and find the same wrong with it.
        self.diagnostics = tuple({str(one): one for one in diagnostics}.values())


#: The codes of a profile that is not valid, and of a dynamic input without a range of shapes.
_WRONG_PROFILE, _NO_PROFILE = "TRT210", "TRT211"

#: Errors are stored with answers.
_DRIFT_OF_NOTHING = Diagnostic(
    "TRT153",
    "drift= limits the growth of errors since answers were stored, and the test compares with none",
    {"marker": "trt_consistency"},
    remedy=Remedy('Compare with stored answers too: trt_consistency(against="both", drift=...).'),
)


class Planner:
    """Makes the plans of a run's tests.

    Args:
        run: What the tests of the run share.
    """

    def __init__(self, run: TrtRun) -> None:
        self._run = run
        self._parsed: dict[tuple[object, ...], ParsedModels] = {}

    def variants(
        self, marks: Sequence[tuple[pytest.Mark, ...]], path: Path
    ) -> dict[str, tuple[str, ...]]:
        """Return by what a test function is multiplied: the values of all of its parameter sets."""
        union: dict[str, dict[str, None]] = {ARCH: {}, MODEL: {}, PRECISION: {}, SHAPE: {}}
        sets = [self._parse(each, path) for each in marks]
        for parsed in (parsed for each in sets for parsed in each.by_id.values()):
            for fixture, values in parsed.variants.items():
                union[fixture].update(dict.fromkeys(values))
        if not any(each.several for each in sets):
            union[MODEL] = {}
        return {fixture: tuple(values) for fixture, values in union.items()}

    def is_surplus(self, item: pytest.Function) -> bool:
        """Whether a test has a value that only another parameter set of its function names."""
        given = multiplied(item)
        parsed = self._parse(marks_of(item), item.path).of(given)
        if parsed is None:
            return True
        values = parsed.variants
        return any(
            values[fixture] and value not in values[fixture] for fixture, value in given.items()
        )

    def only_of_others(self, item: pytest.Function) -> list[str]:
        """Return the fixtures of which the test has an id only because other models need one.

        A precision stays, as `-k fp16` selects by it.
        """
        parsed = self._parse(marks_of(item), item.path).of(params_of(item))
        if parsed is None:
            return []
        return [SHAPE] if SHAPE in multiplied(item) and len(parsed.variants[SHAPE]) == 1 else []

    def plan(self, item: pytest.Function) -> TestPlan:
        """Return what a test checks.

        Raises:
            PlanError: Its markers are wrong, or ask for what this test does not do.
        """
        params = params_of(item)
        models = self._parse(marks_of(item), item.path)
        parsed = models.of(params)
        if parsed is None:
            raise PlanError([unknown_model(str(params[MODEL]), models)])
        wrong = list(parsed.wrong)
        for check in (
            partial(check_models, models=models),
            check_model_fixture,
            check_conflicts,
            check_scopes,
            check_ignored,
            check_wrapped,
            check_overrides,
            check_ignored_parameters,
            partial(check_benchmark, run=self._run),
            partial(check_model, run=self._run),
            check_variants,
            check_sweep,
            check_rebuilds,
        ):
            with gathered_into(wrong):
                check(item, parsed)
        if any(one.code == _WRONG_PROFILE for one in wrong):
            # A profile is given: that there is none would contradict why it is refused.
            wrong = [one for one in wrong if one.code != _NO_PROFILE]
        if wrong:
            raise PlanError(self._unreadable(parsed, wrong) or wrong)
        plan = self._plan(parsed, params)
        if plan.consistency is not None and plan.consistency.drift and plan.against == "model":
            raise PlanError([_DRIFT_OF_NOTHING])
        return plan

    def names_several(self, item: pytest.Function) -> bool:
        """Whether a test is that of one of several models that its markers name."""
        return MODEL in params_of(item) and self._parse(marks_of(item), item.path).several

    def _unreadable(self, parsed: Parsed, wrong: Sequence[Diagnostic]) -> list[Diagnostic]:
        """Return why a model that lacks profiles cannot be read: no profile would help then."""
        path = parsed.model.model if parsed.model is not None else None
        found: list[Diagnostic] = []
        if path is not None and _NO_PROFILE in {one.code for one in wrong}:
            with gathered_into(found):
                self._run.model(path, lambda text: None)
        return [one for one in found if one.code.startswith("TRT20")]

    def stale_entries(self, item: pytest.Function) -> tuple[StaleEntry, ...]:
        """Return the entries of its markers for models that are missing or left out."""
        return self._parse(marks_of(item), item.path).stale

    def failing_plan(self, item: pytest.Function, wrong: Sequence[Diagnostic]) -> TestPlan:
        """Return the plan of a test that fails when it runs, as its model cannot be tested."""
        params = params_of(item)
        parsed = self._parse(marks_of(item), item.path).of(params)
        assert parsed is not None
        assert parsed.named is not None
        model = parsed.model or ModelMarker(parsed.named.path, id=parsed.named.id)
        return replace(self._plan(parsed, params), model=model, wrong=tuple(wrong))

    def _plan(self, parsed: Parsed, params: Mapping[str, object]) -> TestPlan:
        settings, values = self._run.settings, parsed.variants
        precisions = values[PRECISION] or ("",)
        precision = str(params.get(PRECISION, precisions[0]))
        named = parsed.model.named if parsed.model is not None else ()
        return TestPlan(
            marks=parsed.marks,
            model=parsed.model,
            profiles=parsed.profiles,
            arch=str(params.get(ARCH, values[ARCH][0])),
            precision=precision,
            named=(precision,) if named and PRECISION in params else named,
            consistency=parsed.consistency,
            benchmark=parsed.benchmark,
            opponents=parsed.opponents,
            against=(parsed.consistency and parsed.consistency.against) or settings.against,
            variants=values,
            ini_tolerances=settings.tolerances,
            ini_limits=settings.limits,
        )

    def resolve(self, plan: TestPlan, path: Path, item: pytest.Function) -> TestPlan:
        """Return the plan of a test whose model a fixture has given.

        Raises:
            PlanError: The markers do not fit the model.
        """
        (named,) = named_models(plan.marks, item.path).models
        parsed = Parsed(plan.marks, variants=plan.variants)
        given = replace(named, path=path, given=str(path))
        self._parse_for(parsed, given, item.path, (given,))
        for check in (partial(check_model, run=self._run), check_variants):
            with parsed.gathered():
                check(item, parsed)
        if parsed.wrong:
            raise PlanError(parsed.wrong)
        return replace(
            plan, model=parsed.model, profiles=parsed.profiles, opponents=parsed.opponents
        )

    def _parse(self, marks: tuple[pytest.Mark, ...], path: Path) -> ParsedModels:
        # The tests of a module share marks, which are parsed once. The result keeps them alive.
        key = (path, *map(id, marks))
        if key not in self._parsed:
            self._parsed[key] = self._newly_parsed(marks, path)
        return self._parsed[key]

    def _newly_parsed(self, marks: tuple[pytest.Mark, ...], path: Path) -> ParsedModels:
        wrong: list[Diagnostic] = []
        named, stale = NamedModels(), list[StaleEntry]()
        with gathered_into(wrong):
            check_names(marks)
        with gathered_into(wrong):
            named = named_models(marks, path)
            stale = check_per_model(marks, named.models, path if named.several else None)
        by_id, ids = {}, tuple(one.id for one in named.models)
        for model in named.models or (None,):
            parsed = Parsed(marks, model, wrong=list(wrong))
            self._parse_for(parsed, model, path, named.models)
            parsed.variants = {
                ARCH: tuple(selection.arch for selection in self._run.selections),
                MODEL: ids,
                PRECISION: parsed.model.precision if parsed.model is not None else (),
                SHAPE: _points(parsed) if parsed.model is not None else (),
            }
            by_id[model.id if model is not None else ""] = parsed
        check_plan_files(by_id.values(), self._run.selections)
        return ParsedModels(by_id, named.several, tuple(stale))

    def _parse_for(
        self,
        parsed: Parsed,
        model: NamedModel | None,
        path: Path,
        models: Sequence[NamedModel],
    ) -> None:
        """Parse the marks for one of the models, and check them against it."""
        settings, marks = self._run.settings, parsed.marks
        names = model.names if model is not None else ()
        if model is not None:
            with parsed.gathered():
                parsed.model = parse_model(
                    marks, path, model, settings.additional_backends, settings.backend
                )
        with parsed.gathered():
            parsed.consistency = parse_consistency(marks, names)
        with parsed.gathered():
            parsed.benchmark = parse_benchmark(marks, names)
        if parsed.model is not None:
            self._resolve(parsed, parsed.model)
            if parsed.benchmark is not None:
                self._check_limits(parsed, parsed.benchmark, parsed.model, path, models)

    def _check_limits(
        self,
        parsed: Parsed,
        benchmark: BenchmarkMarker,
        marker: ModelMarker,
        path: Path,
        models: Sequence[NamedModel],
    ) -> None:
        """Check the limits of each precision, and parse the opponents that they name."""
        settings, limits = self._run.settings, {}
        for precision in marker.precision:
            with parsed.gathered():
                limits[precision] = limits_of(benchmark, settings.limits, precision)
        names = dict.fromkeys(name for one in limits.values() for name in one.faster_than)
        if not names:
            return
        with parsed.gathered():
            parsed.opponents = parse_opponents(
                names,
                parsed.marks,
                path,
                models,
                additional=settings.additional_backends,
                backend=settings.backend,
            )
            if marker.model is not None:
                inputs = self._run.interface(marker.model)[0]
                check_same_inputs(parsed.opponents, inputs, self._run.interface)
            same = {p: same_engine(parsed.opponents, marker.id, p) for p in limits}
            can_fail = any(one.without(same[p]).can_fail for p, one in limits.items())
            # Other precisions and models may have something to compare: this one is skipped then.
            if len(models) == 1 and limits and not can_fail:
                raise nothing_to_compare(names)

    def _resolve(self, parsed: Parsed, marker: ModelMarker) -> None:
        """Check the markers against the model, so that a mistake shows before anything is built.

        Of a model that a fixture gives, only the profiles are known before the test runs.
        """
        if marker.model is None:
            with parsed.gathered():
                parsed.profiles = profiles_without_model(marker.profiles, where="trt_model")
            return
        with parsed.gathered():
            inputs, outputs = self._run.interface(marker.model, again=bool(marker.fixture))
            with parsed.gathered():
                parsed.profiles = parse_profiles(marker.profiles, inputs, where="trt_model")
                given = {name for one in parsed.profiles for name in values_at(one, "opt")}
                check_ranges(inputs, marker.input_ranges, given=given)
            if marker.reference is not None:
                with parsed.gathered():
                    reference = self._run.interface(marker.reference)
                    check_reference(marker, (inputs, outputs), reference)
            if parsed.consistency is not None:
                if parsed.consistency.invariants.get("batch_invariant"):
                    with parsed.gathered():
                        where = "trt_consistency(batch_invariant=True)"
                        axes = batch_axes(inputs, outputs, where=where)
                        require_batches(axes, parsed.profiles, where=where)
                for precision in marker.precision:
                    with parsed.gathered():
                        ini = self._run.settings.tolerances
                        tolerances_of(parsed.consistency, ini, outputs, precision)
                        metrics_of(parsed.consistency, outputs, precision)


def _points(parsed: Parsed) -> tuple[str, ...]:
    profiles, sweep = parsed.profiles, parsed.sweeps
    if len(profiles) < 2:
        return distinct_points(profiles[0] if profiles else None, sweep=sweep)
    return tuple(
        f"{index}-{point}"
        for index, profile in enumerate(profiles)
        for point in distinct_points(profile, sweep=sweep)
    )
