"""What is refused of a test at collection: markers that would check nothing, or only a part.

Each check raises ConfigurationError.
"""

from __future__ import annotations

import difflib
import inspect
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest

from pytest_trt.diagnostics import ConfigurationError, Diagnostic, Remedy
from pytest_trt.plugin.names import FIXTURES, is_ours
from pytest_trt.plugin.planning.keywords import PER_MODEL
from pytest_trt.plugin.planning.markers import BenchmarkMarker, ConsistencyMarker, ModelMarker
from pytest_trt.plugin.planning.marks import multiplied, params_of, places, pytestmark_of
from pytest_trt.plugin.planning.plan import (
    ARCH,
    MODEL,
    PRECISION,
    SHAPE,
    Parsed,
    ParsedModels,
    chosen_point,
    limits_of,
)
from pytest_trt.plugin.planning.plan_files import PLACEHOLDERS, PlanFiles
from pytest_trt.tensors.profile_choice import distinct_points, shapes_at
from pytest_trt.tensors.profiles import Profile
from pytest_trt.tensors.seeded import check_seedable
from pytest_trt.tensors.spec import TensorSpec
from pytest_trt.wording import known_names

if TYPE_CHECKING:
    from pytest_trt.backends.selection import Selection
    from pytest_trt.plugin.run import TrtRun

#: Of a module or class: see `_modules_above`. pytest loads all of them before it collects one.
_ABOVE_KEY = pytest.StashKey[Sequence[ModuleType]]()

#: The module of the plugin's own fixtures.
_OF_PLUGIN = "pytest_trt.plugin.fixtures"

#: Fixtures that projects override, as their values are data.
_OF_PROJECTS = ("trt_calibration", "trt_inputs", "trt_reference")


