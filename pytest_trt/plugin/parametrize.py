"""Markers checked and tests multiplied, when tests are collected."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from pytest_trt.accuracy.resolve import resolve_tolerances
from pytest_trt.backends.selection import Selection
from pytest_trt.diagnostics import ConfigurationError, PytestTrtError
from pytest_trt.plugin.complaints import Complaints, complain
from pytest_trt.plugin.markers import (
    BenchmarkMarker,
    ConsistencyMarker,
    ModelMarker,
    check_names,
    read_benchmark_marker,
    read_consistency_marker,
    read_model_marker,
)
from pytest_trt.plugin.pytest_benchmark import uses_fixture
from pytest_trt.plugin.run import TrtRun
from pytest_trt.plugin.terminal import usage_error
from pytest_trt.tensors.profile_choice import distinct_points, shapes_at, values_at
from pytest_trt.tensors.profiles import Profile, parse_profiles
from pytest_trt.tensors.seeded import check_ranges
from pytest_trt.tensors.spec import TensorSpec


def parametrize(metafunc: pytest.Metafunc, run: TrtRun) -> None:
    """Check a test's markers; run it once for each architecture, precision and shape.

    What is wrong with them fails the collection of its class or module, see `complaints`.

    Raises:
        pytest.UsageError: What the options ask for cannot be tested on this machine.
    """
    item, wrong = metafunc.definition, Complaints()
    marker = consistency = benchmark = None
    with wrong.gathered():
        check_names(item)
    with wrong.gathered():
        marker = read_model_marker(item)
    with wrong.gathered():
        consistency = read_consistency_marker(item)
    with wrong.gathered():
        benchmark = _read_benchmark(item, metafunc)
    profiles: Sequence[Profile] = ()
    if marker is not None:
        with wrong.gathered():
            profiles = _check_inputs(marker, run)
            if not profiles and _seeds_inputs(metafunc):
                _check_seeded(run.interface(marker.model)[0])
        with wrong.gathered():
            _check_reference(marker, run)
        with wrong.gathered():
            _check_outputs(consistency, marker, run)
        with wrong.gathered():
            _check_limits(benchmark, marker, run)
    elif not wrong.found:
        with wrong.gathered():
            _check_without_model(consistency, benchmark, metafunc)
    if wrong.found:
        complain(item, wrong.found)
        return
    _multiply(metafunc, "trt_arch", [selection.arch for selection in _selections(run)])
    if marker is not None:
        _multiply(metafunc, "trt_precision", marker.precision)
        _multiply(metafunc, "trt_shape", _points(profiles))


def _read_benchmark(item: pytest.Item, metafunc: pytest.Metafunc) -> BenchmarkMarker | None:
    benchmark = read_benchmark_marker(item)
    if benchmark is None and BenchmarkMarker.NAME in metafunc.fixturenames:
        raise ConfigurationError(
            "the test asks for the trt_benchmark fixture, but has no trt_benchmark marker: nothing "
            "would be gated.",
            fix="mark it: @pytest.mark.trt_benchmark, with limits or without.",
        )
    if benchmark is not None and uses_fixture(metafunc):
        _check_fixture(benchmark, metafunc)
    return benchmark


def _check_fixture(benchmark: BenchmarkMarker, metafunc: pytest.Metafunc) -> None:
    """Refuse what a test that pytest-benchmark times cannot be asked."""
    if BenchmarkMarker.NAME in metafunc.fixturenames:
        raise ConfigurationError(
            "the test asks for trt_benchmark and for pytest-benchmark's benchmark, and a test has "
            "one baseline.",
            fix="write a test for each.",
        )
    if benchmark.mode not in (None, "end_to_end"):
        raise ConfigurationError(
            f"trt_benchmark was given mode={benchmark.mode!r}, and pytest-benchmark, whose fixture "
            "the test asks for, knows the host's clock alone.",
            fix='call trt_benchmark(inputs) in it instead, or give it mode="end_to_end".',
        )


def _check_inputs(marker: ModelMarker, run: TrtRun) -> Sequence[Profile]:
    inputs = run.interface(marker.model)[0]
    profiles = parse_profiles(marker.profiles, inputs, where="trt_model")
    given = {name for profile in profiles for name in values_at(profile, "opt")}
    check_ranges(inputs, marker.input_ranges, given=given)
    return profiles


def _seeds_inputs(metafunc: pytest.Metafunc) -> bool:
    """Whether a test takes trt_inputs as the plugin makes them, which needs shapes.

    Where pytest no longer tells that the fixture is overridden, the test itself finds out.
    """
    named = getattr(metafunc, "_arg2fixturedefs", {}).get("trt_inputs", ())
    own = bool(named) and named[-1].func.__module__ == "pytest_trt.plugin.fixtures"
    return own and not _chosen(metafunc, "trt_inputs")


def _check_seeded(inputs: Sequence[TensorSpec]) -> None:
    """Refuse inputs of unknown shapes before an engine is built for them."""
    # Where the values of one may be a shape, the build knows what the profile has to hold.
    if not any(i.dtype in ("int32", "int64") and len(i.shape or (0, 0)) < 2 for i in inputs):
        _ = shapes_at(inputs, None, "opt")


def _check_reference(marker: ModelMarker, run: TrtRun) -> None:
    if marker.reference is None:
        return
    wanted, given = (
        {spec.name: spec.dtype for spec in run.interface(model)[0]}
        for model in (marker.reference, marker.model)
    )
    if wanted != given:
        raise ConfigurationError(
            f"the reference {marker.reference.name} takes {_listed(wanted)}, and the model "
            f"{marker.model.name} takes {_listed(given)}: they cannot be given the same inputs.",
            fix="name a reference with the model's own inputs.",
        )


def _listed(dtypes: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({dtype})" for name, dtype in dtypes.items()) or "nothing"


def _check_outputs(consistency: ConsistencyMarker | None, marker: ModelMarker, run: TrtRun) -> None:
    """Resolve the tolerances once, so that a misspelt output is found before anything is built."""
    if consistency is None:
        return
    for precision in marker.precision:
        given = consistency.at(precision)
        resolve_tolerances(
            run.interface(marker.model)[1],
            precision=precision,
            marker=given.tolerance,
            per_output=given.outputs,
            ini=run.settings.tolerances,
        )


def _check_limits(benchmark: BenchmarkMarker | None, marker: ModelMarker, run: TrtRun) -> None:
    if benchmark is None:
        return
    from pytest_trt.statistics.limits import resolve_limits

    for precision in marker.precision:
        resolve_limits(benchmark.limits, run.settings.limits.get(precision, {}))


def _check_without_model(
    consistency: ConsistencyMarker | None,
    benchmark: BenchmarkMarker | None,
    metafunc: pytest.Metafunc,
) -> None:
    """Refuse what needs a model; pytest-benchmark's fixture times anything."""
    if consistency is None and benchmark is not None and "benchmark" in metafunc.fixturenames:
        from pytest_trt.statistics.limits import resolve_limits

        resolve_limits(benchmark.limits, {})
    elif consistency is not None or benchmark is not None:
        name = ConsistencyMarker.NAME if consistency is not None else BenchmarkMarker.NAME
        raise ConfigurationError(
            f"{name} has no model to check.",
            fix='mark the test or its module: @pytest.mark.trt_model("models/model.onnx").',
        )


def _selections(run: TrtRun) -> Sequence[Selection]:
    try:
        return run.selections
    except PytestTrtError as error:
        raise usage_error(error) from error


def _multiply(metafunc: pytest.Metafunc, fixture: str, values: Sequence[str]) -> None:
    # One value is no parameter: a test that is not multiplied keeps its plain name. And what a test
    # parametrises by itself is its own to choose.
    if fixture in metafunc.fixturenames and len(values) > 1 and not _chosen(metafunc, fixture):
        metafunc.parametrize(fixture, values, ids=list(values))


def _chosen(metafunc: pytest.Metafunc, fixture: str) -> bool:
    """Whether a parametrize marker of the test names the fixture."""
    for mark in metafunc.definition.iter_markers("parametrize"):
        names = mark.args[0] if mark.args else mark.kwargs.get("argnames", ())
        if fixture in (names.replace(",", " ").split() if isinstance(names, str) else names):
            return True
    return False


def _points(profiles: Sequence[Profile]) -> tuple[str, ...]:
    if len(profiles) < 2:
        return distinct_points(profiles[0] if profiles else None)
    return tuple(
        f"{index}-{point}"
        for index, profile in enumerate(profiles)
        for point in distinct_points(profile)
    )