def check_conflicts(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse two marks of one place that disagree: decorators and lists have opposite orders."""
    for place, marks in places(item):
        ours = [mark for mark in marks if is_ours(mark.name, item.config)]
        for number, mark in enumerate(ours):
            for other in (one for one in ours[:number] if one.name == mark.name):
                _refuse_conflict(place, mark, other)


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
    for one, another in ((given, others), (others, given)):
        by_model = one.get(PER_MODEL, {})
        own = by_model.values() if isinstance(by_model, Mapping) else ()
        differing |= {name for each in own for name in each if name in another}
    # The closest trt_consistency decides alone, and a marker that names a model discards others.
    if mark.name == ConsistencyMarker.NAME or "model" in given.keys() & others.keys():
        differing |= given.keys() ^ others.keys()
    if differing:
        raise ConfigurationError(
            f"{mark.name} is given twice on {place}, with different {', '.join(sorted(differing))}",
            fix="merge them into one marker: pytest reads a pytestmark list and stacked decorators "
            "in opposite orders.",
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


def check_scopes(item: pytest.Function, parsed: Parsed) -> None:
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


def check_ignored(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse a pytestmark of a conftest.py or package, which pytest ignores: it checks nothing."""
    for module in _modules_above(item):
        ours = [one for one in pytestmark_of(module) if is_ours(one.name, item.config)]
        if ours:
            raise ConfigurationError(
                f"pytest ignores the {ours[0].name} marker in the pytestmark of {module.__file__}",
                fix="set pytestmark in each test file, or call item.add_marker in "
                "pytest_itemcollected of conftest.py.",
                code="TRT169",
                facts={"marker": ours[0].name, "file": str(module.__file__)},
            )


def check_overrides(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse what looks like an override of a fixture and is none, and a reference without use."""
    used = {"trt_inputs"} & {*item.fixturenames}
    if parsed.consistency is not None:
        used.add("trt_reference")
    for name in sorted(used):
        if not _overrides(item, name):
            _refuse_mistaken_override(item, name)
    reference = parsed.model.reference if parsed.model is not None else None
    if "trt_reference" not in used or reference is None:
        return
    # One that requests what it overrides uses the reference, and `request` may give anything.
    uses = {"trt_reference", "request"}
    if any(uses.isdisjoint(one.argnames) for one in _overrides(item, "trt_reference")):
        raise ConfigurationError(
            f"the markers name reference={reference.name}, but the project overrides "
            "trt_reference, which does not use it",
            fix="remove reference= (reference=None undoes that of an outer marker), or the "
            "override.",
            code="TRT180",
            facts={"fixture": "trt_reference", "file": reference.name},
        )


def check_ignored_parameters(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse a parameter for a fixture of the plugin, which reads none: no test would have it."""
    fixtures = _fixtures(item)
    for name in sorted((FIXTURES - {ARCH, MODEL, PRECISION, SHAPE}) & params_of(item).keys()):
        # An override may read it. Without indirect=True, pytest replaces the fixture by the value.
        if all(one.func.__module__ == _OF_PLUGIN for one in fixtures.get(name, ())[-1:]):
            raise ConfigurationError(
                f"parametrize(..., indirect=True) gives {name} a parameter, which it ignores",
                fix="remove indirect=True: the value then replaces the fixture. Or override the "
                "fixture, and use request.param there."
                if name in _OF_PROJECTS
                else "remove the parameter, or override the fixture and use request.param there.",
                code="TRT180",
                facts={"fixture": name},
            )


def _overrides(item: pytest.Function, name: str) -> list[Any]:
    """Return the project's definitions of a fixture of the plugin that a test may get."""
    manager: Any = item.session._fixturemanager
    definitions = manager.getfixturedefs(name, item) or ()
    return [one for one in definitions if one.func.__module__ != _OF_PLUGIN]


def _refuse_mistaken_override(item: pytest.Function, name: str) -> None:
    """Refuse a function that lacks `@pytest.fixture`, and a fixture that no test would use."""
    for place in _places(item):
        found = getattr(place, name, None)
        # A fixture was a function, too, before pytest 8.4.
        if inspect.isfunction(found) and not hasattr(found, "_pytestfixturefunction"):
            raise ConfigurationError(
                f"{name} in {place.__name__} is a function without @pytest.fixture, so it "
                "overrides nothing",
                fix="decorate it with @pytest.fixture, or rename it.",
                code="TRT180",
                facts={"fixture": name, "file": place.__name__},
            )
    if name == "trt_reference":  # the others are arguments of the tests that use them
        _refuse_misspelt_reference(item)


def _refuse_misspelt_reference(item: pytest.Function) -> None:
    manager: Any = item.session._fixturemanager
    named = {name for place in _places(item) for name in vars(place) if name.startswith("trt_")}
    unused = named.difference(FIXTURES, item.fixturenames)
    # So close that one letter or two differ: a project may have other fixtures of its own.
    close = unused and difflib.get_close_matches("trt_reference", unused, n=1, cutoff=0.9)
    if close and manager.getfixturedefs(close[0], item):
        raise ConfigurationError(
            f"the test does not use the fixture {close[0]}, which looks like a misspelt "
            "trt_reference",
            fix="name it trt_reference to compare with what it returns, or else less like it.",
            code="TRT180",
            facts={"fixture": close[0]},
        )


def _places(item: pytest.Function) -> Iterator[Any]:
    """Yield where fixtures of a test may be defined: its class and bases, and modules."""
    yield from getattr(item.cls, "__mro__", ())
    yield item.module
    yield from _modules_above(item)


def _modules_above(item: pytest.Function) -> Sequence[ModuleType]:
    """Return the conftest.py modules above a test, and the packages that it is in."""
    assert item.parent is not None
    found = item.parent.stash.get(_ABOVE_KEY, None)
    if found is None:
        found = item.parent.stash[_ABOVE_KEY] = [*_found_above(item)]
    return found


def _found_above(item: pytest.Function) -> Iterator[ModuleType]:
    path = str(item.path)
    for plugin in item.config.pluginmanager.get_plugins():
        folder, name = os.path.split(getattr(plugin, "__file__", None) or "")
        if name == "conftest.py" and path.startswith(folder + os.sep):
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


def check_benchmark(item: pytest.Function, parsed: Parsed, run: TrtRun) -> None:
    """Refuse benchmarks that would check nothing, or whose mode cannot be timed."""
    ours = BenchmarkMarker.NAME in item.fixturenames
    if parsed.benchmark is None:
        if ours and not parsed.wrong:
            raise ConfigurationError(
                "the test uses the trt_benchmark fixture, but has no trt_benchmark marker: "
                "nothing would be checked",
                fix="mark the test: @pytest.mark.trt_benchmark (limits are optional).",
                code="TRT153",
            )
        return
    times_itself = hasattr(item.config.option, "benchmark_disable")  # pytest-benchmark
    if not (times_itself and "benchmark" in item.fixturenames):
        return
    if ours:
        raise ConfigurationError(
            "the test uses both trt_benchmark and pytest-benchmark's benchmark fixture, but a test "
            "has one baseline",
            fix="write one test for each fixture.",
            code="TRT153",
        )
    if parsed.consistency is not None:
        raise ConfigurationError(
            "pytest-benchmark's benchmark fixture would also time the comparison that the test's "
            "trt_consistency marker makes",
            fix=Remedy(
                "write one test for accuracy and one for speed.",
                alternatives=("or call trt_benchmark(inputs), which times the engine alone",),
            ),
            code="TRT153",
        )
    for precision in parsed.model.precision if parsed.model is not None else ("",):
        if limits_of(parsed.benchmark, run.settings.limits, precision).faster_than:
            raise ConfigurationError(
                "pytest-benchmark's benchmark fixture times one function, so faster_than= has "
                "nothing to interleave it with",
                fix="call trt_benchmark(inputs) instead, or remove faster_than=.",
                code="TRT153",
            )
    if parsed.benchmark.mode not in (None, "end_to_end"):
        raise ConfigurationError(
            f"pytest-benchmark's benchmark fixture only reads the host's clock, so it cannot time "
            f"mode={parsed.benchmark.mode!r}",
            fix='call trt_benchmark(inputs) instead, or give mode="end_to_end".',
            code="TRT153",
        )


def check_model(item: pytest.Function, parsed: Parsed, run: TrtRun) -> None:
    """Refuse checks without a model; pytest-benchmark's fixture times anything."""
    if parsed.model is not None:
        # A finished plan may have the profiles.
        of_plan = parsed.model.plan is not None and not parsed.profiles
        if parsed.model.model is not None and not of_plan and _seeds_inputs(item):
            _check_seeded(run.interface(parsed.model.model)[0], parsed.profiles)
            if parsed.model.reference is not None:
                only = parsed.model.reference_only
                inputs = run.interface(parsed.model.reference)[0]
                _check_reference_only([one for one in inputs if one.name in only])
    elif parsed.consistency is None and "benchmark" in item.fixturenames:
        if parsed.benchmark is not None:
            limits_of(parsed.benchmark, {}, "")
    elif parsed.benchmark is None and "trt_engines" in item.fixturenames:
        return  # it names the models
    elif not parsed.wrong and (parsed.consistency or parsed.benchmark):
        checked = parsed.consistency or parsed.benchmark
        assert checked is not None
        raise ConfigurationError(
            f"{checked.NAME} has no model to check: no trt_model marker applies to the test",
            fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
            code="TRT151",
            facts={"marker": checked.NAME},
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


def check_models(item: pytest.Function, parsed: Parsed, models: ParsedModels) -> None:
    """Refuse a test that would check one of several models, and an override of trt_model_path."""
    named, own = list(models.by_id), _fixtures(item).get(MODEL, ())
    if len(named) > 1 and MODEL not in params_of(item):
        if MODEL in item.fixturenames:
            raise _not_multiplied(item, MODEL, named)
        if parsed.consistency is not None or parsed.benchmark is not None:
            raise ConfigurationError(
                f"the markers name {len(named)} models, but the test uses none of the fixtures "
                "that run it once for each",
                fix="add trt_session or trt_model_path to the arguments of the test.",
                code="TRT154",
                facts={"fixture": MODEL, "values": named},
            )
    # A parameter of the test is a fixture of pytest itself.
    if own and not own[-1].func.__module__.startswith(("_pytest.", "pytest_trt.")):
        raise ConfigurationError(
            "the project overrides trt_model_path, which would not change the model under test",
            fix="name the model in trt_model.",
            code="TRT154",
            facts={"fixture": MODEL},
        )


def check_model_fixture(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse a fixture for the model that does not exist, or that cannot give all of its values."""
    name = parsed.model.fixture if parsed.model is not None else ""
    if not name:
        return
    manager: Any = item.session._fixturemanager  # pytest has no other way to ask for a fixture
    reached = _reached(manager, item, name)
    if not reached[name]:
        raise ConfigurationError(
            f"trt_model(fixture={name!r}): there is no such fixture",
            fix="correct the name, or define it in the test file or a conftest.py above it.",
            code="TRT176",
            facts={"fixture": name},
        )
    if MODEL in reached or MODEL in params_of(item):
        needs = "requests the model itself" if MODEL in reached else "would not be requested"
        raise ConfigurationError(
            f"trt_model(fixture={name!r}): the fixture {needs}, by trt_model_path",
            fix="let the fixture return a path without any fixture of the model, and do not "
            "parametrise trt_model_path.",
            code="TRT176",
            facts={"fixture": name},
        )
    for one, definitions in reached.items():
        if definitions and definitions[-1].params and one not in item.fixturenames:
            raise ConfigurationError(
                f"trt_model(fixture={name!r}): the fixture {one} has parameters, and the test "
                "would run for none of them",
                fix=f"add {name} to the arguments of the test.",
                code="TRT154",
                facts={"fixture": one},
            )


def _reached(manager: Any, item: pytest.Function, name: str) -> dict[str, Sequence[Any]]:
    """Return a fixture and all that it requests, by name."""
    found: dict[str, Sequence[Any]] = {}
    names = [name]
    while names:
        one = names.pop()
        if one not in found:
            found[one] = manager.getfixturedefs(one, item) or ()
            names += [each for definition in found[one][-1:] for each in definition.argnames]
    return found


def unknown_model(value: str, models: ParsedModels) -> Diagnostic:
    """Return why a test is refused that parametrises trt_model_path with an unknown model."""
    return Diagnostic(
        "TRT154",
        f"the test is parametrised with trt_model_path={value!r}, which its markers do not name",
        {"fixture": MODEL, "value": value},
        remedy=Remedy(known_names("model", value, models.by_id)),
    )


def _check_reference_only(inputs: Sequence[TensorSpec]) -> None:
    """Refuse inputs for the reference alone that cannot be generated: profiles are the engine's."""
    check_seedable(inputs, {})
    for spec in inputs:
        if spec.is_dynamic:
            raise ConfigurationError(
                f"input {spec}, which only the reference has, is dynamic, and profiles= are those "
                "of the model",
                fix="override trt_inputs, with a value for this input too.",
                code="TRT211",
                facts=spec.facts,
            )


def check_variants(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse a test that would run for only a part of what its markers name."""
    params, values = params_of(item), parsed.variants
    for fixture, value in multiplied(item).items():
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
            f"the test is parametrised with trt_arch={params[ARCH]!r}, but this run tests "
            f"{', '.join(values[ARCH])}",
            fix=f"run with --trt-arch={params[ARCH]}, or do not parametrise trt_arch.",
            code="TRT154",
            facts={"fixture": ARCH, "values": list(values[ARCH])},
        )


def check_sweep(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse a sweep over the points of profiles in a test that would not run at all of them."""
    if not parsed.sweeps or parsed.wrong:
        return
    if SHAPE not in item.fixturenames:
        problem = "the test uses neither trt_inputs nor trt_shape, so it runs at no point of them"
        fix = "add trt_inputs to its arguments; an override of it has to request trt_shape."
    elif len(parsed.variants[SHAPE]) < 2:
        problem = "no profile of the model has more than one shape"
        fix = "give trt_model(profiles=...) with min, opt and max."
    elif SHAPE in params_of(item) and SHAPE not in multiplied(item):
        problem = "the test is parametrised with trt_shape, which decides where it runs"
        fix = "leave one of the two out."
    else:
        return
    raise ConfigurationError(
        f'sweep="profile" runs a test at the points of the profiles, but {problem}',
        fix=fix,
        code="TRT178",
        facts={"invariant": "sweep"},
    )


def check_rebuilds(item: pytest.Function, parsed: Parsed) -> None:
    """Refuse to build finished plans again."""
    named = parsed.consistency is not None and parsed.consistency.invariants.get("rebuilds")
    if named and parsed.model is not None and parsed.model.plan is not None:
        raise no_rebuilds(parsed.model.name)


def no_rebuilds(model: str) -> ConfigurationError:
    """Return the error of a test that builds a finished plan again."""
    return ConfigurationError(
        f"rebuilds= builds engines of {model} again, but the test names a finished plan, which "
        "another job built",
        fix="leave plan= or rebuilds= out.",
        code="TRT178",
        facts={"invariant": "rebuilds", "model": model},
    )


def _not_multiplied(
    item: pytest.Function, fixture: str, values: Sequence[str]
) -> ConfigurationError:
    of_unittest = not hasattr(item, "callspec") and item.__class__.__name__ == "TestCaseFunction"
    fix = Remedy(
        "name one value for this test, or move the marker to where pytest can parametrise it:",
        alternatives=(
            ("pytest does not parametrise methods of unittest.TestCase: use a plain class",)
            if of_unittest
            else (
                "the function, its class, its module, or a pytest.param of parametrize; not a "
                "hook or the parameters of a fixture",
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


def check_plan_files(parsed: Iterable[Parsed], selections: Iterable[Selection]) -> None:
    """Refuse plans that several combinations of a test would share, and limits on their build."""
    found: dict[Path, str] = {}
    for one in parsed:
        model = one.model
        if model is None or model.plan is None:
            continue
        for selection in selections:
            for precision in model.precision:
                arch, backend = selection.arch, selection.backend
                path = model.plan.path(model.model, precision=precision, arch=arch, backend=backend)
                which = f"{model.name} {precision} for {arch}"
                with one.gathered():
                    if path in found:
                        raise _shared(model.plan, path, found[path], which)
                found[path] = which
        if one.benchmark is not None and one.benchmark.limits.get("build_s") is not None:
            with one.gathered():
                raise ConfigurationError(
                    "trt_benchmark: build_s= limits a build, and with plan= nothing is built",
                    fix="remove build_s=, or plan=.",
                    code="TRT165",
                    facts={"limit": "build_s"},
                )


def _shared(files: PlanFiles, path: Path, one: str, other: str) -> ConfigurationError:
    missing = [name for name in PLACEHOLDERS if name not in files.names]
    return ConfigurationError(
        f"trt_model: plan={files.given!r} names one file for {one} and for {other}",
        fix=Remedy(
            f"add a placeholder: {', '.join(f'{{{name}}}' for name in missing)}.",
            alternatives=("or give other plans with per_model=", "or name one combination"),
        ),
        code="TRT150",
        facts={"marker": ModelMarker.NAME, "path": str(path)},
    )
